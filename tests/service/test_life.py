"""How a daemon's life ends when something in it goes wrong."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import structlog

from emag_syncd.config import Settings
from emag_syncd.service.core import Core
from emag_syncd.service.daemon import Daemon
from emag_syncd.supervision.watchdog import Watchdog
from emag_syncd.sync.engine import Engine
from tests.support.engines import Deaf, settings_of
from tests.support.offers import Connection
from tests.support.server import database_proxy
from tests.support.waiting import until

DAILY = {"main": {"schedule": {"full": "1d", "incremental": "off"}}}


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Leave the signals of the test's process as they were."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


def settings(database_url: str, **sections: Any) -> Settings:
    """Return the settings of a daemon on any free port."""
    http, database = {"port": 0}, {"url": database_url, "migrate": False}
    return settings_of("main", http=http, database=database, shutdown_seconds=2.1, **sections)


@asynccontextmanager
async def living(settings: Settings) -> AsyncIterator[tuple[Daemon, asyncio.Task[int], asyncio.Event]]:
    """Give a daemon in this process, its life, and what is set when it is ready."""
    ready = asyncio.Event()
    daemon = Daemon(settings, on_ready=lambda _: ready.set())
    life = asyncio.create_task(daemon.run())
    try:
        yield daemon, life, ready
    finally:
        for deaf in Deaf.all:
            deaf.released.set()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


async def test_an_abandoned_run_ends_the_process(
    database_url: str, sql: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For systemd to start it anew: exit code 1, although the run hangs on, and with the run's end on record."""
    deaf = Deaf()
    monkeypatch.setattr(Engine, "run", lambda _engine, context, _link, _settings: deaf(context))
    sync = {"timeout_seconds": 0.2, "abandon_after_seconds": 0.1}
    async with living(settings(database_url, own=DAILY, schedule={"jitter_seconds": 0}, sync=sync)) as (_, life, _):
        assert await asyncio.wait_for(asyncio.shield(life), 20) == 1
        assert not deaf.left.is_set()
    assert await sql.fetchval("SELECT errors -> -1 ->> 'kind' FROM emag_sync_logs") == "timeout"


async def test_a_part_that_dies_ends_the_process(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon without its watchdog is none: exit code 1, and the log has the reason."""

    async def broken(_watchdog: Watchdog) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Watchdog, "turn", broken)
    with structlog.testing.capture_logs() as logged:
        async with living(settings(database_url)) as (_, life, _):
            assert await asyncio.wait_for(asyncio.shield(life), 20) == 1
    assert [line["part"] for line in logged if line["action"] == "part_died"] == ["watchdog"]


async def test_a_stop_while_it_starts(database_url: str) -> None:
    """It need not wait for a database that does not answer."""
    async with database_proxy(database_url) as (proxy, url):
        proxy.silence()
        async with living(settings(url)) as (daemon, life, ready):
            await until(lambda: proxy.accepted)
            daemon.stop()
            assert await asyncio.wait_for(asyncio.shield(life), 20) == 0
            assert not ready.is_set()
        proxy.resume()


async def test_a_stop_that_takes_too_long(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever hangs in it, the process ends in time, and not as if all were well."""

    async def hang(_core: Core) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(Core, "drain", hang)
    with structlog.testing.capture_logs() as logged:
        async with living(settings(database_url)) as (daemon, life, ready):
            await asyncio.wait_for(ready.wait(), 20)
            daemon.stop()
            assert await asyncio.wait_for(asyncio.shield(life), 20) == 1
    assert "stop_overdue" in [line["action"] for line in logged]


async def test_what_is_on_record_is_in_the_metrics(database_url: str, sql: Connection) -> None:
    """A restart is neither a success nor a failure: the times and ends of the last runs are known again."""
    await sql.execute(
        "INSERT INTO emag_sync_logs (account_type, operation, status, started_at, completed_at)"
        " VALUES ('main', 'full_sync', 'completed', to_timestamp(1000), to_timestamp(1060)),"
        " ('main', 'full_sync', 'failed', to_timestamp(2000), to_timestamp(2060))"
    )
    async with living(settings(database_url)) as (daemon, life, ready):
        await asyncio.wait_for(ready.wait(), 20)
        assert daemon._core is not None
        metrics, labels = daemon._core.metrics.registry, {"account": "main", "operation": "full_sync"}
        assert metrics.get_sample_value("emag_sync_last_success_timestamp_seconds", labels) == 1060
        for status, value in (("completed", 0), ("failed", 1)):
            found = metrics.get_sample_value("emag_sync_last_run_status", {**labels, "status": status})
            assert found == value
        daemon.stop()
        assert await life == 0
