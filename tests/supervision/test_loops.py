"""The daemon's loops: what ends them, what does not, and how it is known that they turn."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise

import pytest
import structlog
from blockbuster import BlockingError

from emag_syncd.domain.errors import DatabaseError
from emag_syncd.supervision.loops import GRACE_SECONDS, LagProbe, Loop, Pulse
from tests.support.waiting import until


class Work:
    """Fails as it is told, turn after turn, and counts the turns."""

    def __init__(self, fail: Callable[[int], BaseException | None]) -> None:
        self.turns = 0
        self._fail = fail

    async def __call__(self) -> None:
        self.turns += 1
        if (error := self._fail(self.turns)) is not None:
            raise error


async def turning(loop: Loop, seen: Callable[[], object]) -> None:
    """Run ``loop`` until ``seen``, or until it ends by itself."""
    running = asyncio.create_task(loop.run())
    waiting = asyncio.create_task(until(seen))
    await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
    for task in (running, waiting):
        task.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def test_a_database_that_is_away_ends_no_loop() -> None:
    """It goes on turning, and says so less and less often; after it worked, the next failure is news again."""
    work = Work(lambda turn: None if turn == 20 else DatabaseError("PostgreSQL is away"))
    with structlog.testing.capture_logs() as logged:
        await turning(Loop("tests", work, every=lambda: 0), lambda: work.turns >= 22)
    assert [line["failures"] for line in logged][:7] == [1, 2, 4, 8, 16, 1, 2]
    assert {line["error"] for line in logged} == {"PostgreSQL is away"}


async def test_a_turn_that_failed_comes_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a second, two, four, and never later than the next one is due; what worked waits its interval."""
    monkeypatch.setattr("emag_syncd.supervision.loops.FIRST_RETRY", 0.02)
    at: list[float] = []

    def fail(turn: int) -> BaseException | None:
        at.append(time.monotonic())
        return None if turn == 8 else DatabaseError("PostgreSQL is away")

    loop = Loop("tests", Work(fail), every=lambda: 0.3)
    await turning(loop, lambda: len(at) >= 9)
    waits = [after - before for before, after in pairwise(at[:9])]
    assert all(
        wait >= least - 0.001 for wait, least in zip(waits, (0.02, 0.04, 0.08, 0.16, 0.3, 0.3, 0.3, 0.3), strict=True)
    )
    before = len(at)
    await turning(Loop("tests", Work(fail), every=lambda: 500), lambda: len(at) >= before + 3)


async def test_a_turn_has_a_time_limit() -> None:
    """One that hangs is cut off, and the next one comes."""
    hung = 0

    async def hang() -> None:
        nonlocal hung
        hung += 1
        await asyncio.Event().wait()

    with structlog.testing.capture_logs() as logged:
        await turning(Loop("tests", hang, every=lambda: 0, within=0.01), lambda: hung >= 3)
    assert logged[0]["error"] == "not done within 0.01 seconds"


async def test_any_other_failure_ends_a_loop() -> None:
    """A fault in our own work is not turned over and over."""
    work = Work(lambda turn: ZeroDivisionError() if turn == 2 else None)
    with pytest.raises(ZeroDivisionError):
        await turning(Loop("tests", work, every=lambda: 0), lambda: False)
    assert work.turns == 2


def test_a_pulse_shows_the_age_of_the_last_turn() -> None:
    """It lives as long as its interval and a grace allow."""
    pulse, other = Pulse("one", every=5), Pulse("other", every=500)
    for one in (pulse, other):
        one._last -= 4 + GRACE_SECONDS
    assert pulse.alive
    for one in (pulse, other):
        one._last -= 2
    assert (pulse.alive, other.alive) == (False, True)
    pulse.beat()
    assert pulse.alive
    assert pulse.age < GRACE_SECONDS


async def test_a_loop_beats_with_each_turn() -> None:
    """Before and after its work, failed or not; and its limit follows an interval that was changed."""
    every = [0.0, 0.0, 0.0, 500.0]
    work = Work(lambda turn: DatabaseError("away") if turn % 2 else None)
    loop = Loop("tests", work, every=lambda: every[min(work.turns, 3)])
    loop.pulse._last = 0.0
    await turning(loop, lambda: work.turns == 3 and loop.pulse.limit > 500)
    assert loop.pulse.alive
    assert loop.pulse.limit == 500 + GRACE_SECONDS


async def test_tests_refuse_blocking_calls() -> None:
    """A sleep in our own code that holds up the event loop fails the test in which it happens."""

    async def snooze() -> None:
        nap()

    with pytest.raises(BlockingError):
        await turning(Loop("tests", snooze, every=lambda: 0), lambda: False)


def nap() -> None:
    """Sleep as no coroutine should."""
    time.sleep(0.001)


def hold_up(seconds: float) -> None:
    """Do not let the event loop turn."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


async def test_the_lag_of_a_blocked_loop_is_seen() -> None:
    """What holds up the event loop shows as the lag that everybody else has."""
    lags: list[float] = []
    probe = LagProbe(lags.append, interval=0.01)
    probe.pulse._last = 0.0
    probing = asyncio.create_task(probe.run())
    await until(lambda: lags)
    hold_up(0.2)
    before = len(lags)
    await until(lambda: len(lags) > before)
    assert max(lags) >= 0.18
    assert probe.pulse.alive
    probing.cancel()
