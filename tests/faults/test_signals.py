"""SIGTERM in every phase of a daemon's life, SIGHUP in mid-run, and descriptors that are used up."""

import asyncio
import random
import resource
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from emag_syncd.sandbox import Sandbox
from tests.support.hosts import (
    DAILY,
    LONGEST,
    OFF,
    PATIENCE,
    completed,
    configured,
    ended_as,
    in_mid_run,
    slowed,
    synced,
)
from tests.support.offers import Connection
from tests.support.outages import terminate_backends
from tests.support.processes import daemon_process
from tests.support.recovery import Recovery
from tests.support.scale import scaled
from tests.support.server import database_proxy
from tests.support.waiting import until

pytestmark = pytest.mark.timeout(LONGEST * scaled(1))

PAGES = 10
RUNNING = "SELECT count(*) FROM emag_sync_logs WHERE status = 'running'"


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """Run a marketplace that takes its time for each page."""
    async with Sandbox.of("main", offers=PAGES * 10) as sandbox:
        slowed(sandbox, 0.1)
        yield sandbox


async def test_a_stop_while_the_database_keeps_silent(sandbox: Sandbox, database_url: str, tmp_path: Path) -> None:
    """At the start the daemon waits for an answer that never comes; SIGTERM ends it well."""
    async with database_proxy(database_url) as (proxy, url):
        proxy.silence()
        async with daemon_process(configured(tmp_path, sandbox, url)) as daemon:
            await until(lambda: proxy.accepted, within=PATIENCE)
            daemon.send(signal.SIGTERM)
            assert await daemon.ended() == 0
            assert not daemon.lines("ready")
        proxy.resume()


async def test_a_stop_while_it_migrates(sandbox: Sandbox, empty_database_url: str, tmp_path: Path) -> None:
    """A migration that somebody holds up is given up, leaves nothing behind, and works at the next start."""
    config = configured(tmp_path, sandbox, empty_database_url, database={"url": empty_database_url})
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    holder, sql = [await asyncpg.connect(empty_database_url) for _ in range(2)]
    held = holder.transaction()
    await held.start()
    # Whoever makes the same table has to wait for the end of this transaction.
    await holder.execute("CREATE TABLE emag_products ()")
    async with daemon_process(config) as daemon:
        await until(lambda: sql.fetchval(waiting), within=PATIENCE)
        daemon.send(signal.SIGTERM)
        assert await daemon.ended() == 0
        assert not daemon.lines("ready")
    await held.rollback()
    assert await sql.fetchval("SELECT to_regclass('emag_sync_logs')") is None
    async with daemon_process(config) as daemon:
        assert await synced(daemon) == "completed"
    for conn in (holder, sql):
        await conn.close()


@pytest.mark.parametrize("phase", ["idle", "page", "reconcile"])
async def test_a_stop_at_work(sandbox: Sandbox, database_url: str, sql: Connection, tmp_path: Path, phase: str) -> None:
    """SIGTERM ends it well and in time; a run under way is recorded as cancelled for the shutdown, or completed."""
    slowed(sandbox, 0 if phase == "idle" else 0.3)
    async with daemon_process(configured(tmp_path, sandbox, database_url, {"main": DAILY})) as daemon:
        if phase == "idle":
            await completed(sql)
        else:
            run_id = await in_mid_run(sql, PAGES if phase == "reconcile" else 2)
        daemon.send(signal.SIGTERM)
        assert await daemon.ended() == 0
    assert await sql.fetchval(RUNNING) == 0
    if phase == "page":
        assert await ended_as(sql, run_id) == ("cancelled", "shutdown")
    elif phase == "reconcile":
        assert await ended_as(sql, run_id) in {("cancelled", "shutdown"), ("completed", None)}


async def test_stops_at_random_moments(sandbox: Sandbox, database_url: str, sql: Connection, tmp_path: Path) -> None:
    """However early, no process outlives it, none ends as failed, and no row says that something runs."""
    config = configured(tmp_path, sandbox, database_url, {"main": {"full": "2s", "incremental": "1s"}})
    for _ in range(scaled(2)):
        async with daemon_process(config) as daemon:
            await asyncio.sleep(random.uniform(0, 6))
            daemon.send(signal.SIGTERM)
            # Before the daemon is there to take it, the signal ends the process by itself.
            assert await daemon.ended() in {0, -signal.SIGTERM}
        assert await sql.fetchval(RUNNING) == 0


async def test_a_reload_in_mid_run(sandbox: Sandbox, database_url: str, sql: Connection, tmp_path: Path) -> None:
    """A bad file changes nothing, a good one the schedules; the run under way goes on through both."""
    slowed(sandbox, 0.5)
    config = configured(tmp_path, sandbox, database_url, {"main": DAILY})
    async with daemon_process(config) as daemon:
        run_id = await in_mid_run(sql, 1)
        config.write_text(config.read_text() + "sync.timeout = 5\n")
        daemon.send(signal.SIGHUP)
        assert "sync.timeout" in (await daemon.logged("reload_refused"))["error"]
        configured(tmp_path, sandbox, database_url, {"main": {**OFF, "incremental": "1s"}})
        daemon.send(signal.SIGHUP)
        await daemon.logged("reloaded")
        assert await ended_as(sql, run_id) == ("running", None)
        slowed(sandbox, 0)
        await completed(sql, 3)
        assert await ended_as(sql, run_id) == ("completed", None)
        operations = await sql.fetch("SELECT DISTINCT operation FROM emag_sync_logs WHERE id <> $1", run_id)
        assert [row["operation"] for row in operations] == ["incremental_sync"]
        daemon.send(signal.SIGTERM)
        assert await daemon.ended() == 0


async def test_descriptors_that_are_used_up(
    sandbox: Sandbox, database_url: str, sql: Connection, tmp_path: Path, recovery: Recovery
) -> None:
    """Runs fail for want of a connection, and the same process does its work again once there are descriptors."""
    slowed(sandbox, 0)
    config = configured(tmp_path, sandbox, database_url, {"main": {**OFF, "incremental": "1s"}})
    async with daemon_process(config) as daemon:
        await completed(sql)
        limits = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (3, limits[1]))
        await terminate_backends(sql)
        await daemon.wrote("Too many open files")
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, limits)
        done = await sql.fetchval("SELECT count(*) FROM emag_sync_logs WHERE status = 'completed'")
        with recovery.timed("all file descriptors used up", 2):
            await completed(sql, done + 1)
        assert await daemon.get("/livez") == 200
        daemon.send(signal.SIGTERM)
        assert await daemon.ended() == 0
