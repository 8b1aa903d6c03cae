"""Every kind of failure, as a client sees it."""

import asyncio
import json

import aiohttp
import pytest
from tests.sandbox.caller import COUNT, READ, VAT, Caller, Reply, until

from emag_syncd.sandbox import Fault, FaultPlan, Kind, Sandbox


async def failing(main: Caller, fault: Fault) -> Reply:
    """The reply to page 2 of 10 rows while a fault is planned."""
    main.account.faults.add(fault)
    return await main.post(READ, currentPage=2, itemsPerPage=10)


@pytest.mark.parametrize("status", [204, 400, 401, 403, 404, 408, 422, 429, 500, 502, 503, 504, 599])
async def test_statuses(main: Caller, status: int) -> None:
    """Each status comes with a body that is no success, once."""
    reply = await failing(main, Fault(Kind.STATUS, value=status))
    assert reply.status == status
    assert b'"isError":false' not in reply.body
    assert (await main.post(READ)).status == 200


async def test_documented_bodies(main: Caller) -> None:
    """400, 404 and 429 carry a message without isError, 403 the envelope, 502 the gateway's HTML."""
    for status in (400, 404, 429):
        assert (await failing(main, Fault(Kind.STATUS, value=status))).json.keys() == {"message"}
    assert (await failing(main, Fault(Kind.STATUS, value=403))).json["isError"] is True
    assert b"openresty" in (await failing(main, Fault(Kind.STATUS, value=502))).body


@pytest.mark.parametrize("kind", [Kind.RESET, Kind.RESET_LATE, Kind.CUT])
async def test_lost_connections(main: Caller, kind: Kind) -> None:
    """A reset or a body cut short breaks the connection, and only that one."""
    with pytest.raises(aiohttp.ClientError):
        await failing(main, Fault(kind))
    assert len((await main.post(READ, currentPage=2, itemsPerPage=10)).results) == 10
    assert [exchange.outcome for exchange in main.account.stats.exchanges] == [kind, "ok"]


async def test_cut_body_promises_more_than_it_sends(main: Caller) -> None:
    """What comes of a cut body is the beginning of the right answer."""
    main.account.faults.add(Fault(Kind.CUT))
    headers = {"Authorization": main.account.authorization}
    async with main.session.post(f"{main.base_url}/{READ}", json={}, headers=headers) as response:
        promised = int(response.headers["Content-Length"])
        got = await response.content.readexactly(promised // 2)
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.content.readexactly(1)
    assert got.startswith(b'{"isError":false')


async def test_hanging_ends_when_the_client_leaves(main: Caller) -> None:
    """No answer comes; a client that gives up is no longer in flight."""
    asking = asyncio.create_task(failing(main, Fault(Kind.HANG)))
    await until(lambda: main.account.stats.in_flight > 0)
    asking.cancel()
    await asyncio.wait({asking})
    await until(lambda: not main.account.stats.in_flight)
    assert main.account.stats.totals == {(READ, Kind.HANG): 1}


@pytest.mark.parametrize("kind", [Kind.HANG, Kind.DRIP, Kind.ENDLESS])
async def test_stops_promptly_with_requests_under_way(session: aiohttp.ClientSession, kind: Kind) -> None:
    """Leaving the marketplace ends what hangs, drips or never ends."""
    sandbox = Sandbox.of("main")
    async with sandbox:
        main = Caller(session, sandbox.base_url, sandbox.accounts["main"])
        request = asyncio.create_task(failing(main, Fault(kind, seconds=30)))
        await until(lambda: bool(main.account.stats.in_flight))
    async with asyncio.timeout(10):
        outcome = (await asyncio.gather(request, return_exceptions=True))[0]
    assert isinstance(outcome, aiohttp.ClientError) or (isinstance(outcome, Reply) and outcome.status == 503)


async def test_drip_is_the_right_answer_slowly(main: Caller) -> None:
    """A dripping answer is whole in the end."""
    main.account.faults.add(Fault(Kind.DRIP, resource=VAT, seconds=0))
    slow, fast = await main.post(VAT), await main.post(VAT)
    assert slow.body == fast.body
    assert main.account.faults.struck == {Kind.DRIP: 1}


async def test_endless_body(main: Caller) -> None:
    """An endless body goes on past any size that a page may have."""
    main.account.faults.add(Fault(Kind.ENDLESS))
    headers = {"Authorization": main.account.authorization}
    async with main.session.post(f"{main.base_url}/{READ}", json={}, headers=headers) as response:
        got = 0
        async for chunk in response.content.iter_any():
            got += len(chunk)
            if got > 5_000_000:
                break
        assert "Content-Length" not in response.headers
        response.close()
    assert got > 5_000_000


@pytest.mark.parametrize("kind", [Kind.HTML, Kind.EMPTY_BODY, Kind.BROKEN_JSON])
async def test_bodies_that_are_no_json(main: Caller, kind: Kind) -> None:
    """Status 200 with a body that does not parse."""
    reply = await failing(main, Fault(kind))
    assert reply.status == 200
    with pytest.raises(json.JSONDecodeError):
        assert reply.json


async def test_envelopes_without_a_false_is_error(main: Caller) -> None:
    """Good rows in an envelope whose isError is missing or null."""
    missing = await failing(main, Fault(Kind.NO_IS_ERROR))
    assert missing.json.keys() == {"messages", "results"}
    null = await failing(main, Fault(Kind.NULL_IS_ERROR))
    assert null.json["isError"] is None
    assert len(missing.json["results"]) == len(null.json["results"]) == 10


@pytest.mark.parametrize("kind", [Kind.BOM, Kind.WRONG_CHARSET, Kind.DUPLICATE_KEYS, Kind.DEEP, Kind.HUGE_NUMBER])
async def test_right_answers_in_odd_forms(main: Caller, kind: Kind) -> None:
    """The rows are the right ones, and what is odd about the answer is there."""
    odd, right = await failing(main, Fault(kind)), await main.post(READ, currentPage=2, itemsPerPage=10)
    assert odd.status == 200
    assert odd.body.endswith(right.body[right.body.index(b'"results"') :])
    assert odd.body != right.body or "utf-16" in odd.headers["Content-Type"]


async def test_a_connection_that_was_to_be_kept(main: Caller) -> None:
    """The answer is whole and right, and says nothing of the connection's end."""
    reply = await failing(main, Fault(Kind.CLOSE_AFTER))
    assert len(reply.ids) == 10
    assert reply.headers.get("Connection") != "close"


@pytest.mark.parametrize("kind", [Kind.BAD_PACKING, Kind.HEADER_FLOOD, Kind.NOT_HTTP])
async def test_answers_that_are_none(main: Caller, kind: Kind) -> None:
    """A client of HTTP makes nothing of them, and the next request is well."""
    with pytest.raises(aiohttp.ClientError):
        await failing(main, Fault(kind))
    assert (await main.post(READ)).status == 200


async def test_a_bomb_is_small_on_the_wire(main: Caller) -> None:
    """A body without end that says it is packed; its client stops it."""
    main.account.faults.add(Fault(Kind.BOMB))
    user = aiohttp.encode_basic_auth(main.account.username, main.account.password)
    url = f"{main.base_url}/{READ}"
    async with main.session.post(url, json={}, headers={"Authorization": user}) as response:
        assert response.headers["Content-Encoding"] == "gzip"
        size = 0
        while size < 2**23:
            size += len(await response.content.readany())


async def test_headers_of_a_fault(main: Caller) -> None:
    """A failure may carry any header, such as a wish to wait."""
    reply = await failing(main, Fault(Kind.STATUS, value=503, headers={"Retry-After": "7"}))
    assert (reply.status, reply.headers["Retry-After"]) == (503, "7")
    assert (await failing(main, Fault(Kind.NO_RESULTS))).json == {"isError": False, "messages": []}
    assert (await failing(main, Fault(Kind.TEXT_IS_ERROR))).json["isError"] == "false"
    assert (await failing(main, Fault(Kind.ERROR_KEYS))).json["errors"] == {"id": ["Something went wrong"]}
    assert (await failing(main, Fault(Kind.REDIRECT, value=308))).status == 308


async def test_refusals_in_texts_and_objects(main: Caller) -> None:
    """Messages come as strings or as objects with `message` or `text`."""
    texts = (await failing(main, Fault(Kind.ERROR_TEXTS))).json
    objects = (await failing(main, Fault(Kind.ERROR_OBJECTS))).json
    assert texts["isError"] is objects["isError"] is True
    assert all(isinstance(message, str) for message in texts["messages"])
    assert [*objects["messages"][0], *objects["messages"][1]] == ["message", "text"]


@pytest.mark.parametrize("status", [None, 403])
async def test_bad_ip(main: Caller, status: int | None) -> None:
    """The message about the address comes with 200 or with 403."""
    reply = await failing(main, Fault(Kind.BAD_IP, value=status))
    assert reply.status == (status or 200)
    assert reply.json["messages"] == ["ERROR: Invalid vendor ip [127.0.0.1]"]


async def test_redirect_that_is_followed_is_noted(sandbox: Sandbox, main: Caller) -> None:
    """A redirect leads to another host name; who follows it is noted."""
    reply = await failing(main, Fault(Kind.REDIRECT))
    assert (reply.status, reply.body) == (302, b"")
    assert not sandbox.strangers.violations
    main.account.faults.add(Fault(Kind.REDIRECT))
    await main.send("POST", READ, json={}, allow_redirects=True)
    assert [violation.kind for violation in sandbox.strangers.violations] == ["redirect_followed"]


async def test_credentials_carried_through_a_redirect_are_noted(main: Caller) -> None:
    """Who takes the credentials along when following is noted in the account's record."""
    url = main.base_url.removesuffix("/api-3") + "/api-3/redirected"
    async with main.session.get(url, headers={"Authorization": main.account.authorization}) as response:
        assert response.status == 404
    assert list(main.account.stats.violations) == [("redirect_followed", "with credentials")]


async def test_pages_that_lie(main: Caller) -> None:
    """A repeated page, an empty one, a short one, and one with more rows than asked."""
    ids = main.account.catalogue.ids
    assert (await failing(main, Fault(Kind.REPEAT_PAGE))).ids == ids[:10]
    assert (await failing(main, Fault(Kind.EMPTY_PAGE))).ids == []
    assert (await failing(main, Fault(Kind.SHORT_PAGE, value=3))).ids == ids[10:17]
    assert (await failing(main, Fault(Kind.IGNORE_SIZE))).ids == ids[100:200]
    main.account.faults.add(Fault(Kind.IGNORE_SIZE))
    assert (await main.post(READ, itemsPerPage=100)).ids == ids[:200]
    assert (await main.post(READ, currentPage=2, itemsPerPage=10)).ids == ids[10:20]


async def test_ignored_filters(main: Caller) -> None:
    """Rows and count pay no heed to a filter that was asked for."""
    main.account.faults.add(Fault(Kind.IGNORE_FILTERS, times=2))
    assert {row["status"] for row in (await main.post(READ, status=1)).results} == {0, 1, 2}
    assert (await main.post(COUNT, status=1)).results["noOfItems"] == "250"
    assert (await main.post(COUNT, status=1)).results["noOfItems"] != "250"


async def test_counts_that_lie(main: Caller) -> None:
    """Count is off by the number given, or comes in numbers, or in words."""
    main.account.faults.add(
        Fault(Kind.COUNT_OFF, value=-7),
        Fault(Kind.COUNT_NUMBERS),
        Fault(Kind.COUNT_WORD),
    )
    assert (await main.post(COUNT)).results["noOfItems"] == "243"
    assert (await main.post(COUNT)).results == {"noOfItems": 250, "noOfPages": 3, "itemsPerPage": 100}
    assert (await main.post(COUNT)).results["noOfItems"] == "many"


async def test_results_as_objects(main: Caller) -> None:
    """A list of one as the bare object; a list as an object with numbers for keys."""
    main.account.faults.add(Fault(Kind.OBJECT_RESULT, times=2))
    wanted = main.account.catalogue.ids[0]
    assert (await main.post(READ, id=wanted)).results["id"] == wanted
    assert isinstance((await main.post(READ)).results, list)
    keyed = (await failing(main, Fault(Kind.KEYED_RESULTS))).results
    assert list(keyed) == [str(number) for number in range(1, 11)]


async def test_a_page_fails_twice_and_then_works(main: Caller) -> None:
    """A fault may be about one page of one resource, a number of times."""
    main.account.faults.add(Fault(Kind.STATUS, resource=READ, page=3, times=2, value=500))
    statuses = [(await main.post(READ, currentPage=page)).status for page in (1, 3, 2, 3, 3)]
    assert statuses == [200, 500, 200, 500, 200]
    assert (await main.post(COUNT, currentPage=3)).status == 200
    assert main.account.faults.pending == []


async def test_large_pages_fail_for_ever(main: Caller) -> None:
    """A fault may be about page size, without end, until cleared."""
    main.account.faults.add(Fault(Kind.STATUS, above_size=25, times=None, value=504))
    sizes = (100, 50, 26, 25, 10)
    assert [(await main.post(READ, itemsPerPage=size)).status for size in sizes] == [504, 504, 504, 200, 200]
    main.account.faults.clear()
    assert (await main.post(READ, itemsPerPage=100)).status == 200


def strikes(seed: int, **knobs: float) -> list[bool]:
    """Which of 200 requests a fault strikes."""
    plan = FaultPlan(seed)
    plan.add(Fault(Kind.RESET, times=None, probability=knobs["probability"]))
    return [plan.draw(READ, page, 100) is not None for page in range(200)]


def test_probability_comes_from_the_seed() -> None:
    """The same seed strikes the same requests, another seed others, about as often as asked."""
    assert strikes(1, probability=0.3) == strikes(1, probability=0.3) != strikes(2, probability=0.3)
    assert 30 < sum(strikes(1, probability=0.3)) < 90
    assert sum(strikes(1, probability=1)) == 200
    assert sum(strikes(1, probability=0)) == 0


def test_first_requests_may_pass() -> None:
    """`skip` lets requests pass before the fault strikes."""
    plan = FaultPlan()
    plan.add(Fault(Kind.RESET, skip=2))
    assert [plan.draw(READ, 1, 100) is not None for _ in range(4)] == [False, False, True, False]


def test_kinds_are_checked() -> None:
    """A kind may be given by its name; an unknown one is refused."""
    assert Fault(Kind("reset")).kind is Kind.RESET
    with pytest.raises(ValueError, match="volcano"):
        Kind("volcano")
