"""Runs without a daemon: what a run needs to keep its lease and its promises, for as long as the runs last."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from asyncpg import Record

from emag_syncd.config import Settings
from emag_syncd.domain.errors import DatabaseError, SyncdError
from emag_syncd.domain.runs import RunRequest
from emag_syncd.service.background import Background
from emag_syncd.service.core import Core
from emag_syncd.service.databases import database_address, open_database, prepare_schema, require_schema
from emag_syncd.supervision.supervisor import Handle


@dataclass(frozen=True, slots=True)
class Ended:
    """What came of a request: the run's row, or the error that kept it from beginning or from being recorded."""

    account: str
    row: Record | None = None
    error: SyncdError | None = None


@asynccontextmanager
async def foreground(settings: Settings, stop: asyncio.Event) -> AsyncIterator[Core]:
    """Give what runs syncs, with its heartbeats and its watchdog; setting ``stop`` ends the runs in good order.

    Raises ConfigurationError or DatabaseError where it can't begin.
    """
    async with AsyncExitStack() as stack:
        dsn = await stack.enter_async_context(database_address(settings))
        await prepare_schema(settings, dsn)
        database = await stack.enter_async_context(open_database(settings, dsn))
        await require_schema(database)
        core = Core(settings, database, stop)
        stack.push_async_callback(core.close)
        await core.watchdog.recover()
        background = await stack.enter_async_context(Background(on_failure=core.fail))
        for loop in core.loops():
            background.start(loop.pulse.name, loop.run())
        yield core


async def run_all(core: Core, requests: Sequence[RunRequest], on_start: Callable[[Handle], None]) -> list[Ended]:
    """Make all runs at once and return how each ended, in the order of ``requests``; no run waits for another's."""
    begun = [await _begin(core, request, on_start) for request in requests]
    await _finish(core, [one for one in begun if isinstance(one, Handle)])
    return [
        Ended(request.account, error=one) if isinstance(one, SyncdError) else await _ended(core, one)
        for request, one in zip(requests, begun, strict=True)
    ]


async def _begin(core: Core, request: RunRequest, on_start: Callable[[Handle], None]) -> Handle | SyncdError:
    try:
        handle = await core.supervisor.start(request)
    except SyncdError as error:
        return error
    on_start(handle)
    return handle


async def _finish(core: Core, handles: Sequence[Handle]) -> None:
    """Return when every run ended, or when those that are told to stop had their time for it."""
    stopped = asyncio.create_task(core.stop.wait(), name="stop")
    ended = asyncio.gather(*(handle.finished for handle in handles))
    ended.add_done_callback(lambda _: stopped.cancel())
    await asyncio.wait({stopped})
    if not ended.done():
        await core.drain()


async def _ended(core: Core, handle: Handle) -> Ended:
    run_id, account = handle.lease.run_id, handle.lease.account
    row = handle.finished.result() if handle.finished.done() else None
    try:
        # Somebody else's verdict is as good; a run that could not be recorded in time still reads as running.
        row = row or await core.ledger.get(run_id)
    except DatabaseError as error:
        return Ended(account, error=error)
    if row is None or row["completed_at"] is None:
        remedy = "the database was away or the run would not stop; the next daemon or sync ends it"
        return Ended(account, row, DatabaseError(f"the end of run {run_id} is not recorded", remedy=remedy))
    return Ended(account, row)
