"""A daemon in a process of its own, the marketplace that it reads, and a database to take away from it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg

from emag_syncd.sandbox import Account, Sandbox
from tests.support.daemon import UNPACED, account_of
from tests.support.history import violations
from tests.support.offers import Connection
from tests.support.processes import DaemonProcess, daemon_process, write_toml
from tests.support.waiting import until
from tests.sync.reference import assert_mirrors

PAGES = 40
PAGE_SIZE = 10
IN_FLIGHT = 2
DAILY = {"full": "1d", "incremental": "off"}
DAWDLING = 2.0
"""Seconds that a page takes while a test has something to do in mid-run."""
WELL_WITHIN = 60.0
"""The contract's "well within a minute", in seconds."""


@asynccontextmanager
async def connected(dsn: str) -> AsyncIterator[Connection]:
    """Give a plain connection, as an operator's psql has it."""
    conn = await asyncpg.connect(dsn, timeout=20)
    try:
        yield conn
    finally:
        conn.terminate()


@dataclass
class Plant:
    """What a daemon needs, and where its configuration is. ``dsn`` is the database without any detour."""

    sandbox: Sandbox
    dsn: str
    config: Path

    @property
    def main(self) -> Account:
        """The account that is synced."""
        return self.sandbox.accounts["main"]

    def pace(self, seconds: float) -> None:
        """Let each page take that long."""
        self.main.latency.low = self.main.latency.high = seconds

    def dawdle(self, page: int) -> None:
        """Let the pages from this one on take long, so that nobody misses the moment when so many are written."""
        self.main.drift.before(page, lambda _: self.pace(DAWDLING))

    def configure(self, dsn: str | None = None, **sections: Any) -> None:
        """Write the configuration of a daemon with short times; ``dsn`` may be a detour."""
        account = account_of(self.sandbox, "main", schedule=sections.pop("timetables", DAILY))
        values = {
            "accounts": {"main": account},
            "database": {"url": dsn or self.dsn},
            "http": {"port": 0},
            "marketplace": {**UNPACED, "page_size": PAGE_SIZE, "max_concurrent_requests": IN_FLIGHT},
            "schedule": {"jitter_seconds": 0},
            "sync": {"lease_seconds": 5},
            "watchdog": {"interval_seconds": 0.5},
            "log": {"format": "json"},
            "shutdown_seconds": 10,
        }
        write_toml(self.config, {**values, **sections})
        self.config.chmod(0o600)

    async def value(self, query: str, *values: Any) -> Any:
        """Return what the database says, on a connection of its own: others may just have been cut."""
        async with connected(self.dsn) as conn:
            return await conn.fetchval(query, *values)

    async def in_mid_run(self, pages: int = 5) -> Any:
        """Return the id of a run once it has written so many pages."""
        async with connected(self.dsn) as conn:
            running = "SELECT id FROM emag_sync_logs WHERE status = 'running' AND pages_processed >= $1"
            return await until(lambda: conn.fetchval(running, pages), within=WELL_WITHIN)

    async def mirrored(self, *, within: float = WELL_WITHIN, by_hand: bool = False) -> None:
        """Wait until the last run is one that completed, and hold what it left against the truth.

        The history is left out where somebody wrote in it ``by_hand``.
        """
        async with connected(self.dsn) as conn:
            last = "SELECT status = 'completed' FROM emag_sync_logs ORDER BY started_at DESC LIMIT 1"
            await until(lambda: conn.fetchval(last), within=within)
            await assert_mirrors(conn, self.main)
        if not by_hand:
            assert await violations(self.dsn) == []

    @asynccontextmanager
    async def daemon(self) -> AsyncIterator[DaemonProcess]:
        """Run a daemon; it must neither end nor lose a part meanwhile."""
        async with daemon_process(self.config) as daemon:
            yield daemon
            assert daemon.code is None
            assert daemon.lines("part_died") == []
            assert daemon.lines("schedule_failed") == []
            assert daemon.lines("supervision_failed") == []
            assert not internal(daemon)


def internal(daemon: DaemonProcess) -> list[dict[str, Any]]:
    """Return what the daemon took for an error of its own."""
    return [line for line in daemon.lines("run_failed") if line["kind"] == "internal"]


async def is_ready(daemon: DaemonProcess) -> bool:
    """Whether the daemon says that it can do its job."""
    return await daemon.get("/readyz") == 200


async def ready(daemon: DaemonProcess, *, within: float = WELL_WITHIN) -> None:
    """Wait until the daemon can do its job."""
    await until(lambda: is_ready(daemon), within=within)


async def unready(daemon: DaemonProcess, *, within: float = WELL_WITHIN) -> None:
    """Wait until the daemon says that it can't do its job: its process is well all the same."""

    async def said() -> bool:
        return not await is_ready(daemon)

    await until(said, within=within)
    assert await daemon.get("/livez") == 200


async def ask(daemon: DaemonProcess, body: dict[str, Any] | None = None) -> int:
    """Ask for a sync, a full one of ``main`` unless ``body`` says otherwise; return the status of the answer."""
    wanted = {"account_type": "main", "mode": "full", "run_async": True, **(body or {})}
    address = (await daemon.logged("ready"))["address"]
    async with aiohttp.request("POST", f"{address}/api/v1/emag/products/sync", json=wanted) as response:
        return response.status


async def terminate_backends(conn: Connection) -> int:
    """End every connection of the daemons, as an administrator does; return how many there were."""
    ended: int = await conn.fetchval(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name = 'emag-syncd'"
    )
    return ended
