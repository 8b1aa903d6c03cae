"""Webhooks of whole daemons: killed in mid-delivery, told of a new configuration, and what they say of it."""

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from emag_syncd.sandbox import Sandbox
from tests.notify.support import empty, end_runs
from tests.support.daemon import UNPACED, account_of, serving, settings_for
from tests.support.offers import Connection
from tests.support.processes import daemon_process, write_toml
from tests.support.receiver import SECRET, Receiver, receiving
from tests.support.waiting import until


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """Run a marketplace."""
    async with Sandbox.of("main", offers=120) as sandbox:
        yield sandbox


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Give a receiver that takes everything."""
    async with receiving() as receiver:
        yield receiver


def configure(path: Path, sandbox: Sandbox, database_url: str, *urls: str) -> Path:
    """Write the configuration of a daemon that tells ``urls``."""
    values: dict[str, Any] = {
        "accounts": {"main": account_of(sandbox, "main")},
        "database": {"url": database_url},
        "http": {"port": 0},
        "marketplace": UNPACED,
        "log": {"format": "json"},
        "webhooks": {"urls": list(urls), "secret": SECRET, "allow_private": True},
    }
    write_toml(path, values)
    path.chmod(0o600)
    return path


async def asked(address: str, method: str, path: str, **options: Any) -> tuple[int, Any]:
    """Return the status and the JSON that a page answers with."""
    async with aiohttp.request(method, address + path, **options) as response:
        return response.status, await response.json(content_type=None)


async def test_a_daemon_killed_in_mid_delivery_loses_nothing(
    sandbox: Sandbox, database_url: str, sql: Connection, receiver: Receiver, tmp_path: Path
) -> None:
    """The next one sends the message again, with the same id, and all others after it in order."""
    config = configure(tmp_path / "config.toml", sandbox, database_url, receiver.url)
    under_way, killed = asyncio.Event(), asyncio.Event()

    async def hold(_: Any) -> int:
        under_way.set()
        await killed.wait()
        return 200

    receiver.reply = hold
    async with daemon_process(config) as daemon:
        await daemon.logged("ready")
        runs = await end_runs(sql, 4)
        await under_way.wait()
        daemon.send(signal.SIGKILL)
        await daemon.ended()
    killed.set()
    receiver.reply = lambda _: 200
    # Instead of the time for which a dead daemon's claim is kept.
    await sql.execute("UPDATE emag_webhook_outbox SET claimed_until = clock_timestamp() WHERE claim IS NOT NULL")
    async with daemon_process(config):
        await empty(sql)
    first, *others = receiver.heard
    assert [one.body["data"]["run"]["id"] for one in others] == runs
    assert others[0].id == first.id
    assert len({one.id for one in others}) == len(runs)


async def test_a_sync_is_told_of_from_its_first_page_on(
    sandbox: Sandbox, database_url: str, sql: Connection, receiver: Receiver, tmp_path: Path
) -> None:
    """The daemon's own run: its changes, batched, with every offer once, then its end; and SIGHUP takes effect."""
    config = configure(tmp_path / "config.toml", sandbox, database_url)
    async with daemon_process(config) as daemon:
        address = (await daemon.logged("ready"))["address"]
        configure(config, sandbox, database_url, receiver.url)
        daemon.send(signal.SIGHUP)
        await daemon.logged("reloaded")
        await until(lambda: sql.fetchval("SELECT count(*) = 1 FROM emag_webhook_endpoints"))
        body = {"account_type": "main", "mode": "full", "run_async": True}
        assert (await asked(address, "POST", "/api/v1/emag/products/sync", json=body))[0] == 202
        await until(lambda: "sync.completed" in receiver.types())
        status, health = await asked(address, "GET", "/healthz")
        assert (status, health["checks"]["webhooks"][0]["status"]) == (200, "pass")
    *changes, end = receiver.accepted
    assert {one.body["type"] for one in changes} == {"product.changed"}
    told = [change["emag_id"] for one in changes for change in one.body["data"]["changes"]]
    assert len(told) == len(set(told)) == end.body["data"]["stats"]["created_items"] >= 120


async def test_the_status_says_what_waits(sandbox: Sandbox, database_url: str, sql: Connection, tmp_path: Path) -> None:
    """What is pending, what was given up, and since when; receivers that nobody configures any more don't count."""
    await sql.execute("INSERT INTO emag_webhook_endpoints (id, address) VALUES ('a', 'https://a.example')")
    await end_runs(sql, 3)
    await sql.execute(
        "UPDATE emag_webhook_outbox SET dead_at = now() WHERE id = (SELECT min(id) FROM emag_webhook_outbox)"
    )
    async with serving(settings_for(sandbox, tmp_path), database_url) as site:
        found = (await site.get("/api/v1/emag/products/status")).json["webhooks"]
        assert (found["pending"], found["dead"]) == (2, 1)
        assert found["oldest_pending_seconds"] > 0
        await sql.execute("UPDATE emag_webhook_endpoints SET seen_at = now() - interval '1 hour'")
        found = (await site.get("/api/v1/emag/products/status")).json["webhooks"]
        assert found == {"pending": 0, "dead": 0, "oldest_pending_seconds": 0}
