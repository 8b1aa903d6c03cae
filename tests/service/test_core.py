"""Shutting down in good order, and settings that change."""

import asyncio
from dataclasses import replace
from datetime import datetime

import pytest
import structlog

from emag_syncd.domain.errors import ConfigurationError, ShuttingDownError
from emag_syncd.domain.runs import Outcome
from emag_syncd.marketplace.link import AccountLink
from emag_syncd.storage.database import Database
from emag_syncd.sync.context import RunContext
from tests.support.engines import (
    STOPPED,
    Deaf,
    at_once,
    core_on,
    for_ever,
    sample,
    settings_of,
    start,
    until_stopped,
)
from tests.support.offers import Connection
from tests.support.server import database_proxy
from tests.support.syncing import ended
from tests.support.waiting import until

QUICK_END = {"shutdown_seconds": 2.1}


async def test_runs_stop_at_a_page_boundary(database: Database, sql: Connection) -> None:
    """They are recorded as cancelled by the shutdown, their leases are kept until then, and no new one begins."""
    boundary = asyncio.Event()

    async def in_mid_page(context: RunContext) -> Outcome:
        await asyncio.shield(context.stop)
        await boundary.wait()
        return STOPPED

    async with core_on(database, in_mid_page) as core:
        handles = [await start(core), await start(core, "fbe")]
        draining = asyncio.create_task(core.drain())
        await until(handles[0].context.stop.done)
        with pytest.raises(ShuttingDownError):
            await start(core)
        lease = "SELECT min(lease_expires_at) FROM emag_sync_logs"
        before: datetime = await sql.fetchval(lease)
        await core.heartbeat.turn()
        assert await sql.fetchval(lease) > before
        assert not draining.done()
        boundary.set()
        await draining
        for handle in handles:
            end = await ended(handle)
            assert (end.status, end.kinds) == ("cancelled", ["shutdown"])
        assert core.supervisor.handles() == []
        assert not core.failed


async def test_a_run_that_does_not_reach_its_page_boundary(database: Database) -> None:
    """It is cancelled in time, and recorded."""
    async with core_on(database, for_ever, **QUICK_END) as core:
        handle = await start(core)
        await core.drain()
        assert handle.finished.done()
        end = await ended(handle)
        assert (end.status, end.kinds) == ("cancelled", ["shutdown"])
        assert not core.failed


async def test_a_run_that_does_not_even_heed_that(database: Database) -> None:
    """It is recorded as cancelled all the same, although it may wait long for what it hangs in."""
    async with core_on(database, Deaf(), **QUICK_END) as core:
        handle = await start(core)
        await core.drain()
        assert handle.finished.done()
        assert (await ended(handle)).kinds == ["shutdown"]
        assert sample(core, "emag_sync_abandoned_total", account="main") == 1


async def test_a_run_that_can_not_be_recorded(database_url: str) -> None:
    """With the database away the shutdown takes no longer than it may, and says what was left behind."""
    async with database_proxy(database_url) as (proxy, url):
        database = await Database.open(url)
        async with core_on(database, until_stopped, **QUICK_END) as core:
            handle = await start(core)
            proxy.silence()
            with structlog.testing.capture_logs() as logged:
                async with asyncio.timeout(20):
                    await core.drain()
            left = [line["run_id"] for line in logged if line["event"] == "run left unrecorded"]
            assert left == [str(handle.lease.run_id)]
            with structlog.testing.capture_logs() as logged:
                await core.close()
            proxy.resume()
        await database.close()


async def test_changed_settings_hold_from_the_next_run_on(database: Database) -> None:
    """Limits and accounts change; leases do not, for the runs under way are held by them."""
    async with core_on(database, until_stopped, "main", "old") as core:
        old = await start(core, "old")
        changed = settings_of(
            "main", "new", sync={"lease_seconds": 600, "timeout_seconds": 120, "abandon_after_seconds": 7}
        )
        core.reconfigure(replace(changed, shutdown_seconds=99))
        assert core.settings.sync.lease_seconds == 60
        assert sample(core, "emag_syncd_config_seconds", setting="sync.lease_seconds") == 60
        assert sample(core, "emag_syncd_config_seconds", setting="shutdown_seconds") == 99
        assert core.supervisor.settings.abandon_after_seconds == 7
        assert (await start(core)).timeout == 120
        assert sample(core, "emag_sync_in_progress", account="new") == 0
        with pytest.raises(ConfigurationError, match="configured are: main, new"):
            await start(core, "old")
        old.context.request_stop()
        assert (await ended(old)).kinds == ["shutdown"]


async def test_accounts_that_are_gone_are_closed_too(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their connections to the marketplace end with the others."""
    closed: list[str] = []

    async def close(link: AccountLink) -> None:
        closed.append(link.settings.account)

    monkeypatch.setattr(AccountLink, "close", close)
    async with core_on(database, at_once, "main", "old") as core:
        core.reconfigure(settings_of("main", "new"))
        assert core.accounts.names == ["main", "new"]
    assert closed == ["main", "new", "old"]
