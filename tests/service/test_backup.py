"""Dumps that are taken under a working daemon, and daemons on a database that was restored from one."""

import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from emag_syncd.sandbox import Sandbox
from tests.support.dumps import Dumps
from tests.support.fleet import account, configure
from tests.support.history import Expected, violations
from tests.support.hosts import DAILY, completed, ended_as, in_mid_run, slowed
from tests.support.offers import Connection
from tests.support.processes import ROOT, DaemonProcess, daemon_process
from tests.support.receiver import SECRET, Receiver, receiving
from tests.support.waiting import until
from tests.sync.reference import truth

pytestmark = pytest.mark.timeout(240)

OFFERS = 200
# The page's own statement.
BEYOND = (ROOT / "docs" / "backup.md").read_text().split("```sql\n")[1].split("```")[0]
CHANGES = "SELECT coalesce(max(id), 0) FROM emag_product_changes"


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """Run a marketplace that takes its time for each page."""
    async with Sandbox.of("main", offers=OFFERS) as sandbox:
        slowed(sandbox, 0.5)
        yield sandbox


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Give a receiver of webhooks that takes everything."""
    async with receiving() as receiver:
        yield receiver


@pytest.fixture
async def dumps(database_url: str, tmp_path: Path) -> Dumps:
    """Give the programs for dumps."""
    return await Dumps.of(database_url, tmp_path)


def configured(folder: Path, sandbox: Sandbox, database_url: str, **more: Any) -> Path:
    """Write the configuration of a daemon that reads everything once a day, two pages at a time."""
    main = account("main", sandbox.base_url, schedule=DAILY)
    slow = {"max_concurrent_requests": 2}
    return configure(folder / "config.toml", database_url, {"main": main}, marketplace=slow, **more)


def mirroring(sandbox: Sandbox) -> Expected:
    """Return what holds when everything is over."""
    return Expected(recovered=True, truth={"main": truth(sandbox.accounts["main"].catalogue)})


async def test_a_dump_of_a_run_in_progress(
    sandbox: Sandbox, database_url: str, sql: Connection, receiver: Receiver, dumps: Dumps, tmp_path: Path
) -> None:
    """It holds up nothing. Restored, its run is ended, its scan taken up, and what waited is sent as it was."""
    hooks = {"urls": [receiver.url], "secret": SECRET, "allow_private": True}
    config = configured(tmp_path, sandbox, database_url, webhooks=hooks)
    receiver.reply = lambda _: 503
    async with daemon_process(config) as daemon:
        run_id = await in_mid_run(sql)
        await dumps.dump(database_url)
        slowed(sandbox, 0)
        await completed(sql)
        await until(lambda: receiver.heard)
        daemon.send(signal.SIGTERM)
        assert await daemon.ended() == 0
    assert await ended_as(sql, run_id) == ("completed", None)
    sent_before = {one.id for one in receiver.heard}
    await sql.close()
    await dumps.restore(database_url)
    restored = await asyncpg.connect(database_url)
    try:
        await restored.execute(
            "UPDATE emag_webhook_outbox SET next_attempt_at = NULL, claimed_until = NULL, claim = NULL"
        )
        waiting = {str(row["message_id"]) for row in await restored.fetch("SELECT message_id FROM emag_webhook_outbox")}
        assert waiting
        scan = await restored.fetchval("SELECT scan_id FROM emag_sync_logs WHERE id = $1", run_id)
        newest = await restored.fetchval(CHANGES)
        await restored.fetchval(BEYOND)
        receiver.reply = lambda _: 200
        async with daemon_process(config) as daemon:
            await completed(restored)
            await until(lambda: restored.fetchval("SELECT NOT EXISTS (SELECT FROM emag_webhook_outbox)"), within=60)
            daemon.send(signal.SIGTERM)
            assert await daemon.ended() == 0
        assert await ended_as(restored, run_id) == ("failed", "interrupted")
        ends = await restored.fetch("SELECT scan_id FROM emag_sync_logs WHERE status = 'completed'")
        assert [row["scan_id"] for row in ends] == [scan]
        assert await restored.fetchval(CHANGES) > newest + 100_000_000
        assert {one.id.removeprefix("msg_") for one in receiver.accepted} >= waiting
        assert sent_before & {one.id for one in receiver.accepted}
        assert await violations(database_url, mirroring(sandbox)) == []
    finally:
        await restored.close()


async def test_a_restore_under_a_working_daemon(
    sandbox: Sandbox, database_url: str, sql: Connection, dumps: Dumps, tmp_path: Path
) -> None:
    """Against the advice: its run, ahead of what was restored, can write nothing more; it is well again by itself."""
    config = configured(tmp_path, sandbox, database_url)
    async with daemon_process(config) as daemon:
        run_id = await in_mid_run(sql)
        await dumps.dump(database_url)
        await in_mid_run(sql, pages=6)
        await sql.close()
        await dumps.restore(database_url)
        restored = await asyncpg.connect(database_url)
        try:
            slowed(sandbox, 0)
            assert await until(lambda: _ended(restored, run_id), within=60) != "completed"
            await completed(restored)
            await until(lambda: _ready(daemon), within=60)
            daemon.send(signal.SIGTERM)
            assert await daemon.ended() == 0
            assert await violations(database_url, mirroring(sandbox)) == []
        finally:
            await restored.close()


async def _ended(sql: Connection, run_id: UUID) -> str | None:
    status: str | None = await sql.fetchval(
        "SELECT status FROM emag_sync_logs WHERE id = $1 AND status <> 'running'", run_id
    )
    return status


async def _ready(daemon: DaemonProcess) -> bool:
    return bool(await daemon.get("/readyz") == 200)
