"""Which database it is, opened and with its schema in order."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from emag_syncd.config import Settings
from emag_syncd.domain.errors import ConfigurationError, DatabaseError
from emag_syncd.storage.cluster import running_address
from emag_syncd.storage.connections import Limits
from emag_syncd.storage.database import Database
from emag_syncd.storage.embedded import EmbeddedPostgres
from emag_syncd.storage.migrations import SchemaState, current, migrate, newer, schema_state

log = structlog.get_logger(__name__)

IDLE_IN_TRANSACTION_SHARE = 0.25
"""Of a lease: what a hung process holds locked is free again before its runs are ended."""


SHORTEST_COMMAND = 10.0
"""Seconds that a statement may always take, however short the lease: the largest take a few."""


@asynccontextmanager
async def database_address(settings: Settings, *, may_start: bool = True, may_join: bool = True) -> AsyncIterator[str]:
    """Give the DSN: the configured one, or that of the embedded server, which is started unless it runs already.

    Without ``may_join`` it must not run already: whoever started it may end it. Raises ConfigurationError or
    DatabaseError; without ``may_start`` also where no embedded server runs.
    """
    if settings.database.url is not None:
        yield settings.database.url.get_secret_value()
        return
    data_dir = settings.state_dir / "postgres"
    if may_join and (running := running_address(data_dir)) is not None:
        yield running
        return
    if not may_start:
        raise ConfigurationError(
            "no database is configured and the embedded one does not run",
            remedy="set database.url, or start emag-syncd run first",
        )
    async with EmbeddedPostgres(data_dir) as server:
        yield server.dsn


@asynccontextmanager
async def open_database(settings: Settings, dsn: str) -> AsyncIterator[Database]:
    """Give the open database. Raises ConfigurationError or DatabaseError."""
    database = await Database.open(
        dsn, pool_max_size=settings.database.pool_max_size, limits=_limits(settings.sync.lease_seconds)
    )
    try:
        yield database
    finally:
        await database.close()


@asynccontextmanager
async def existing_database(settings: Settings) -> AsyncIterator[Database]:
    """Give the database with what is on record. An embedded one is started where there is one, and never made for this.

    Raises ConfigurationError or DatabaseError.
    """
    may_start = (settings.state_dir / "postgres").exists()
    async with (
        database_address(settings, may_start=may_start) as dsn,
        open_database(settings, dsn) as database,
    ):
        await require_schema(database)
        yield database


def _limits(lease_seconds: float) -> Limits:
    """Return limits short enough for a lease: a run whose connection went silent has another try before its end."""
    usual = Limits()
    command = min(usual.command, max(SHORTEST_COMMAND, lease_seconds / 2))
    return Limits(
        command=command,
        statement=usual.statement * command / usual.command,
        idle_in_transaction=min(usual.idle_in_transaction, lease_seconds * IDLE_IN_TRANSACTION_SHARE),
    )


async def prepare_schema(settings: Settings, dsn: str) -> None:
    """Bring the schema up to date where ``database.migrate`` says so. Raises DatabaseError."""
    if settings.database.migrate and (applied := await migrate(dsn)):
        log.info("schema brought up to date", action="migrated", revisions=applied)


async def require_schema(database: Database) -> None:
    """Refuse to work with any schema but this version's. Raises DatabaseError."""
    async with database.use() as conn:
        state = await schema_state(conn)
        if state is SchemaState.NEWER:
            raise newer(database.name, str(await current(conn)))
    if state is SchemaState.PENDING:
        raise DatabaseError(f"the schema of {database.name} is not up to date", remedy="run emag-syncd migrate")
