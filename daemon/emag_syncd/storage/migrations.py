"""The schema's versions: bring the database up to date, or say how it stands."""

import asyncio
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from types import ModuleType

import emag_syncd
from emag_syncd.domain.errors import DatabaseError
from emag_syncd.storage.connections import Connection, Limits, find_server
from emag_syncd.storage.failures import explained

VERSION_TABLE = "emag_syncd_version"
_PACKAGE = Path(emag_syncd.__file__).parent
_PLACES = (_PACKAGE / "migrations", _PACKAGE.parents[1] / "migrations")

SCRIPTS = next(filter(Path.is_dir, _PLACES), _PLACES[0])
"""The folder of the migrations: in the installed package, or at the top of the checkout."""

REVISIONS = tuple(sorted(path.name.split("_", 1)[0] for path in (SCRIPTS / "versions").glob("[0-9]*_*.py")))
"""The revisions this program knows, oldest first: the scripts' names begin with them."""

LIMITS = Limits(statement=600.0, command=630.0, idle_in_transaction=60.0)


class SchemaState(StrEnum):
    """How the database's schema stands to this program."""

    CURRENT = "current"
    PENDING = "pending"
    NEWER = "newer"


async def current(conn: Connection) -> str | None:
    """Return the revision of the database's schema, or None before the first migration."""
    if await conn.fetchval("SELECT to_regclass($1)", VERSION_TABLE) is None:
        return None
    revision: str | None = await conn.fetchval(f"SELECT version_num FROM {VERSION_TABLE}")  # noqa: S608 - a constant
    return revision


async def schema_state(conn: Connection) -> SchemaState:
    """Compare the database's schema with this program: two small queries, without Alembic."""
    revision = await current(conn)
    if revision is None or revision in REVISIONS[:-1]:
        return SchemaState.PENDING
    return SchemaState.CURRENT if revision in REVISIONS else SchemaState.NEWER


async def migrate(dsn: str, *, wait_seconds: float = 60.0) -> list[str]:
    """Apply what is pending, all in one transaction, and return the applied revisions.

    Args:
        dsn: The database; the tables are made in the first schema of its ``search_path``.
        wait_seconds: How long to wait for another process that migrates.

    Raises:
        DatabaseError: Unreachable, no right to create tables, another process did not finish in time, the
            database's schema is newer than this program, or there is something to apply and a pooler in between.
    """
    server = await find_server(dsn, application_name="emag-syncd migrate", limits=LIMITS)
    conn = await server.connect()
    try:
        with explained(server.name):
            revision = await current(conn)
    finally:
        conn.terminate()
    if revision is not None and revision not in REVISIONS:
        raise newer(server.name, revision)
    if revision == REVISIONS[-1]:
        return []
    if server.is_pooled:
        raise DatabaseError(
            f"the schema of {server.name} is not up to date, and can't be migrated through a pooler",
            remedy="run emag-syncd migrate with the server's own address as database.url",
        )
    # On a thread of its own: Alembic reads files and imports modules as it goes.
    applied: list[str] = await asyncio.to_thread(lambda: asyncio.run(_alembic().upgrade(server, wait_seconds)))
    return applied


def offline_sql() -> str:
    """Return the whole schema as SQL, from an empty database on, to be run in one go. It reads files."""
    sql: str = _alembic().upgrade_sql()
    return sql


def newer(server: str, revision: str) -> DatabaseError:
    """Return the error for a database that a later version of this program has migrated."""
    return DatabaseError(
        f"the schema on {server} is newer ({revision}) than this emag-syncd knows ({REVISIONS[-1]})",
        remedy="upgrade emag-syncd",
    )


def _alembic() -> ModuleType:
    # A third of a second and tens of megabytes, which a daemon on a current schema does without.
    return import_module("emag_syncd.storage.upgrade")
