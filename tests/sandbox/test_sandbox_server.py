"""The marketplace as documented: paging, filters, envelope, accounts, access."""

import asyncio
import json

import aiohttp
import pytest
from tests.sandbox.caller import COUNT, READ, VAT, Caller

from emag_syncd.sandbox import AccountSpec, Sandbox


async def test_pages_cover_the_catalogue_once_in_order(main: Caller) -> None:
    """Reading page by page until an empty one gives every offer once, as the truth has it."""
    rows = await main.everything(size=40)
    assert rows == [json.loads(row) for _, row in main.account.catalogue.truth()]
    assert len(rows) == 250
    assert main.account.stats.pages() == [1, 2, 3, 4, 5, 6, 7, 8]


async def test_envelope_is_the_documented_one(main: Caller) -> None:
    """A success has isError false, no messages, a list; and nothing that tells the page."""
    reply = await main.post(READ, currentPage=3, itemsPerPage=100)
    assert reply.status == 200
    assert reply.headers["Content-Type"].startswith("application/json")
    assert reply.json.keys() == {"isError", "messages", "results"}
    assert len(reply.results) == 50


async def test_past_the_end_is_an_empty_success(main: Caller) -> None:
    """The page behind the last is no error."""
    assert (await main.post(READ, currentPage=4)).results == []


async def test_count_is_in_strings(main: Caller) -> None:
    """Count says in strings how many offers and pages there are."""
    assert (await main.post(COUNT, itemsPerPage=40)).results == {
        "noOfItems": "250",
        "noOfPages": "7",
        "itemsPerPage": "40",
    }


async def test_too_large_pages_are_clamped_and_noted(main: Caller) -> None:
    """More than 100 rows never come, and asking for them is a violation."""
    assert len((await main.post(READ, itemsPerPage=500)).results) == 100
    assert main.violations == {"page_size"}


async def test_default_page_has_a_hundred_rows(main: Caller) -> None:
    """An empty body is page 1 of everything, and fine."""
    assert (await main.post(READ)).ids == main.account.catalogue.ids[:100]
    assert main.violations == set()


async def test_status_filter_gives_only_that_status(main: Caller) -> None:
    """Filters at the top level work for read and count alike."""
    rows = await main.everything(status=1)
    assert {row["status"] for row in rows} == {1}
    assert 0 < len(rows) < 250
    assert (await main.post(COUNT, status=1)).results["noOfItems"] == str(len(rows))


async def test_without_status_filter_ended_offers_come_too(main: Caller) -> None:
    """Status 2 cannot be asked for, and comes without being asked."""
    assert {row["status"] for row in await main.everything()} == {0, 1, 2}


@pytest.mark.parametrize("key", ["general_stock", "estimated_stock"])
async def test_stock_filters_mean_up_to(main: Caller, key: str) -> None:
    """A stock filter of n means 0..n."""
    rows = await main.everything(**{key: 5})
    expected = [row for row in await main.everything() if row[key] <= 5]
    assert rows == expected
    assert rows


async def test_text_and_validation_filters(main: Caller) -> None:
    """Part number, key and validation statuses select what they name, and all filters must hold."""
    offer = main.account.catalogue.get(main.account.catalogue.ids[7])
    assert (await main.post(READ, part_number=offer["part_number"])).ids == [offer["id"]]
    approved = await main.everything(validation_status=9, offer_validation_status=1)
    assert approved
    assert {row["validation_status"][0]["value"] for row in approved} == {9}
    assert {row["offer_validation_status"]["value"] for row in approved} == {1}
    key = approved[0]["part_number_key"]
    assert (await main.post(READ, part_number_key=key)).ids == [approved[0]["id"]]
    assert (await main.post(READ, part_number_key=key, validation_status=10)).results == []
    assert main.violations == set()


async def test_read_by_id_has_other_shapes(main: Caller) -> None:
    """By id, manufacturer and eu_representative are lists; in a list read they are booleans."""
    wanted = main.account.catalogue.ids[0]
    (alone,) = (await main.post(READ, id=wanted)).results
    listed = (await main.post(READ)).results[0]
    assert alone["id"] == listed["id"] == wanted
    assert [row.keys() for row in alone["manufacturer"]] == [{"name", "address", "email"}]
    assert (listed["manufacturer"], listed["eu_representative"]) == (True, False)
    differing = {key for key in listed if alone[key] != listed[key]}
    assert differing == {"manufacturer", "eu_representative"}


async def test_read_by_unknown_id_is_empty(main: Caller) -> None:
    """An id that is not there gives an empty success, on every page."""
    gone = main.account.catalogue.ids[3]
    main.account.catalogue.remove(gone)
    assert (await main.post(READ, id=gone)).results == []
    assert (await main.post(COUNT, id=gone)).results["noOfItems"] == "0"
    assert (await main.post(READ, id=main.account.catalogue.ids[0], currentPage=2)).results == []


async def test_wrapped_filters_are_ignored_in_silence(main: Caller) -> None:
    """Under `data` neither filters nor pagination count: everything, from page 1; and it is noted."""
    reply = await main.post(READ, data={"currentPage": 2, "status": 1})
    assert reply.ids == main.account.catalogue.ids[:100]
    assert main.violations == {"wrapped"}


async def test_misspelt_filters_are_ignored_in_silence(main: Caller) -> None:
    """Keys are case-sensitive; what is unknown changes nothing and is noted."""
    assert (await main.post(READ, Status=1, currentpage=2)).ids == main.account.catalogue.ids[:100]
    assert main.violations == {"unknown_key"}


async def test_get_ignores_pagination(main: Caller) -> None:
    """GET answers with page 1 whatever it is asked."""
    reply = await main.send("GET", READ, json={"currentPage": 2})
    assert reply.ids == main.account.catalogue.ids[:100]
    assert main.violations == {"get"}


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"id": 0}, "id_range"),
        ({"id": 2**32}, "id_range"),
        ({"id": "1001"}, "id_range"),
        ({"id": True}, "id_range"),
        ({"currentPage": 0}, "page_number"),
        ({"currentPage": "2"}, "page_number"),
        ({"itemsPerPage": 0}, "page_size"),
        ({"status": 2}, "filter_value"),
        ({"validation_status": 7}, "filter_value"),
        ({"part_number": ""}, "filter_value"),
        ({"name": "Cablu"}, "unknown_key"),
    ],
)
async def test_slips_are_noted_yet_answered(main: Caller, body: dict[str, object], kind: str) -> None:
    """What a good client does not send is answered all the same, and stands in the violations."""
    assert (await main.post(READ, **body)).status == 200
    assert main.violations == {kind}


async def test_form_bodies_are_not_understood(main: Caller) -> None:
    """Without the JSON content type the body counts for nothing."""
    reply = await main.send("POST", READ, data={"currentPage": "2"})
    assert reply.ids == main.account.catalogue.ids[:100]
    assert main.violations == {"content_type"}


@pytest.mark.parametrize("body", [b"{", b"[1]", b"\xff"])
async def test_broken_bodies_are_refused(main: Caller, body: bytes) -> None:
    """A body that is no JSON object gets 400 without isError."""
    reply = await main.send("POST", READ, data=body, headers={"Content-Type": "application/json"})
    assert (reply.status, list(reply.json)) == (400, ["message"])
    assert main.violations == {"bad_json"}


async def test_unknown_resources_are_refused(main: Caller) -> None:
    """A resource that does not exist gets 404 without isError."""
    reply = await main.post("product_offer/delete")
    assert (reply.status, list(reply.json)) == (404, ["message"])
    assert main.violations == {"unknown_path"}


async def test_query_strings_are_noted_without_their_values(main: Caller) -> None:
    """Nothing belongs in the URL; the record names the keys only, since a secret may be behind them."""
    await main.send("POST", READ + "?password=hush", json={})
    assert list(main.account.stats.violations) == [("query", "password")]


async def test_vat_rates(main: Caller) -> None:
    """vat/read gives the platform's rates, one of them the default."""
    rates = (await main.post(VAT)).results
    assert [rate["vat_id"] for rate in rates if rate["is_default"]] == [1]
    assert all(rate.keys() == {"vat_id", "vat_rate", "is_default"} for rate in rates)


async def test_accounts_are_two_catalogues(main: Caller, fbe: Caller) -> None:
    """The same ids and part numbers occur on both accounts, with other contents."""
    ours, theirs = (await main.post(READ)).results, (await fbe.post(READ)).results
    assert [offer["id"] for offer in ours] == [offer["id"] for offer in theirs]
    assert [offer["part_number"] for offer in ours] == [offer["part_number"] for offer in theirs]
    assert sum(a["sale_price"] == b["sale_price"] for a, b in zip(ours, theirs, strict=True)) < 5
    keys = [(a["part_number_key"], b["part_number_key"]) for a, b in zip(ours, theirs, strict=True)]
    assert all(a == b for a, b in keys if a and b)
    assert any(a and b for a, b in keys)


@pytest.mark.parametrize("status", [401, 403])
async def test_wrong_credentials_are_refused(sandbox: Sandbox, main: Caller, status: int) -> None:
    """Credentials of no account are refused with the status chosen, and touch no account's record."""
    sandbox.strangers_status = status
    wrong = {"Authorization": aiohttp.encode_basic_auth(main.account.username, "wrong")}
    reply = await main.send("POST", READ, json={}, headers=wrong)
    assert reply.status == status
    assert (main.account.stats.requests, sandbox.strangers.requests) == (0, 1)


async def test_account_without_the_api_right(main: Caller) -> None:
    """Right credentials without the right get the documented 403."""
    main.account.access.refused = 403
    reply = await main.post(VAT)
    assert reply.status == 403
    assert reply.json == {
        "isError": True,
        "messages": ["You are not allowed to use this API."],
        "results": [],
    }


@pytest.mark.parametrize("status", [200, 403])
async def test_addresses_that_are_not_whitelisted(main: Caller, status: int) -> None:
    """The message names the caller's address; the status is no help."""
    main.account.access.allowed_ips = frozenset({"192.0.2.1"})
    main.account.access.ip_status = status
    reply = await main.post(VAT)
    assert reply.status == status
    assert reply.json["messages"] == ["ERROR: Invalid vendor ip [127.0.0.1]"]
    main.account.access.allowed_ips = frozenset({"127.0.0.1"})
    assert (await main.post(VAT)).results


async def test_requests_in_flight_are_counted(main: Caller) -> None:
    """The record knows how many requests were under way at once."""
    main.account.latency.low = 0.2
    await asyncio.gather(*(main.post(READ, currentPage=page) for page in (1, 2, 3)))
    stats = main.account.stats
    assert (stats.max_in_flight, stats.in_flight) == (3, 0)
    assert sorted(exchange.in_flight for exchange in stats.exchanges) == [1, 2, 3]
    assert stats.rows_served == 250


async def test_record_keeps_what_was_sent_and_can_be_forgotten(main: Caller) -> None:
    """An exchange has body, page, size, status and outcome; reset forgets them."""
    await main.post(READ, currentPage=2, itemsPerPage=10, status=1)
    (exchange,) = main.account.stats.exchanges
    assert exchange.body == {"currentPage": 2, "itemsPerPage": 10, "status": 1}
    assert (exchange.page, exchange.size, exchange.rows) == (2, 10, 10)
    assert (exchange.status, exchange.outcome) == (200, "ok")
    assert main.account.stats.summary()["totals"] == {"product_offer/read ok": 1}
    main.account.stats.reset()
    assert (main.account.stats.requests, list(main.account.stats.exchanges)) == (0, [])


async def test_a_thousand_accounts(session: aiohttp.ClientSession) -> None:
    """Accounts are cheap enough for a thousand of them on one address."""
    spec = AccountSpec(offers=200, limited=False)
    async with Sandbox({f"a{n}": spec for n in range(1000)}) as sandbox:
        for name in ("a0", "a999"):
            caller = Caller(session, sandbox.base_url, sandbox.accounts[name])
            assert len(await caller.everything()) == 200


async def test_own_credentials_and_platform(session: aiohttp.ClientSession) -> None:
    """An account may have credentials of its own; its platform decides currency, Genius keys and images."""
    spec = AccountSpec(offers=1, platform="fd-bg", username="u", password="p:ä", limited=False)
    async with Sandbox({"shop": spec}) as sandbox:
        caller = Caller(session, sandbox.base_url, sandbox.accounts["shop"])
        header = aiohttp.encode_basic_auth("u", "p:ä", encoding="utf-8")
        reply = await caller.send("POST", READ, json={}, headers={"Authorization": header})
        (offer,) = reply.results
    assert offer["currency"] == "EUR"
    assert "genius_eligibility" not in offer
