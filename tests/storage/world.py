"""A real database for tests that are not coroutines, and what came of the acts in it."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar
from uuid import UUID

import asyncpg

from emag_syncd.domain.batches import ScanRef
from emag_syncd.domain.errors import SyncdError
from emag_syncd.domain.runs import Lease
from emag_syncd.storage.database import Database
from tests.support.offers import Connection
from tests.support.sides import TICK, RealSide, Side

T = TypeVar("T")

# No sum of ticks comes near it from below: what the test itself takes decides nothing.
LEASE = 2.5 * TICK


class World:
    """A database, and an event loop to use it from tests that are not coroutines."""

    def __init__(self, url: str) -> None:
        self._runner = asyncio.Runner()
        self.database = self.do(Database.open(url, pool_max_size=2))
        self.sql: Connection = self.do(_connected(url))
        self.real = RealSide(self.database, self.sql, lease_seconds=LEASE)

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)

    def close(self) -> None:
        self.do(self.sql.close())
        self.do(self.database.close())
        self._runner.close()


async def _connected(url: str) -> Connection:
    return await asyncpg.connect(url)


class Refusal(str):
    """What an act was refused with."""

    __slots__ = ()


async def attempt(act: Callable[[Side], Awaitable[T]], side: Side) -> T | Refusal:
    """Return what came of it, an exception by its name and what it says of runs."""
    try:
        return await act(side)
    except (SyncdError, asyncpg.UniqueViolationError) as error:
        return Refusal(f"{type(error).__name__} {getattr(error, 'run_id', '')}")


def ids_of(result: Any) -> list[UUID]:
    """Return the ids that PostgreSQL made for this result, in the order in which they are drawn."""
    match result:
        case Lease():
            return [result.run_id, result.token]
        case ScanRef():
            return [result.id]
        case UUID():
            return [result]
    return []


def ended(rows: Any) -> dict[UUID, str]:
    """Return what the rows of runs say of their ends."""
    return {row["id"]: row["status"] for row in rows}
