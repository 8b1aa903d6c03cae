"""Connections to PostgreSQL on which nothing waits without limit, whatever becomes of the network."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import asyncpg
import structlog
from asyncpg.transaction import Transaction

from emag_syncd.domain.errors import DatabaseError
from emag_syncd.storage.codecs import set_codecs
from emag_syncd.storage.failures import FAMILIES, LOST, dsn_summary, explained, invalid_dsn

# Generic for type checkers only.
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"
if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    PlainConnection = asyncpg.Connection[asyncpg.Record]
else:
    PlainConnection = asyncpg.Connection

OLDEST_SERVER = 14
ROLLBACK_SECONDS = 2.0
STATEMENTS = 100
"""Prepared statements that a connection keeps."""

log = structlog.get_logger(__name__)


class Connections(Protocol):
    """Where a connection comes from: the pool, or one that is set apart for its user."""

    def use(self) -> AbstractAsyncContextManager[Connection]:
        """Lend a connection. Raises DatabaseError for whatever PostgreSQL or the network does within."""
        ...


@dataclass(frozen=True, slots=True)
class Limits:
    """How long anything to do with the database may take, in seconds.

    ``idle_in_transaction`` must be below a third of a run's lease: the server frees what a hung process
    locked before the run is ended. ``statement`` is the server's own limit and below ``command``, the
    client's, so that the server's clearer answer comes first.
    """

    connect: float = 10.0
    acquire: float = 10.0
    release: float = 3.0
    statement: float = 25.0
    command: float = 30.0
    lock: float = 10.0
    idle_in_transaction: float = 15.0

    def settings(self) -> dict[str, str]:
        """Return PostgreSQL's settings that keep these limits; a server may not know all of them."""
        return {
            "statement_timeout": _milliseconds(self.statement),
            "lock_timeout": _milliseconds(self.lock),
            "idle_in_transaction_session_timeout": _milliseconds(self.idle_in_transaction),
            "tcp_keepalives_idle": "15",
            "tcp_keepalives_interval": "5",
            "tcp_keepalives_count": "3",
            "tcp_user_timeout": _milliseconds(self.command),
            "client_connection_check_interval": _milliseconds(self.command / 3),
            "TimeZone": "UTC",
            "jit": "off",
        }

    def of_transactions(self) -> dict[str, str]:
        """Return those settings that every server knows and that count for one transaction."""
        names = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
        return {name: value for name, value in self.settings().items() if name in names}


def _milliseconds(seconds: float) -> str:
    return str(round(seconds * 1000))


class BoundedTransaction(Transaction):
    """A transaction whose rollback can't hang: when it gets no answer, the connection is dropped instead."""

    def __init__(self, connection: "BoundedConnection", *options: Any) -> None:
        """Take the options of asyncpg's own."""
        super().__init__(connection, *options)
        self._bounded = connection

    async def start(self) -> None:
        """Begin, under the limits of the connection where its session has none of its own."""
        await super().start()
        if self._bounded.local_limits:
            await self._bounded.execute(self._bounded.local_limits)

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        """Commit, or roll back within ``ROLLBACK_SECONDS``."""
        if kind is None:
            await super().__aexit__(kind, error, trace)
            return
        try:
            async with asyncio.timeout(ROLLBACK_SECONDS):
                await super().__aexit__(kind, error, trace)
        except FAMILIES as failure:
            # What the body raised is what the caller must hear; the server rolls back on its own.
            log.debug("a rollback failed", action="database_rollback", error=type(failure).__name__)
            self._bounded.terminate()
        except asyncio.CancelledError:
            self._bounded.terminate()
            raise


class BoundedConnection(PlainConnection):
    """asyncpg's connection, with bounded transactions."""

    local_limits = ""
    """What sets the limits of each transaction, where a pooler keeps no settings from one to the next."""

    def transaction(
        self, *, isolation: Any = None, readonly: bool = False, deferrable: bool = False
    ) -> BoundedTransaction:
        """Return a transaction, as asyncpg does."""
        return BoundedTransaction(self, isolation, readonly, deferrable)


@dataclass(frozen=True, slots=True)
class Server:
    """A PostgreSQL server and how to connect to it. Only ``name`` is fit for logs and errors.

    ``is_pooled`` where a pooler stands in between, whose next transaction may go to another session.
    """

    dsn: str = field(repr=False)
    name: str
    limits: Limits
    application_name: str
    settings: Mapping[str, str] = field(repr=False, default_factory=dict)
    is_pooled: bool = False

    def options(self) -> dict[str, Any]:
        """Return what asyncpg's ``connect`` and ``create_pool`` are called with beside the DSN."""
        return {
            "connection_class": BoundedConnection,
            "server_settings": {"application_name": self.application_name, **({} if self.is_pooled else self.settings)},
            # The session that the next statement goes to may know nothing of a prepared one.
            "statement_cache_size": 0 if self.is_pooled else STATEMENTS,
            "timeout": self.limits.connect,
            "command_timeout": self.limits.command,
        }

    async def connect(self) -> BoundedConnection:
        """Return a new connection. Raises DatabaseError; ConfigurationError for a DSN that can't be read."""
        with explained(self.name):
            try:
                conn: BoundedConnection = await asyncpg.connect(self.dsn, **self.options())
            except ValueError as error:
                if isinstance(error, asyncpg.InterfaceError):
                    raise
                # Its words may quote what stands between two colons: the password.
                raise invalid_dsn() from None
            try:
                self._refuse_if_old(conn)
                await self.prepare(conn)
            except BaseException:
                conn.terminate()
                raise
            return conn

    async def prepare(self, conn: Connection) -> None:
        """Make a new connection fit for use."""
        await set_codecs(conn)
        if self.is_pooled and isinstance(conn, BoundedConnection):
            conn.local_limits = "; ".join(f"SET LOCAL {name} = '{value}'" for name, value in self.settings.items())

    def _refuse_if_old(self, conn: BoundedConnection) -> None:
        major = conn.get_server_version().major
        if major < OLDEST_SERVER:
            raise DatabaseError(
                f"{self.name} is version {major}",
                remedy=f"emag-syncd needs PostgreSQL {OLDEST_SERVER} or newer",
            )


async def find_server(dsn: str, *, application_name: str, limits: Limits | None = None) -> Server:
    """Try a connection and return the server with those settings for ``limits`` that it accepts.

    A server refuses a connection that asks for any setting which it, or its platform, does not have; a pooler refuses
    nearly all of them, and keeps none: there each transaction sets what it needs.
    Raises ConfigurationError for a DSN that can't be read, DatabaseError when the server can't be reached,
    refuses or is too old.
    """
    limits = limits or Limits()
    # As if behind a pooler, until it is known that it is not.
    bare = Server(dsn, dsn_summary(dsn), limits, application_name, is_pooled=True)
    conn = await bare.connect()
    try:
        with explained(bare.name):
            if await conn.fetchval("SELECT pg_backend_pid()") != conn.get_server_pid():
                return replace(bare, settings=limits.of_transactions())
            accepted = {name: value for name, value in limits.settings().items() if await _takes(conn, name, value)}
    finally:
        conn.terminate()
    return replace(bare, settings=accepted, is_pooled=False)


async def _takes(conn: BoundedConnection, name: str, value: str) -> bool:
    try:
        await conn.execute("SELECT set_config($1, $2, false)", name, value)
    except asyncpg.PostgresError as error:
        log.debug("a setting is not available", action="database_settings", setting=name, error=error.sqlstate)
        return False
    return True


class DedicatedConnection:
    """One connection set apart: for heartbeats, the watchdog, health. It is opened anew whenever it failed.

    One user at a time; the others wait as long as ``limits.acquire`` allows.
    """

    def __init__(self, server: Server, *, on_lost: Callable[[], Awaitable[None]]) -> None:
        """Connect on first use; await ``on_lost`` when other connections may be as bad as this one turned out."""
        self._server = server
        self._on_lost = on_lost
        self._is_trusted = True
        self._turn = asyncio.Lock()
        self._conn: BoundedConnection | None = None
        self._is_closed = False

    @asynccontextmanager
    async def use(self) -> AsyncIterator[Connection]:
        """Lend the connection. Raises DatabaseError for whatever PostgreSQL or the network does within."""
        with explained(self._server.name):
            async with asyncio.timeout(self._server.limits.acquire):
                await self._turn.acquire()
            try:
                yield await self._connected()
            except BaseException as error:
                # Its state is not known for certain, and a new one costs milliseconds.
                self._drop()
                if isinstance(error, LOST):
                    await self._on_lost()
                raise
            finally:
                self._turn.release()

    def distrust(self) -> None:
        """Open it anew for its next user."""
        self._is_trusted = False

    async def ping(self) -> float:
        """Return how long a round trip took, in seconds. Raises DatabaseError."""
        async with self.use() as conn:
            started = time.monotonic()
            await conn.fetchval("SELECT 1")
            return time.monotonic() - started

    async def close(self) -> None:
        """Close the connection for good within ``limits.release`` seconds; a use under way fails."""
        self._is_closed = True
        conn, self._conn = self._conn, None
        if conn is None:
            return
        try:
            await conn.close(timeout=self._server.limits.release)
        except FAMILIES as error:
            log.debug("a connection was dropped", action="database_close", error=type(error).__name__)
            conn.terminate()

    async def _connected(self) -> BoundedConnection:
        if self._is_closed:
            raise DatabaseError(f"the connection to {self._server.name} was closed for good")
        if not self._is_trusted:
            self._drop()
            self._is_trusted = True
        if self._conn is None or self._conn.is_closed():
            self._conn = await self._server.connect()
        return self._conn

    def _drop(self) -> None:
        if self._conn is not None:
            self._conn.terminate()
            self._conn = None
