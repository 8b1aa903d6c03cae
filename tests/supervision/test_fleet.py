"""Several daemons on one database: one run at a time, and a successor for those that hang."""

import asyncio
from collections.abc import Sequence

import pytest
import structlog

from emag_syncd.domain.errors import BusyError, FencedError
from emag_syncd.domain.runs import Operation, RunRequest, Trigger
from emag_syncd.service.core import Core
from emag_syncd.storage.database import Database
from emag_syncd.supervision.supervisor import Handle
from tests.support.engines import core_on, engine_of, sample, start, until_stopped
from tests.support.offers import PROGRESS, Connection, creating, expire, offer, rows
from tests.support.syncing import ended


def full() -> RunRequest:
    """Return a request of its own: the same one asked twice is one run."""
    return RunRequest("main", Operation.FULL, Trigger.API)


async def race(cores: Sequence[Core]) -> list[Handle]:
    """Let everybody start a run of the account at once, and return those that began."""
    tries = [core.supervisor.start(full()) for core in cores for _ in range(5)]
    results = await asyncio.gather(*tries, return_exceptions=True)
    assert {type(result) for result in results} == {Handle, BusyError}
    return [result for result in results if isinstance(result, Handle)]


async def test_one_run_whoever_starts_it(database: Database, sql: Connection) -> None:
    """Of many starts at once in two daemons one begins; the others hear which run is in their way."""
    async with core_on(database, until_stopped) as here, core_on(database, until_stopped) as there:
        for _ in range(3):
            (handle,) = await race([here, there])
            assert await sql.fetchval("SELECT count(*) FROM emag_sync_logs WHERE status = 'running'") == 1
            for core in (here, there):
                with pytest.raises(BusyError) as busy:
                    await core.supervisor.start(full())
                assert busy.value.run_id == handle.lease.run_id
            handle.context.request_stop()
            await handle.finished


async def test_workers_are_told_apart(database: Database) -> None:
    """Two cores, even of one process, never have the same identity."""
    async with core_on(database, until_stopped) as here, core_on(database, until_stopped) as there:
        assert str(here.worker) != str(there.worker)


async def test_a_hanging_daemon_is_replaced(database: Database, sql: Connection) -> None:
    """After its lease another daemon ends its run and does its own; the first one writes nothing and stops."""
    async with core_on(database, until_stopped) as hung, core_on(database, until_stopped) as alive:
        lost, untouched = await start(hung), await start(hung, "fbe")
        await expire(sql, lost.lease)
        await alive.watchdog.turn()
        (reaped,) = await sql.fetch("SELECT * FROM emag_sync_logs WHERE status = 'failed'")
        assert reaped["id"] == lost.lease.run_id
        assert str(hung.worker) in reaped["errors"]
        assert sample(alive, "emag_watchdog_reaped_total", account="main", kind="stale") == 1
        assert sample(alive, "emag_sync_stale_runs") == 0
        successor = await start(alive)
        before = await rows(sql)
        with pytest.raises(FencedError):
            await hung.mirror.commit(lost.lease, None, creating(offer(1)), PROGRESS, commits=0)
        assert await rows(sql) == before
        await hung.heartbeat.turn()
        assert await lost.finished is None
        assert not untouched.finished.done()
        assert sample(hung, "emag_sync_in_progress", account="main") == 0
        successor.context.request_stop()
        assert (await ended(successor)).kinds == ["shutdown"]


async def test_a_claim_tells_of_the_stale_run_that_it_ended(database: Database, sql: Connection) -> None:
    """It is counted and logged, and where it was our own that hung, it is stopped."""
    async with core_on(database, until_stopped) as core:
        lost = await start(core)
        await expire(sql, lost.lease)
        with structlog.testing.capture_logs() as logged:
            successor = await start(core)
        assert await lost.finished is None
        assert sample(core, "emag_watchdog_reaped_total", account="main", kind="stale") == 1
        told = [line["run_id"] for line in logged if line["action"] == "run_reaped"]
        assert told == [str(lost.lease.run_id)]
        assert sample(core, "emag_sync_in_progress", account="main") == 1
        assert core.supervisor.handles() == [successor]


async def test_a_daemon_ends_its_own_runs_that_hung(database: Database, sql: Connection) -> None:
    """A process that slept past its leases and wakes up stops what its own watchdog finds stale."""
    async with core_on(database, until_stopped) as core:
        handle = await start(core)
        await expire(sql, handle.lease)
        await core.watchdog.turn()
        assert await handle.finished is None
        counted = {"account": "main", "operation": "full_sync", "status": "failed"}
        assert sample(core, "emag_sync_runs_total", **counted) == 1
        ran = sample(core, "emag_watchdog_last_run_timestamp_seconds")
        assert ran is not None
        assert ran > 0


async def test_an_expired_lease_that_nobody_took_is_kept(database: Database, sql: Connection) -> None:
    """A heartbeat that comes late but first saves the run."""
    async with core_on(database, until_stopped) as core:
        handle = await start(core)
        await expire(sql, handle.lease)
        await core.heartbeat.turn()
        await core.watchdog.turn()
        assert not handle.finished.done()
        assert engine_of(core).began.empty()
