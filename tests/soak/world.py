"""Everything that a soak is made of: a PostgreSQL of its own, the marketplace, and the fleet."""

import asyncio
import random
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import asyncpg

from emag_syncd.storage.embedded import EmbeddedPostgres
from emag_syncd.storage.failures import FAMILIES
from emag_syncd.storage.migrations import migrate
from tests.soak.market import ACCOUNTS, Market, market
from tests.soak.members import Member
from tests.support.fleet import account, configure
from tests.support.offers import Connection
from tests.support.server import FAST, database_proxy

T = TypeVar("T")

STALE_SECONDS = 8.0
SHUTDOWN_SECONDS = 15.0
SQL_SECONDS = 15.0
AWAY = FAMILIES

SCHEDULE = {"full": "6s", "incremental": "4s"}
SECTIONS: dict[str, dict[str, Any]] = {
    "sync": {"lease_seconds": 5, "timeout_seconds": 20, "abandon_after_seconds": 5},
    "watchdog": {"interval_seconds": 1, "stale_after_seconds": STALE_SECONDS},
    "marketplace": {"page_size": 50, "request_timeout_seconds": 3, "max_attempts": 3, "max_concurrent_requests": 4},
}


class Server:
    """The PostgreSQL, which is stopped and started as a fault wants it. What it acknowledged it keeps."""

    def __init__(self, folder: Path) -> None:
        self._server = EmbeddedPostgres(folder / "data", settings={**FAST, "synchronous_commit": "on"})
        self.turn = asyncio.Lock()

    async def start(self) -> str:
        """Start it and return its address."""
        await self._server.start()
        return self._server.dsn

    async def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        """Stop it: fast with SIGINT, at once with SIGQUIT, dead with SIGKILL."""
        process = self._server._process
        if process is not None and number is not signal.SIGINT:
            with suppress(ProcessLookupError):
                process.send_signal(number)
            await process.wait()
        await self._server.stop()


@dataclass
class World:
    """What faults are done to. ``wrong`` is what was found that must not be."""

    dice: random.Random
    server: Server
    dsn: str
    market: Market
    members: list[Member]
    wrong: list[str] = field(default_factory=list)

    async def sql(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Do ``work`` on a connection of its own, past every proxy. Raises one of ``AWAY``."""
        async with asyncio.timeout(SQL_SECONDS):
            conn = await asyncpg.connect(self.dsn)
            try:
                return await work(conn)
            finally:
                conn.terminate()

    async def asks_for_runs(self) -> None:
        """Have a full run of every account started, as somebody would who has mended what was wrong."""
        body = {"account_type": "all", "mode": "full", "run_async": True}
        for member in self.members:
            if await member.ask("POST", "/api/v1/emag/products/sync", body) in {202, 409}:
                return

    async def all_ready(self) -> bool:
        """Whether every daemon can do its job."""
        return all(await asyncio.gather(*(member.is_ready() for member in self.members)))

    async def becomes_well(self, *, within: float) -> float:
        """Return after how many seconds all is well again, which is wrong if that is later than ``within``."""
        began = time.monotonic()
        while time.monotonic() - began < within:
            if await self.all_ready():
                with suppress(*AWAY):
                    if not await self.sql(lambda conn: conn.fetchval(STALE, STALE_SECONDS)):
                        return time.monotonic() - began
            await asyncio.sleep(0.1)
        ready = [str(member) for member in self.members if not await member.is_ready()]
        self.wrong.append(f"not well again within {within:g} s; not ready: {', '.join(ready) or 'none'}")
        return time.monotonic() - began


STALE = """
SELECT count(*) FROM emag_sync_logs WHERE status = 'running'
    AND coalesce(lease_expires_at, started_at + make_interval(secs => $1)) < clock_timestamp()
"""


@asynccontextmanager
async def world(seed: int, daemons: int, folder: Path) -> AsyncIterator[World]:
    """Give a world in which everything runs."""
    async with AsyncExitStack() as stack:
        browser = await stack.enter_async_context(aiohttp.ClientSession())
        bazaar = await stack.enter_async_context(market(seed, browser))
        server = Server(folder)
        dsn = await server.start()
        stack.push_async_callback(server.stop)
        await migrate(dsn)
        accounts = {name: account(name, bazaar.base_url, schedule=SCHEDULE) for name in ACCOUNTS}
        members = []
        for number in range(1, daemons + 1):
            proxy, through = await stack.enter_async_context(database_proxy(dsn))
            home = folder / f"daemon-{number}"
            home.mkdir()
            config = configure(home / "config.toml", through, accounts, **SECTIONS, shutdown_seconds=SHUTDOWN_SECONDS)
            members.append(Member(number, config, proxy, browser))
        tasks = [asyncio.create_task(member.lives(), name=str(member)) for member in members]
        try:
            yield World(random.Random(seed), server, dsn, bazaar, members)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
