"""Pacing: never above the limits in any window, close to them while there is work, and fair."""

import asyncio
from collections.abc import Iterable, Sequence
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from emag_syncd.marketplace.pacing import Pacer
from tests.marketplace.virtual_time import VirtualTime

GAPS = st.lists(st.one_of(st.just(0.0), st.floats(0.0, 2.0), st.floats(50.0, 70.0)), min_size=1, max_size=40)
LATENESS = st.lists(st.floats(0.0, 1.5), max_size=60)


async def sent_times(pacer: Pacer, time: VirtualTime, gaps: Iterable[float]) -> list[float]:
    """Return when requests are sent that arrive with these gaps between them."""
    sent: list[float] = []

    async def arrive(at: float) -> None:
        await time.sleep(at)
        await pacer.acquire()
        sent.append(time.now)

    at = 0.0
    tasks: list[asyncio.Task[object]] = []
    for gap in gaps:
        at += gap
        tasks.append(asyncio.create_task(arrive(at)))
    await time.finish(tasks)
    return sent


def most_in(sent: Sequence[float], seconds: float) -> int:
    """Return the largest number of requests in any stretch of so many seconds, its end left out."""
    return max(sum(start <= other < start + seconds for other in sent) for start in sent)


@given(
    gaps=GAPS,
    lateness=LATENESS,
    per_second=st.sampled_from([1, 2, 3, 7]),
    per_minute=st.sampled_from([None, 5, 30]),
)
@settings(deadline=None, max_examples=60)
def test_no_window_ever_holds_more_than_the_limit(
    gaps: list[float], lateness: list[float], per_second: int, per_minute: int | None
) -> None:
    """However requests arrive, and however late the loop wakes up: no second and no minute has too many."""

    async def scenario() -> list[float]:
        time = VirtualTime(lateness)
        return await sent_times(Pacer(per_second, per_minute, time.clock, time.sleep), time, gaps)

    sent = asyncio.run(scenario())
    assert len(sent) == len(gaps)
    assert most_in(sent, 1.0) <= per_second
    assert per_minute is None or most_in(sent, 60.0) <= per_minute


async def test_97_percent_of_the_limit_is_used_although_wake_ups_are_late() -> None:
    """With work all the time and each wake-up up to 4 ms late, 3/s and 180/min give 97 % of 180 a minute."""
    time = VirtualTime([0.001 * (turn % 5) for turn in range(5000)])
    sent = await sent_times(Pacer(3, 180, time.clock, time.sleep), time, [0.0] * 400)
    assert (len(sent) - 1) / (sent[-1] - sent[0]) >= 0.97 * 3


@given(
    departures=st.lists(st.floats(0.0, 0.95), min_size=30, max_size=30),
    lateness=st.lists(st.floats(0.0, 0.5), max_size=30),
)
@settings(deadline=None, max_examples=60)
def test_no_window_has_too_many_however_long_connecting_takes(departures: list[float], lateness: list[float]) -> None:
    """Requests that leave up to a second after their turn, as when they connect first, keep the limit as they leave."""
    most = 0.99 - max(lateness, default=0.0)

    async def scenario() -> list[float]:
        time = VirtualTime(lateness)
        pacer = Pacer(3, 180, time.clock, time.sleep)
        sent: list[float] = []

        async def send(takes: float) -> None:
            turn = await pacer.acquire()
            await time.sleep(min(takes, most))
            sent.append(time.now)
            turn.left()

        await time.finish([asyncio.create_task(send(takes)) for takes in departures])
        return sent

    assert most_in(asyncio.run(scenario()), 1.0) <= 3


async def test_requests_are_spread_evenly_within_the_minute_too() -> None:
    """Where the limit a minute is the lower one, it isn't used up in a burst and then waited for."""
    time = VirtualTime()
    sent = await sent_times(Pacer(3, 60, time.clock, time.sleep), time, [0.0] * 10)
    gaps = [later - earlier for earlier, later in pairwise(sent)]
    assert 1.0 < min(gaps) <= max(gaps) < 1.03


async def test_jitter_on_the_way_makes_no_window_overflow() -> None:
    """Requests that travel up to 8 ms longer than others still keep the limit where they arrive."""
    time = VirtualTime()
    sent = await sent_times(Pacer(3, 180, time.clock, time.sleep), time, [0.0] * 200)
    arrived = sorted(at + 0.008 * (number % 2) for number, at in enumerate(sent))
    assert most_in(arrived, 1.0) <= 3
    assert most_in(arrived, 60.0) <= 180


async def test_an_idle_pacer_saves_nothing_up() -> None:
    """After an hour without work, two requests still keep their distance."""
    time = VirtualTime()
    pacer = Pacer(3, 180, time.clock, time.sleep)
    sent = await sent_times(pacer, time, [0.0, 3600.0, 0.0])
    assert sent[2] - sent[1] >= 1 / 3


async def test_a_long_stall_is_not_made_good_by_a_burst() -> None:
    """A loop that was blocked for 5 s sends the next requests half a spacing apart at least."""
    time = VirtualTime([0.0, 0.0, 0.0, 5.0])
    sent = await sent_times(Pacer(3, 180, time.clock, time.sleep), time, [0.0] * 8)
    assert min(later - earlier for earlier, later in pairwise(sent)) >= 0.16


async def test_first_come_first_served() -> None:
    """Waiters get their turn in the order in which they came."""
    time = VirtualTime()
    pacer = Pacer(3, None, time.clock, time.sleep)
    served: list[int] = []

    async def wait(number: int) -> None:
        await pacer.acquire()
        served.append(number)

    tasks: list[asyncio.Task[object]] = [asyncio.create_task(wait(number)) for number in range(20)]
    await time.finish(tasks)
    assert served == list(range(20))


async def test_a_cancelled_waiter_costs_nobody_a_turn() -> None:
    """Of three waiters the one at the front is cancelled in its sleep: the others go at once in its place."""
    time = VirtualTime()
    pacer = Pacer(1, None, time.clock, time.sleep)
    await pacer.acquire()
    waiters: list[asyncio.Task[object]] = [asyncio.create_task(pacer.acquire()) for _ in range(3)]
    await time.settle()
    waiters[0].cancel()
    await time.finish(waiters)
    assert waiters[0].cancelled()
    assert time.now - 1000.0 < 2 * 1.02 + 0.01


async def test_a_pause_holds_everybody_back_even_who_already_waits() -> None:
    """A pause that begins while a request waits for its turn counts for that request."""
    time = VirtualTime()
    pacer = Pacer(1, None, time.clock, time.sleep)
    await pacer.acquire()
    waiter = asyncio.create_task(pacer.acquire())
    await time.settle()
    pacer.pause(30)
    await time.finish([waiter])
    assert time.now - 1000.0 >= 30
    assert waiter.result().waited == time.now - 1000.0


async def test_new_limits_count_for_who_already_waits() -> None:
    """A waiter who would wait a minute goes within two seconds once it is 120 a minute."""
    time = VirtualTime()
    pacer = Pacer(None, 1, time.clock, time.sleep)
    await pacer.acquire()
    waiter: asyncio.Task[object] = asyncio.create_task(pacer.acquire())
    await time.settle()
    pacer.reconfigure(None, 120)
    sent = time.now
    await time.finish([waiter])
    assert time.now - sent < 2


async def test_without_limits_nobody_waits() -> None:
    """No limit means no wait, however many ask."""
    time = VirtualTime()
    pacer = Pacer(None, None, time.clock, time.sleep)
    assert [(await pacer.acquire()).waited for _ in range(100)] == [0.0] * 100
