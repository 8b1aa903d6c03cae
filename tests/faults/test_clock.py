"""The host's clock is set forwards and backwards by an hour, and the host sleeps for one."""

import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from emag_syncd.sandbox import Sandbox
from tests.support.hosts import LONGEST, Clock, completed, configured, in_mid_run, slowed
from tests.support.offers import Connection
from tests.support.processes import daemon_process
from tests.support.recovery import Recovery

pytestmark = pytest.mark.timeout(LONGEST)

OFTEN = {"main": {"full": "off", "incremental": "1s"}}
HOUR = 3600
UNWELL = "SELECT status, errors FROM emag_sync_logs WHERE status <> 'completed'"


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """Run a marketplace with few offers."""
    async with Sandbox.of("main", offers=40) as sandbox:
        yield sandbox


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    """Give the clock of the daemon's host."""
    return Clock(tmp_path)


async def runs_go_on(sql: Connection) -> None:
    """Wait for two more runs that read everything."""
    done = await sql.fetchval("SELECT count(*) FROM emag_sync_logs WHERE status = 'completed'")
    await completed(sql, done + 2)


async def test_a_step_of_the_daemons_clock(
    sandbox: Sandbox, database_url: str, sql: Connection, clock: Clock, tmp_path: Path, recovery: Recovery
) -> None:
    """Schedules go on after each step, with the slots of the database's clock, each of them once."""
    config = configured(tmp_path, sandbox, database_url, OFTEN)
    async with daemon_process(config, **clock.environ) as daemon:
        await runs_go_on(sql)
        for step, seconds in (("forwards", HOUR), ("back again", 0), ("backwards", -HOUR), ("forwards again", 0)):
            clock.set(seconds)
            with recovery.timed(f"the daemon's clock set {step} by an hour", 2, 11):
                await runs_go_on(sql)
        assert len(daemon.lines("clock_set_back")) == 2
        assert await daemon.get("/livez") == 200
        daemon.send(signal.SIGTERM)
        assert await daemon.ended() == 0
    off = "SELECT max(abs(extract(epoch FROM started_at - scheduled_for))) FROM emag_sync_logs"
    assert await sql.fetchval(off) < HOUR / 2
    assert await sql.fetch(UNWELL) == []


async def test_a_step_of_everybodys_clock(
    sandbox: Sandbox, database_url: str, sql: Connection, clock: Clock, tmp_path: Path, recovery: Recovery
) -> None:
    """Where PostgreSQL's goes back too, the coming slots are on record as done; they are served all the same."""
    clock.set(HOUR)
    async with daemon_process(configured(tmp_path, sandbox, database_url, OFTEN), **clock.environ) as daemon:
        await runs_go_on(sql)
        clock.set(0)
        # What is left in the tables of a server whose clock was set back.
        await sql.execute(
            "UPDATE emag_sync_logs SET started_at = started_at + interval '1 hour',"
            " completed_at = completed_at + interval '1 hour', scheduled_for = scheduled_for + interval '1 hour'"
        )
        await sql.execute(
            "INSERT INTO emag_sync_logs (account_type, operation, status, started_at, completed_at, scheduled_for)"
            " SELECT 'main', 'incremental_sync', 'completed', slot, slot, slot FROM generate_series("
            "date_trunc('second', clock_timestamp()) + interval '2 minutes',"
            " clock_timestamp() + interval '10 minutes', interval '1 second') AS slot"
        )
        with recovery.timed("the clocks of daemon and database set backwards by an hour", 2, 11):
            await runs_go_on(sql)
        assert not await sql.fetchval(
            "SELECT count(scheduled_for) FROM emag_sync_logs WHERE started_at > clock_timestamp() + interval '1 minute'"
        )
        assert await daemon.get("/livez") == 200
        daemon.send(signal.SIGTERM)
        assert await daemon.ended() == 0


async def test_a_host_that_slept(
    sandbox: Sandbox, database_url: str, sql: Connection, clock: Clock, tmp_path: Path, recovery: Recovery
) -> None:
    """In mid-run: the process stands still while the clocks go on by an hour; its run ends, and the next goes on."""
    slowed(sandbox, 0.3)
    config = configured(tmp_path, sandbox, database_url, OFTEN)
    async with daemon_process(config, **clock.environ) as daemon:
        run_id = await in_mid_run(sql, 1)
        # What the database's clock makes of the hour: the lease is long over. A stopped process may hold the row.
        await sql.execute("UPDATE emag_sync_logs SET lease_expires_at = lease_expires_at - interval '1 hour'")
        daemon.send(signal.SIGSTOP)
        clock.set(HOUR)
        slowed(sandbox, 0)
        daemon.send(signal.SIGCONT)
        with recovery.timed("the host suspended for an hour", 2, 3):
            await runs_go_on(sql)
        assert await daemon.get("/livez") == 200
        assert await sql.fetchval("SELECT status FROM emag_sync_logs WHERE id = $1", run_id) in {"completed", "failed"}
        daemon.send(signal.SIGTERM)
        assert await daemon.ended() == 0
