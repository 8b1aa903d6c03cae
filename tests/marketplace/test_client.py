"""The client against a real server: what it sends, what it makes of good answers, when it asks again."""

import asyncio
import base64
import time
from typing import Any

import pytest
from aiohttp import web

from emag_syncd import __version__
from emag_syncd.domain.errors import (
    MarketplaceError,
    ProtocolError,
    RejectedError,
    UnavailableError,
)
from emag_syncd.marketplace.client import Client
from emag_syncd.marketplace.errors import TransientError
from emag_syncd.marketplace.link import AccountLink
from tests.marketplace.conftest import PASSWORD, Marketplace, Noted, ok

pytestmark = pytest.mark.usefixtures("impatient")


async def test_a_page_is_asked_for_with_filters_at_the_top_of_the_body(
    marketplace: Marketplace, client: Client
) -> None:
    """Filters and position are top-level keys: wrapped, the marketplace would ignore them."""
    marketplace.says(ok([{"id": 3, "status": 1}]))
    page = await client.read_page({"status": 1}, 4, 50)
    assert [item.emag_id for item in page.items] == [3]
    assert marketplace.asked == [("/api-3/product_offer/read", {"status": 1, "currentPage": 4, "itemsPerPage": 50})]


async def test_a_request_says_who_asks(marketplace: Marketplace, client: Client) -> None:
    """Basic credentials in UTF-8, JSON as content type, the daemon's name and version; no cookies go back."""
    marketplace.says(web.json_response({"isError": False, "results": []}, headers={"Set-Cookie": "a=b; Path=/"}))
    await client.read_page({}, 1, 100)
    await client.read_page({}, 2, 100)
    sent = marketplace.headers[1]
    assert sent["Authorization"] == "Basic " + base64.b64encode(f"seller:{PASSWORD}".encode()).decode()
    assert sent["Content-Type"] == "application/json"
    assert sent["User-Agent"] == f"emag-syncd/{__version__}"
    assert "Cookie" not in sent


@pytest.mark.parametrize(
    ("results", "count"),
    [
        ({"noOfItems": "2545", "noOfPages": "26", "itemsPerPage": "100"}, 2545),
        ({"noOfItems": 0}, 0),
        ([{"noOfItems": " 7 "}], 7),
    ],
)
async def test_a_count_comes_in_several_shapes(
    marketplace: Marketplace, client: Client, results: Any, count: int
) -> None:
    """Text or number, bare or in a list of one."""
    marketplace.says(ok(results))
    assert await client.count({"status": 1}) == count
    assert marketplace.asked[0] == ("/api-3/product_offer/count", {"status": 1})


@pytest.mark.parametrize("results", [[], {}, {"noOfItems": None}, {"noOfItems": "many"}, {"noOfItems": -1}, [3], "3"])
async def test_a_count_that_is_no_number_is_refused(
    marketplace: Marketplace, client: Client, noted: Noted, results: Any
) -> None:
    """Nothing is taken for zero: a count of zero would make every offer look removed."""
    marketplace.says(web.Response(status=503), web.Response(status=503), ok(results))
    with pytest.raises(ProtocolError, match=r"check accounts\.main\.base_url"):
        await client.count({})
    assert noted.outcomes == ["server_error", "server_error", "bad_answer"]


async def test_what_can_pass_is_tried_again(marketplace: Marketplace, client: Client, noted: Noted) -> None:
    """A 502, then an answer without isError, then a good one: the third attempt counts."""
    hidden = web.json_response({"results": []})
    marketplace.says(web.Response(status=502), hidden, ok({"noOfItems": 1}))
    assert await client.count({}) == 1
    assert noted.outcomes == ["server_error", "bad_answer", "ok"]


async def test_attempts_are_used_up(marketplace: Marketplace, client: Client, noted: Noted) -> None:
    """After max_attempts the failure is final, and not a transient one any more."""
    marketplace.says(web.Response(status=500))
    with pytest.raises(UnavailableError, match="status 500") as failure:
        await client.vat_rates()
    assert not isinstance(failure.value, TransientError)
    assert len(noted.calls) == 3


async def test_what_can_not_pass_is_not_tried_again(marketplace: Marketplace, client: Client, noted: Noted) -> None:
    """Invalid requests spend the account's budget: one is enough."""
    marketplace.says(web.json_response({"message": "Resource not found"}, status=404))
    with pytest.raises(RejectedError, match="Resource not found"):
        await client.count({})
    assert noted.outcomes == ["rejected"]


async def test_a_page_is_tried_once(marketplace: Marketplace, client: Client, noted: Noted) -> None:
    """The scan decides on the next attempt of a page, and is told that a smaller one may help."""
    marketplace.says(web.Response(status=504, headers={"Retry-After": "7"}))
    with pytest.raises(TransientError) as failure:
        await client.read_page({}, 1, 100)
    assert (failure.value.shrink, failure.value.retry_after) == (True, 7.0)
    assert len(noted.calls) == 1


async def test_a_rate_limit_is_no_attempt(marketplace: Marketplace, client: Client, noted: Noted) -> None:
    """More 429s than max_attempts, and the answer is read all the same; each is noted and told."""
    marketplace.says(*[web.Response(status=429)] * 5, ok([]))
    assert (await client.read_page({}, 1, 100)).size == 0
    assert noted.outcomes == ["rate_limited"] * 5 + ["ok"]
    assert len(noted.limited) == 5
    assert min(noted.limited) > 0


async def test_an_offer_is_read_by_id(marketplace: Marketplace, client: Client) -> None:
    """The offer comes bare, as PHP has it, and is the one that was asked for."""
    marketplace.says(web.Response(status=503), ok({"id": "17", "name": "x"}))
    item = await client.read_offer(17)
    assert item is not None
    assert item.emag_id == 17
    assert marketplace.asked[-1][1] == {"id": 17, "currentPage": 1, "itemsPerPage": 1}


async def test_an_offer_that_is_gone_is_none(marketplace: Marketplace, client: Client) -> None:
    """Only an empty answer without an error says that there is no such offer."""
    marketplace.says(ok([]))
    assert await client.read_offer(17) is None


@pytest.mark.parametrize("results", [[{"id": 18}], [{"id": 17}, {"id": 18}], [{"name": "no id"}], "gone", 5])
async def test_another_answer_is_no_proof_that_an_offer_is_gone(
    marketplace: Marketplace, client: Client, monkeypatch: pytest.MonkeyPatch, results: Any
) -> None:
    """Another offer, too many, one without an id, no list at all: each is an error, never an absence."""
    marketplace.says(web.json_response({"isError": False, "results": results}))
    monkeypatch.setattr(client._link, "backoff", lambda _attempt, _error: 0.0)
    with pytest.raises(ProtocolError):
        await client.read_offer(17)


async def test_a_filter_the_marketplace_would_ignore_is_not_sent(marketplace: Marketplace, client: Client) -> None:
    """A misspelt filter would silently select everything."""
    with pytest.raises(RejectedError, match="knows no filter statsu: use"):
        await client.count({"statsu": 1})
    with pytest.raises(RejectedError):
        await client.read_page({"modified": 1}, 1, 10)
    assert marketplace.asked == []


async def test_an_absurd_number_is_no_traceback(
    marketplace: Marketplace, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A count beyond all limits is an answer that can't be used."""
    monkeypatch.setattr(client._link, "backoff", lambda _attempt, _error: 0.0)
    marketplace.says(web.Response(body=b'{"isError": false, "results": {"noOfItems": 1e9999}}'))
    with pytest.raises(ProtocolError, match="noOfItems"):
        await client.count({})


async def test_a_connection_test_tries_rights_first(marketplace: Marketplace, client: Client) -> None:
    """First the cheapest call that proves access, then the count."""
    marketplace.says(ok([{"vat_id": 1, "vat_rate": "0.19"}]), ok({"noOfItems": "12"}))
    assert await client.test_connection() == 12
    assert [path for path, _ in marketplace.asked] == ["/api-3/vat/read", "/api-3/product_offer/count"]


async def test_vat_rates_keep_their_numbers_exact(marketplace: Marketplace, client: Client) -> None:
    """The rates come as objects."""
    marketplace.says(ok([{"vat_id": 1, "vat_rate": 0.19}]))
    [rate] = await client.vat_rates()
    assert str(rate["vat_rate"]) == "0.19"


async def test_a_cancelled_call_is_noted_and_passes_on(marketplace: Marketplace, client: Client, noted: Noted) -> None:
    """A run that is cancelled in mid-call leaves one note, outcome aborted."""
    arrived = asyncio.Event()

    async def hang(_: web.Request) -> web.StreamResponse:
        arrived.set()
        await asyncio.Event().wait()
        raise AssertionError

    marketplace.says(hang)
    call = asyncio.create_task(client.count({}))
    await arrived.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert noted.outcomes == ["aborted"]


async def test_a_call_is_noted_with_what_was_sent_and_what_came(
    marketplace: Marketplace, client: Client, noted: Noted
) -> None:
    """A good call keeps its figures and not its body; a failed one keeps the beginning of it."""
    marketplace.says(ok([{"id": 1, "status": 1}]), web.json_response({"message": "no " + "x" * 100_000}, status=400))
    await client.read_page({"status": 1}, 1, 10)
    with pytest.raises(MarketplaceError):
        await client.read_page({"status": 1}, 2, 10)
    good, bad = noted.calls
    assert (good.account, good.resource, good.status_code) == ("main", "product_offer/read", 200)
    assert good.params == {"status": 1, "currentPage": 1, "itemsPerPage": 10}
    assert (good.body, good.messages, good.is_error) == (None, (), False)
    assert good.response_bytes == len('{"isError": false, "messages": [], "results": [{"id": 1, "status": 1}]}')
    assert (bad.status_code, bad.is_error, len(bad.messages[0])) == (400, True, 500)
    assert bad.body is not None
    assert len(bad.body) == 64 * 1024


async def test_the_pace_is_told(marketplace: Marketplace, client: Client, link: AccountLink, noted: Noted) -> None:
    """Time spent waiting for a turn goes to the observer and not into the call's duration."""
    marketplace.says(ok([]))
    paused_at = time.monotonic()
    link.pacer.pause(0.05)
    await client.read_page({}, 1, 1)
    assert noted.waits[0] >= 0.05
    assert noted.calls[0].started >= paused_at + noted.waits[0]
