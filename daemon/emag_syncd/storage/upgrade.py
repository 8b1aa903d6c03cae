"""Migrations by Alembic. Imported by ``migrations`` when there is something to migrate: it is heavy."""

import io
from typing import Any

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from emag_syncd.domain.errors import DatabaseError
from emag_syncd.storage.connections import Server
from emag_syncd.storage.failures import FAMILIES, explain
from emag_syncd.storage.migrations import REVISIONS, SCRIPTS, VERSION_TABLE, newer

LOCK_KEY = 0x656D61675F6D6967
"""Of the advisory lock that lets one process migrate at a time: ``emag_mig``."""


async def upgrade(server: Server, wait_seconds: float) -> list[str]:
    """Apply what is pending in one transaction and return the applied revisions. Raises DatabaseError."""
    engine = create_async_engine("postgresql+asyncpg://", async_creator=server.connect, poolclass=NullPool)
    try:
        async with engine.begin() as connection:
            return await connection.run_sync(_upgrade, server, wait_seconds)
    except DBAPIError as error:
        if (cause := _cause(error)) is None:
            raise
        raise explain(cause, server.name) from error
    finally:
        await engine.dispose()


def upgrade_sql() -> str:
    """Return the SQL of all migrations, with their transaction."""
    output = io.StringIO()
    command.upgrade(_config(output, {}), "head", sql=True)
    return output.getvalue()


def _upgrade(connection: Connection, server: Server, wait_seconds: float) -> list[str]:
    _lock(connection, server, wait_seconds)
    # Only now: another process may just have migrated.
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    revision = context.get_current_revision()
    if revision is not None and revision not in REVISIONS:
        raise newer(server.name, revision)
    applied: list[str] = []

    def note(*, step: Any, **_: Any) -> None:
        applied.append(step.up_revision_id)

    command.upgrade(_config(io.StringIO(), {"connection": connection, "applied": note}), "head")
    return applied


def _lock(connection: Connection, server: Server, wait_seconds: float) -> None:
    """Wait until no other process migrates this database; the transaction's end frees the lock."""
    limit = text("SELECT set_config('lock_timeout', :limit, true)")
    connection.execute(limit, {"limit": f"{round(wait_seconds * 1000)}ms"})
    try:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK_KEY})
    except DBAPIError as error:
        if not isinstance(_cause(error), asyncpg.LockNotAvailableError):
            raise
        raise DatabaseError(
            f"another process has been migrating {server.name} for {wait_seconds:g} seconds",
            remedy="wait for it, or end it (pg_stat_activity shows it as emag-syncd migrate)",
        ) from error
    connection.execute(limit, {"limit": f"{round(server.limits.lock * 1000)}ms"})


def _cause(error: BaseException | None) -> Exception | None:
    """Return asyncpg's error, which SQLAlchemy wraps twice."""
    while error is not None and not isinstance(error, FAMILIES):
        error = error.__cause__
    return error


def _config(output: io.StringIO, attributes: dict[str, Any]) -> Config:
    config = Config(output_buffer=output, attributes={"version_table": VERSION_TABLE, **attributes})
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    return config
