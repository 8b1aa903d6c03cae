"""Room for another run: waited for while the process has its hands full, and not for ever."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from emag_syncd.storage.database import Database
from emag_syncd.supervision import room as module
from emag_syncd.supervision.room import Room
from tests.support.waiting import until


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the event loop of a busy machine for one that is in time."""
    monkeypatch.setattr(module, "LATE_SECONDS", 60)


async def test_a_connection_that_comes_free_is_room(database: Database) -> None:
    """While all connections are lent there is none; it comes as soon as one of them is given back."""
    async with AsyncExitStack() as lent, database.use():
        assert not database.is_exhausted
        for _ in range(database.pool_size()["max"] - 1):
            await lent.enter_async_context(database.use())
        assert database.is_exhausted
        looked: list[bool] = []

        def is_exhausted() -> bool:
            looked.append(database.is_exhausted)
            return looked[-1]

        coming = asyncio.create_task(Room(is_exhausted).comes())
        await until(lambda: len(looked) > 1)
        assert not coming.done()
        await lent.aclose()
        assert await coming
        assert looked == [True] * (len(looked) - 1) + [False]


async def test_a_loop_that_is_late_is_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is waited for too, but neither is waited for without end."""
    monkeypatch.setattr(module, "BREATHS", 2)
    assert not await Room(lambda: True).comes()
    assert await Room().comes()
    monkeypatch.setattr(module, "LATE_SECONDS", -60)
    assert not await Room().comes()
