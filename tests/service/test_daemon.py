"""The daemon as a process: signals, restarts, hangs, and what systemd hears of it."""

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import structlog

from emag_syncd.notify.systemd import Notifier
from emag_syncd.sandbox import Sandbox
from emag_syncd.service.daemon import Daemon
from emag_syncd.storage.database import Database
from emag_syncd.supervision.health import Health
from emag_syncd.supervision.loops import Pulse
from tests.support.daemon import UNPACED, account_of
from tests.support.engines import core_on, start, until_stopped
from tests.support.offers import Connection
from tests.support.processes import Manager, daemon_process, write_toml
from tests.support.waiting import until

Configure: TypeAlias = Callable[..., Path]

PAGES = 30
PAGE_SIZE = 10
IN_FLIGHT = 2
DAILY = {"full": "1d", "incremental": "off"}


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """Run a marketplace that takes its time for each page."""
    async with Sandbox.of("main", offers=PAGES * PAGE_SIZE) as sandbox:
        sandbox.accounts["main"].latency.low = sandbox.accounts["main"].latency.high = 0.1
        yield sandbox


@pytest.fixture
def configure(sandbox: Sandbox, database_url: str, tmp_path: Path) -> Configure:
    """Give what writes the configuration of a daemon with short times, and returns its path."""
    path = tmp_path / "config.toml"

    def write(**sections: Any) -> Path:
        account = account_of(sandbox, "main", schedule=sections.pop("timetables", DAILY))
        values = {
            "accounts": {"main": account},
            "database": {"url": database_url},
            "http": {"port": 0},
            "marketplace": {**UNPACED, "page_size": PAGE_SIZE, "max_concurrent_requests": IN_FLIGHT},
            "schedule": {"jitter_seconds": 0},
            "sync": {"lease_seconds": 5},
            "watchdog": {"interval_seconds": 0.5},
            "log": {"format": "json"},
            "shutdown_seconds": 10,
        }
        write_toml(path, {**values, **sections})
        path.chmod(0o600)
        return path

    return write


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    """Give the service manager."""
    manager = Manager(tmp_path / "notify")
    yield manager
    manager.close()


async def in_mid_run(sql: Connection, pages: int = 5) -> Any:
    """Return the id of a run once it has read so many pages."""
    return await until(
        lambda: sql.fetchval("SELECT id FROM emag_sync_logs WHERE status = 'running' AND pages_processed >= $1", pages)
    )


async def end_of(sql: Connection, run_id: Any) -> tuple[Any, ...]:
    """Return how the run ended, and why."""
    end = "SELECT status, errors -> -1 ->> 'kind' FROM emag_sync_logs WHERE id = $1"
    return tuple(await sql.fetchrow(end, run_id) or ())


async def completed(sql: Connection) -> None:
    """Wait for the end of a run that read everything."""
    await until(lambda: sql.fetchval("SELECT id FROM emag_sync_logs WHERE status = 'completed'"))


def read_again(sandbox: Sandbox) -> int:
    """Return how often a page with offers was sent a second time."""
    exchanges = sandbox.accounts["main"].stats.exchanges
    pages = Counter(one.page for one in exchanges if one.resource == "product_offer/read" and one.rows)
    assert set(pages) == set(range(1, PAGES + 1))
    return sum(pages.values()) - PAGES


async def test_what_systemd_hears(configure: Configure, manager: Manager) -> None:
    """Readiness when it works, what it does, that it lives, that it stops; and SIGTERM ends it well."""
    idle = {"full": "off", "incremental": "off"}
    environ = {"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "300000"}
    async with daemon_process(configure(timetables=idle), **environ) as daemon:
        await daemon.logged("ready")
        assert await daemon.get("/readyz") == 200
        heard = await manager.hears("WATCHDOG=1")
        assert heard[0] == "READY=1"
        assert "STATUS=1 account, idle" in heard + await manager.hears("WATCHDOG=1")
        daemon.send(signal.SIGTERM)
        assert await daemon.ended() == 0
        assert "STOPPING=1\nEXTEND_TIMEOUT_USEC=15000000" in manager.heard()


async def test_a_loop_that_hangs_is_not_covered_up(
    database: Database, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While any loop does not turn systemd hears what runs, but not that all is well; and then again that it is."""
    monkeypatch.setenv("WATCHDOG_USEC", "30000")
    async with core_on(database, until_stopped) as core:
        await start(core)
        pulse = Pulse("watchdog", every=5)
        daemon = Daemon(core.settings)
        daemon._notifier = Notifier({"NOTIFY_SOCKET": str(manager.path)})
        telling = asyncio.create_task(daemon._tell_systemd(core, Health(core.database.dedicated(), [pulse])))
        await manager.hears("WATCHDOG=1")
        pulse._last -= 1000
        manager.heard()
        with structlog.testing.capture_logs() as logged:
            told = await manager.hears("STATUS=2 accounts, syncing main")
            told += await manager.hears("STATUS=2 accounts, syncing main")
        assert "WATCHDOG=1" not in told
        assert logged[0]["loops"] == ["watchdog"]
        pulse.beat()
        await manager.hears("WATCHDOG=1")
        telling.cancel()


async def test_a_changed_configuration(configure: Configure, sql: Connection) -> None:
    """SIGHUP takes over a good file, schedules included, and refuses a bad one by name; the daemon goes on."""
    idle = {"full": "off", "incremental": "off"}
    config = configure(timetables=idle)
    async with daemon_process(config) as daemon:
        await daemon.logged("ready")
        config.write_text(config.read_text() + "sync.timeout = 5\n")
        daemon.send(signal.SIGHUP)
        refused = await daemon.logged("reload_refused")
        assert "sync.timeout" in refused["error"]
        assert await daemon.get("/readyz") == 200
        configure(sync={"lease_seconds": 50}, http={"port": 1}, shutdown_seconds=20)
        daemon.send(signal.SIGHUP)
        reloaded = await daemon.logged("reloaded")
        assert reloaded["needs_restart"] == ["http", "sync.lease_seconds"]
        await completed(sql)
        daemon.send(signal.SIGINT)
        assert await daemon.ended() == 0


async def test_a_stop_in_mid_run(configure: Configure, sandbox: Sandbox, sql: Connection) -> None:
    """SIGTERM ends it in time and well, with the run recorded as cancelled; the next start goes on where it was."""
    async with daemon_process(configure()) as daemon:
        run_id = await in_mid_run(sql)
        daemon.send(signal.SIGTERM)
        assert await daemon.ended(within=10) == 0
    assert await end_of(sql, run_id) == ("cancelled", "shutdown")
    async with daemon_process(configure()) as daemon:
        await completed(sql)
    assert read_again(sandbox) <= IN_FLIGHT
    assert await sql.fetchval("SELECT count(*) FROM emag_products") == PAGES * PAGE_SIZE
    assert await sql.fetchval("SELECT pages_processed FROM emag_sync_logs WHERE id = $1", run_id) >= 5


async def test_a_kill_in_mid_run(configure: Configure, sandbox: Sandbox, sql: Connection) -> None:
    """After SIGKILL the next start ends the run as interrupted before anything else, and its scan goes on."""
    async with daemon_process(configure()) as daemon:
        run_id = await in_mid_run(sql)
        daemon.send(signal.SIGKILL)
        await daemon.ended()
    async with daemon_process(configure()) as daemon:
        await daemon.logged("ready")
        assert await end_of(sql, run_id) == ("failed", "interrupted")
        await completed(sql)
    assert read_again(sandbox) <= IN_FLIGHT
    assert await sql.fetchval("SELECT count(*) FROM emag_product_changes") == PAGES * PAGE_SIZE


async def test_a_second_signal_stops_at_once(configure: Configure, sql: Connection) -> None:
    """Somebody holds the row up in which the end is to be recorded; SIGTERM waits for it, a second one does not."""
    async with daemon_process(configure(shutdown_seconds=60)) as daemon:
        run_id = await in_mid_run(sql)
        async with sql.transaction():
            await sql.execute("SELECT FROM emag_sync_logs WHERE id = $1 FOR UPDATE", run_id)
            daemon.send(signal.SIGTERM)
            await daemon.logged("stopping")
            assert await daemon.get("/readyz/shutdown") == 503
            assert await daemon.get("/livez") == 200
            daemon.send(signal.SIGTERM)
            assert await daemon.ended(within=10) == 1


async def test_a_daemon_that_hung(configure: Configure, sandbox: Sandbox, sql: Connection) -> None:
    """Another one takes its run over; when it wakes up it writes nothing, says so, and serves on."""
    sandbox.accounts["main"].latency.low = sandbox.accounts["main"].latency.high = 0.4
    config = configure()
    async with daemon_process(config) as hung:
        run_id = await in_mid_run(sql, 2)
        async with daemon_process(config) as alive:
            await alive.logged("ready")
            hung.send(signal.SIGSTOP)
            reaped = await alive.logged("run_reaped")
            assert reaped["run_id"] == str(run_id)
            await in_mid_run(sql, 1)
            before = await written_by(sql, run_id)
            hung.send(signal.SIGCONT)
            lost = await hung.logged("run_lost")
            assert lost["run_id"] == str(run_id)
            assert await hung.get("/livez") == 200
            sandbox.accounts["main"].latency.low = sandbox.accounts["main"].latency.high = 0.0
            await completed(sql)
            assert await written_by(sql, run_id) == before
            for daemon in (hung, alive):
                daemon.send(signal.SIGTERM)
            assert [await daemon.ended() for daemon in (hung, alive)] == [0, 0]
    assert await sql.fetchval("SELECT count(*) FROM emag_sync_logs") == 2
    assert await sql.fetchval("SELECT count(*) FROM emag_product_changes") == PAGES * PAGE_SIZE


async def written_by(sql: Connection, run_id: Any) -> list[Any]:
    """Return which transactions wrote the run's row and its changes."""
    return await sql.fetch(
        "SELECT xmin::text FROM emag_sync_logs WHERE id = $1"
        " UNION ALL SELECT xmin::text FROM emag_product_changes WHERE sync_log_id = $1 ORDER BY 1",
        run_id,
    )
