"""The gateway's limits, on a clock that the tests turn."""

import asyncio
from email.utils import parsedate_to_datetime

import aiohttp
import pytest
from tests.sandbox.caller import READ, VAT, Caller

from emag_syncd.sandbox import AccountSpec, Latency, Limiter, Sandbox


class Clock:
    """Seconds that pass when told."""

    def __init__(self, now: float = 6000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def admitted(limiter: Limiter, requests: int) -> int:
    """How many of that many requests pass."""
    return sum(limiter.admit().allowed for _ in range(requests))


def test_three_a_second() -> None:
    """The fourth request of a second is refused, and a new second has a new budget."""
    clock = Clock()
    limiter = Limiter(clock=clock)
    assert admitted(limiter, 10) == 3
    clock.now += 1
    assert admitted(limiter, 10) == 3


def test_windows_stand_on_the_servers_clock() -> None:
    """Windows are fixed, not sliding: around a boundary twice the budget passes at once."""
    clock = Clock(6000.95)
    limiter = Limiter(clock=clock)
    assert admitted(limiter, 10) == 3
    clock.now = 6001.0
    assert admitted(limiter, 10) == 3
    clock.now = 6001.99
    assert admitted(limiter, 10) == 0


def test_hundred_and_eighty_a_minute() -> None:
    """The minute runs out though each second has budget left, until the next minute of the clock."""
    clock = Clock()
    limiter = Limiter(per_second=10, per_minute=180, clock=clock)
    passed = 0
    for second in range(60):
        clock.now = 6000 + second
        passed += admitted(limiter, 10)
    assert passed == 180
    clock.now = 6060
    assert admitted(limiter, 10) == 10


def test_refused_requests_spend_nothing() -> None:
    """Knocking at a full window doesn't shorten the minute."""
    clock = Clock()
    limiter = Limiter(per_second=2, per_minute=4, clock=clock)
    admitted(limiter, 100)
    clock.now += 1
    assert admitted(limiter, 100) == 2
    clock.now += 1
    assert admitted(limiter, 100) == 0


@pytest.mark.parametrize(("per_second", "per_minute", "passing"), [(None, 5, 5), (5, None, 5), (None, None, 50)])
def test_each_window_can_be_off(per_second: int | None, per_minute: int | None, passing: int) -> None:
    """None switches a window off."""
    assert admitted(Limiter(per_second, per_minute, clock=Clock()), 50) == passing


def test_other_software_spends_the_same_budget() -> None:
    """What others spend is refused to us without our fault."""
    clock = Clock()
    limiter = Limiter(clock=clock)
    limiter.foreign = 2
    assert limiter.admit().allowed
    refused = limiter.admit()
    assert (refused.allowed, refused.own_fault) == (False, False)
    clock.now += 1
    limiter.foreign = 0
    clock.now += 1
    assert [limiter.admit() for _ in range(4)][-1].own_fault
    clock.now += 1
    limiter.spend(3)
    assert limiter.admit().own_fault is False
    assert not limiter.admit().allowed


def test_headers_say_what_is_left() -> None:
    """Limit and remaining come on success and on refusal; zero remaining is no error."""
    limiter = Limiter(clock=Clock())
    left = [limiter.admit().headers["X-RateLimit-Remaining-3second"] for _ in range(4)]
    assert left == ["2", "1", "0", "0"]
    assert limiter.admit().headers["X-RateLimit-Limit-3second"] == "3"
    limiter.suffix = "Minute"
    assert "X-RateLimit-Limit-Minute" in limiter.admit().headers
    limiter.suffix = None
    assert limiter.admit().headers == {}


def test_retry_after_reaches_into_the_next_window() -> None:
    """Retry-After, when it comes, is long enough for the window that is full."""
    clock = Clock(6030.5)
    limiter = Limiter(per_second=1, per_minute=2, clock=clock)
    limiter.retry_after = True
    assert "Retry-After" not in limiter.admit().headers
    assert limiter.admit().headers["Retry-After"] == "1"
    clock.now = 6031.5
    limiter.admit()
    assert limiter.admit().headers["Retry-After"] == "29"
    limiter.retry_after = "date"
    headers = limiter.admit().headers
    until, now = (parsedate_to_datetime(headers[name]).timestamp() for name in ("Retry-After", "Date"))
    assert until - now == 29


async def test_refusal_as_the_gateway_words_it(session: aiohttp.ClientSession) -> None:
    """429 with a message and no isError; invalid requests spend too; the other account is free."""
    clock = Clock()
    async with Sandbox({"main": AccountSpec(9), "fbe": AccountSpec(9)}, clock=clock) as sandbox:
        main, fbe = (Caller(session, sandbox.base_url, account) for account in sandbox.accounts.values())
        sent = [await main.post(resource) for resource in (VAT, "no/such", READ, READ)]
        assert [reply.status for reply in sent] == [200, 404, 200, 429]
        assert sent[-1].json == {"message": "API rate limit exceeded"}
        assert sent[-1].headers["X-RateLimit-Remaining-3second"] == "0"
        assert "Retry-After" not in sent[-1].headers
        assert (await fbe.post(READ)).status == 200
        assert main.violations == {"unknown_path", "rate"}
        assert main.account.stats.refused_by_limit == 1
        clock.now += 1
        main.account.limits.spend(3)
        assert (await main.post(READ)).status == 429
        assert main.account.stats.refused_by_limit == 2
        assert [kind for kind, _ in main.account.stats.violations].count("rate") == 1


def test_latency_is_drawn_from_its_seed() -> None:
    """Delays lie between the bounds, grow with the rows asked for, and repeat with the seed."""
    one, same = Latency(0.3, 3, seed=4), Latency(0.3, 3, seed=4)
    delays = [one.delay(100) for _ in range(200)]
    assert delays == [same.delay(100) for _ in range(200)]
    assert 0.3 <= min(delays) < 0.6
    assert 2.5 < max(delays) <= 3
    assert Latency(per_row=0.01).delay(50) == pytest.approx(0.5)
    assert Latency(2).delay(1) == 2
    assert Latency().delay(100) == 0


async def test_slow_answers_come_all_the_same(sandbox: Sandbox, main: Caller) -> None:
    """A page that takes its time can be overtaken by one that doesn't."""
    main.account.latency.per_row = 0.004
    order: list[int] = []

    async def read(size: int) -> None:
        await main.post(READ, itemsPerPage=size)
        order.append(size)

    await asyncio.gather(read(100), read(1))
    assert order == [1, 100]
