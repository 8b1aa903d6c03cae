"""Runs that somebody else ends."""

import asyncio

import msgspec
import pytest

from emag_syncd.domain.errors import FencedError
from emag_syncd.domain.runs import ErrorKind, Outcome, Status
from emag_syncd.storage.database import Database
from emag_syncd.supervision.recorder import kinds_of
from emag_syncd.sync.context import RunContext
from tests.support.engines import at_once, core_on, engine_of, for_ever, gate, sample, start, until_stopped
from tests.support.offers import PROGRESS, Connection, creating, offer, rows
from tests.support.syncing import ended


async def test_a_cancelled_run_writes_nothing_more(database: Database, sql: Connection) -> None:
    """The row is ended at once; the run is stopped, and what it still tries is refused."""
    refused = asyncio.Event()

    async def stubborn(context: RunContext) -> Outcome:
        try:
            return await for_ever(context)
        finally:
            with pytest.raises(FencedError):
                await core.mirror.commit(context.lease, None, creating(offer(1)), PROGRESS, commits=0)
            refused.set()

    async with core_on(database, stubborn) as core:
        handle = await start(core)
        assert await core.supervisor.cancel(handle.lease.run_id)
        before = await rows(sql)
        row = await core.ledger.get(handle.lease.run_id)
        assert row is not None
        assert row["status"] == "cancelled"
        assert msgspec.json.decode(row["errors"])[0]["error"] == "Cancelled on request"
        assert await handle.finished is None
        assert refused.is_set()
        assert await rows(sql) == before
        assert not await core.supervisor.cancel(handle.lease.run_id)
        counted = {"account": "main", "operation": "full_sync", "status": "cancelled"}
        assert sample(core, "emag_sync_runs_total", **counted) == 1
        assert sample(core, "emag_sync_in_progress", account="main") == 0
        engine_of(core).act = at_once
        assert (await ended(await start(core))).status == "completed"


@pytest.mark.parametrize(
    ("is_through", "status", "kinds"), [(False, "cancelled", [ErrorKind.SHUTDOWN]), (True, "completed", [])]
)
async def test_an_interrupted_run_ends_as_it_is_told(
    database: Database, *, is_through: bool, status: str, kinds: list[ErrorKind]
) -> None:
    """By who interrupts it first; unless it is through by then, and what it came to counts."""
    async with core_on(database, at_once) as core:
        opened = gate(core)
        handle = await start(core)
        if is_through:
            opened.set()
        handle.interrupt(Outcome.of(Status.CANCELLED, ErrorKind.SHUTDOWN, "The daemon was shut down"))
        handle.interrupt(None)
        row = await handle.finished
        assert row is not None
        assert (row["status"], kinds_of(row)) == (status, kinds)


@pytest.mark.parametrize("statement", ["UPDATE emag_sync_logs SET status = 'failed'", "DELETE FROM emag_sync_logs"])
async def test_an_operator_ends_a_run(database: Database, sql: Connection, statement: str) -> None:
    """The next heartbeat stops the run, its row stays as it was left, and nobody takes it for one under way."""
    async with core_on(database, for_ever) as core:
        told: list[str] = []
        core.recorder.subscribe(lambda event, _: told.append(event))
        handle, other = await start(core), await start(core, "fbe")
        await core.heartbeat.turn()
        assert not handle.finished.done()
        await sql.execute(f"{statement} WHERE account_type = 'main'")
        before = await rows(sql, "emag_sync_logs")
        await core.heartbeat.turn()
        assert await handle.finished is None
        assert not other.finished.done()
        main = [row for row in before["emag_sync_logs"] if "main" in row[2]]
        assert [row for row in (await rows(sql, "emag_sync_logs"))["emag_sync_logs"] if "main" in row[2]] == main
        assert [sample(core, "emag_sync_in_progress", account=name) for name in ("main", "fbe")] == [0, 1]
        assert told == ["started", "started", "lost"]


async def test_the_successor_of_a_lost_run_counts_as_running(database: Database, sql: Connection) -> None:
    """A lost run that takes its time to stop does not hide that another one is under way."""
    leave = asyncio.Event()

    async def slow_to_stop(context: RunContext) -> Outcome:
        try:
            return await for_ever(context)
        finally:
            await leave.wait()

    async with core_on(database, slow_to_stop) as core:
        lost = await start(core)
        await sql.execute("UPDATE emag_sync_logs SET status = 'failed'")
        await core.heartbeat.turn()
        engine_of(core).act = until_stopped
        await start(core)
        leave.set()
        assert await lost.finished is None
        assert sample(core, "emag_sync_in_progress", account="main") == 1


async def test_an_end_by_other_hands_is_theirs(database: Database, sql: Connection) -> None:
    """Although it says what the run would have said."""
    async with core_on(database, at_once) as core:
        opened = gate(core)
        handle = await start(core)
        await sql.execute("UPDATE emag_sync_logs SET status = 'completed'")
        opened.set()
        assert await handle.finished is None
