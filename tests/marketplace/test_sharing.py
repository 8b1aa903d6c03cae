"""Several processes and one budget: together they keep the limits that each would keep alone."""

import asyncio
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emag_syncd.marketplace.pacing import LONGEST_GRANT, SHORTEST_GRANT, Pacer
from tests.marketplace.test_pacing import most_in, sent_times
from tests.marketplace.virtual_time import VirtualTime
from tests.support.budgets import Budget, Ledger
from tests.support.scale import scaled

PROCESSES = st.lists(
    st.lists(st.one_of(st.just(0.0), st.floats(0.0, 1.0), st.floats(5.0, 20.0)), max_size=25), min_size=2, max_size=5
)
LATENESS = st.lists(st.floats(0.0, 1.5), max_size=60)


class Distant(Budget):
    """A budget whose answers take their time, there and back."""

    def __init__(self, ledger: Ledger, holder: str, time: VirtualTime, trips: Sequence[float]) -> None:
        super().__init__(ledger, holder)
        self._time = time
        self._trips = list(trips)

    async def reserve(self, span: float, *, gap: float, delay: float) -> float:
        trip = self._trips.pop(0) if self._trips else 0.0
        await self._time.sleep(trip / 2)
        begins_in = await super().reserve(span, gap=gap, delay=delay)
        await self._time.sleep(trip / 2)
        return begins_in


@given(
    processes=PROCESSES,
    lateness=LATENESS,
    trips=st.lists(st.one_of(st.floats(0.0, 0.3), st.floats(0.5, 3.0)), max_size=30),
    per_second=st.sampled_from([1, 2, 3, 7, 12]),
    per_minute=st.sampled_from([None, 5, 30]),
)
@settings(deadline=None, max_examples=scaled(60))
def test_together_they_keep_the_limits_of_one(
    processes: list[list[float]],
    lateness: list[float],
    trips: list[float],
    per_second: int,
    per_minute: int | None,
) -> None:
    """However many ask at once, wake up late or hear late: no second and no minute has more than one would send."""

    async def scenario() -> list[float]:
        time = VirtualTime(lateness)
        ledger = Ledger(time.clock)
        sent: list[float] = []

        async def arrive(pacer: Pacer, at: float) -> None:
            await time.sleep(at)
            await pacer.acquire()
            sent.append(time.now)

        tasks: list[asyncio.Task[object]] = []
        for number, gaps in enumerate(processes):
            budget = Distant(ledger, f"process {number}", time, trips[number::3])
            pacer = Pacer(per_second, per_minute, time.clock, time.sleep, budget)
            at = 0.0
            for gap in gaps:
                at += gap
                tasks.append(asyncio.create_task(arrive(pacer, at)))
        await time.finish(tasks)
        return sorted(sent)

    sent = asyncio.run(scenario())
    assert len(sent) == sum(map(len, processes))
    if sent:
        assert most_in(sent, 1.0) <= per_second
        assert per_minute is None or most_in(sent, 60.0) <= per_minute


async def test_alone_97_percent_of_the_limit_are_used_all_the_same() -> None:
    """With work all the time, wake-ups up to 4 ms late and 20 ms to the database, 3/s give 97 % of 180 a minute."""
    time = VirtualTime([0.001 * (turn % 5) for turn in range(50_000)])
    budget = Distant(Ledger(time.clock), "alone", time, [0.02] * 1000)
    sent = await sent_times(Pacer(3, 180, time.clock, time.sleep, budget), time, [0.0] * 400)
    assert (len(sent) - 1) / (sent[-1] - sent[0]) >= 0.97 * 3


async def test_two_at_once_share_what_one_would_have() -> None:
    """Two that ask all the time get as much as one that changes hands: nobody gets nothing."""
    time = VirtualTime()
    ledger = Ledger(time.clock)
    both = [Pacer(3, 180, time.clock, time.sleep, Budget(ledger, name)) for name in ("here", "there")]
    gotten: list[list[float]] = [[], []]

    async def ask(number: int) -> None:
        for _ in range(20):
            await both[number].acquire()
            gotten[number].append(time.now)

    await time.finish([asyncio.create_task(ask(0)), asyncio.create_task(ask(1))])
    assert min(later - sooner for sooner, later in pairwise(sorted(gotten[0] + gotten[1]))) >= 1 / 3
    assert abs(gotten[0][-1] - gotten[1][-1]) < 3


async def test_a_successor_waits_for_what_a_dead_process_had_reserved() -> None:
    """Whoever takes over sends nothing in the time that was another's, and loses less than two seconds by it."""
    time = VirtualTime()
    ledger = Ledger(time.clock)
    dead = await sent_times(Pacer(3, 180, time.clock, time.sleep, Budget(ledger, "dead")), time, [0.0] * 4)
    successor = await sent_times(Pacer(3, 180, time.clock, time.sleep, Budget(ledger, "next")), time, [0.0] * 4)
    assert 3 * 0.34 <= successor[0] - dead[-1] + 1e-9 < 2
    assert most_in(dead + successor, 1.0) <= 3


async def test_who_did_not_run_for_a_while_asks_again() -> None:
    """A process that was stopped with a grant in its hands sends nothing on it when it goes on."""
    time = VirtualTime([0.0, 0.0, 20.0])
    ledger = Ledger(time.clock)
    stopped = Pacer(3, 180, time.clock, time.sleep, Budget(ledger, "stopped"))
    await sent_times(stopped, time, [0.0, 0.0])
    assert len(ledger.reserved) == 3
    (_, unused, _), (begins, _, _) = ledger.reserved[-2:]
    assert unused < begins == time.now


async def test_a_pause_that_one_was_asked_for_is_everybodys() -> None:
    """After a 429 here, with a request waiting, nobody else sends before the pause is over either."""
    time = VirtualTime()
    ledger = Ledger(time.clock)
    here, there = (Pacer(3, 180, time.clock, time.sleep, Budget(ledger, name)) for name in ("here", "there"))
    here.pause(20)
    began = time.now
    waiter: asyncio.Task[object] = asyncio.create_task(here.acquire())
    await time.settle()
    (sent,) = await sent_times(there, time, [0.0])
    assert sent >= began + 20
    await time.finish([waiter])


async def test_a_slow_database_is_asked_for_more_at_a_time() -> None:
    """Answers that take as long as six requests halve the pace, and nobody waits for ever."""
    time = VirtualTime()
    budget = Distant(Ledger(time.clock), "far", time, [2.0] * 1000)
    sent = await sent_times(Pacer(3, 180, time.clock, time.sleep, budget), time, [0.0] * 60)
    assert (len(sent) - 1) / (sent[-1] - sent[0]) > 1
    lengths = {round(ends - begins, 2) for begins, ends, _ in budget.ledger.reserved}
    assert min(lengths) <= SHORTEST_GRANT
    assert max(lengths) <= LONGEST_GRANT


class Broken(Budget):
    """A budget that can't be asked at first."""

    failures = 2

    async def reserve(self, span: float, *, gap: float, delay: float) -> float:
        if self.failures:
            self.failures -= 1
            raise ConnectionError
        return await super().reserve(span, gap=gap, delay=delay)


async def test_without_its_share_nothing_is_sent() -> None:
    """A budget that can't be asked is an error, for who waits with patience as well as for the next; then it works."""
    time = VirtualTime()
    pacer = Pacer(3, 180, time.clock, time.sleep, Broken(Ledger(time.clock), "here"))
    for _ in range(2):
        with pytest.raises(ConnectionError):
            await pacer.acquire()
    assert (await pacer.acquire()).waited == 0.0


async def test_without_limits_nobody_is_asked() -> None:
    """No limit needs no budget."""
    time = VirtualTime()
    ledger = Ledger(time.clock)
    pacer = Pacer(None, None, time.clock, time.sleep, Budget(ledger, "here"))
    assert [(await pacer.acquire()).waited for _ in range(100)] == [0.0] * 100
    assert not ledger.reserved
