"""The shared budget of requests in the database: reserved in turn, kept apart between processes, never for ever."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import TypeAlias

import pytest

from emag_syncd.storage.budgets import FURTHEST, Budgets
from emag_syncd.storage.database import Database
from tests.support.budgets import Budget, Ledger
from tests.support.offers import Connection

Reserve: TypeAlias = Callable[..., Awaitable[float]]
Fleet: TypeAlias = Callable[[str], Reserve]


@pytest.fixture(params=["database", "memory"])
def fleet(request: pytest.FixtureRequest, database: Database) -> Fleet:
    """Give what reserves for a process of that name, in the table or in its twin."""
    if request.param == "database":
        return lambda holder: Budgets(database, holder=holder).of("main").reserve
    ledger = Ledger(time.monotonic)
    return lambda holder: Budget(ledger, holder).reserve


async def begins(reserve: Reserve, *, span: float = 5.0, gap: float = 0.0, delay: float = 0.0) -> tuple[float, float]:
    """Return when a reservation begins, by this process's clock, at the earliest and at the latest."""
    asked = time.monotonic()
    begins_in = await reserve(span, gap=gap, delay=delay)
    return asked + begins_in, time.monotonic() + begins_in


def apart(first: tuple[float, float], second: tuple[float, float], seconds: float) -> bool:
    """Whether two moments may be exactly so far apart."""
    return second[0] - first[1] - 1e-3 <= seconds <= second[1] - first[0] + 1e-3


async def test_the_first_begins_at_once(fleet: Fleet) -> None:
    """An account that nobody asked for is free."""
    assert await fleet("here")(5.0, gap=2.0, delay=0.0) == pytest.approx(0.0, abs=1e-3)


async def test_reservations_follow_each_other(fleet: Fleet) -> None:
    """What one process reserves joins without a gap; another's keeps its distance, and so does the way back."""
    here, there = fleet("here"), fleet("there")
    moments = [await begins(reserve, gap=2.0) for reserve in (here, here, there, there, here)]
    distances = [5.0, 7.0, 5.0, 7.0]
    assert all(map(apart, moments, moments[1:], distances))


async def test_a_delay_holds_for_everybody(fleet: Fleet) -> None:
    """What is reserved for later keeps others back until then."""
    assert 19.9 < await fleet("here")(1.0, gap=2.0, delay=20.0) <= 20.0
    assert 22.0 < await fleet("there")(1.0, gap=2.0, delay=0.0) <= 23.0


async def test_a_clock_that_was_set_back_costs_a_minute_at_most(fleet: Fleet) -> None:
    """What seems to be reserved until next week is not believed."""
    await fleet("here")(7 * 24 * 3600.0, gap=0.0, delay=0.0)
    assert await fleet("here")(1.0, gap=0.0, delay=0.0) <= FURTHEST


async def test_nobody_gets_what_another_has(database: Database) -> None:
    """Of many reservations at once none overlaps another, and none is kept waiting by an account that isn't its own."""
    asked = [Budgets(database, holder=f"process {number % 5}").of("main") for number in range(30)]
    began = time.monotonic()
    found = sorted(await asyncio.gather(*(begins(one.reserve, span=1.0) for one in asked)))
    assert all(later[1] - sooner[0] >= 1.0 - 1e-3 for sooner, later in pairwise(found))
    assert found[-1][1] - began >= 29.0 - 1e-3
    assert await Budgets(database, holder="process 0").of("fbe").reserve(1.0, gap=0.0, delay=0.0) <= 1e-3


async def test_the_table_may_be_emptied(database: Database, sql: Connection) -> None:
    """After a crash of the server the table is empty: the account is free."""
    here = Budgets(database, holder="here").of("main")
    await here.reserve(30.0, gap=0.0, delay=0.0)
    await sql.execute("TRUNCATE emag_api_budgets")
    assert await here.reserve(1.0, gap=0.0, delay=0.0) == pytest.approx(0.0, abs=1e-3)
