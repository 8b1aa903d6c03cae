"""The database as the daemon uses it: a pool for the work, others for what must not wait for it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

import asyncpg
import structlog

from emag_syncd.storage.connections import Connection, DedicatedConnection, Limits, Server, find_server
from emag_syncd.storage.failures import FAMILIES, LOST, explained

APPLICATION_NAME = "emag-syncd"
IDLE_SECONDS = 300.0

log = structlog.get_logger(__name__)


class Database:
    """A pool of connections to one server. ``Database.open`` makes one; it is closed with ``close``."""

    def __init__(self, server: Server, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        """Take an open pool; use ``open``."""
        self._server = server
        self._pool = pool
        self._dedicated: list[DedicatedConnection] = []

    @classmethod
    async def open(
        cls,
        dsn: str,
        *,
        pool_max_size: int = 10,
        application_name: str = APPLICATION_NAME,
        limits: Limits | None = None,
    ) -> Self:
        """Connect once to see that it works, and return the pool, which connects as it is used.

        Raises ConfigurationError for a DSN that can't be read, DatabaseError when the server can't be reached, refuses
        or is older than PostgreSQL 14.
        """
        server = await find_server(dsn, application_name=application_name, limits=limits)
        if server.is_pooled:
            log.info("the database is reached through a pooler", action="database_pooled", server=server.name)
        pool = await asyncpg.create_pool(
            dsn,
            min_size=0,
            max_size=pool_max_size,
            max_inactive_connection_lifetime=IDLE_SECONDS,
            init=server.prepare,
            **server.options(),
        )
        return cls(server, pool)

    def __repr__(self) -> str:
        """Name the server, without the password."""
        return f"<Database {self.name}>"

    @property
    def name(self) -> str:
        """The server's user, host and database, fit for logs."""
        return self._server.name

    @property
    def limits(self) -> Limits:
        """How long anything may take."""
        return self._server.limits

    def pool_size(self) -> dict[str, int]:
        """Return how many connections of the pool are in use, idle, and allowed in all."""
        size, idle = self._pool.get_size(), self._pool.get_idle_size()
        return {"used": size - idle, "idle": idle, "max": self._pool.get_max_size()}

    @property
    def is_exhausted(self) -> bool:
        """Whether whoever asks for a connection of the pool now has to wait for one."""
        return self._pool.get_size() == self._pool.get_max_size() and not self._pool.get_idle_size()

    @asynccontextmanager
    async def use(self) -> AsyncIterator[Connection]:
        """Lend a connection of the pool, got and given back in bounded time even when the network is silent.

        Raises DatabaseError for whatever PostgreSQL or the network does within. It is given back clean:
        settings and session locks made on it are gone.
        """
        with explained(self.name):
            try:
                conn = await self._pool.acquire(timeout=self.limits.acquire)
                try:
                    yield conn
                finally:
                    await self._release(conn)
            except LOST:
                await self._distrust()
                raise

    async def _distrust(self) -> None:
        """Let nobody meet what one has met: on a silent network each connection would cost its user a time limit."""
        await self._pool.expire_connections()
        for connection in self._dedicated:
            connection.distrust()

    def dedicated(self) -> DedicatedConnection:
        """Return a connection outside of the pool, closed together with it."""
        connection = DedicatedConnection(self._server, on_lost=self._distrust)
        self._dedicated.append(connection)
        return connection

    async def close(self, timeout: float = 5.0) -> None:  # noqa: ASYNC109 - what overruns is terminated, not raised
        """Close every connection; what is still in use after ``timeout`` seconds is dropped."""
        try:
            async with asyncio.timeout(timeout):
                await asyncio.gather(self._pool.close(), *(one.close() for one in self._dedicated))
        except FAMILIES as error:
            log.warning("connections were dropped", action="database_close", error=type(error).__name__)
            self._pool.terminate()

    async def _release(self, conn: Any) -> None:
        """Give the connection back. What was done on it is done: a failure now only costs the connection."""
        try:
            await self._pool.release(conn, timeout=self.limits.release)
        except FAMILIES as error:
            log.debug("a connection was dropped", action="database_release", error=type(error).__name__)
