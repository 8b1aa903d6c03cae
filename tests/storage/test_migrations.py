"""The schema: how it comes about, and what an operator may do with it by hand."""

import asyncio
import io
import subprocess
import sys
from pathlib import Path
from typing import TypeAlias
from urllib.parse import quote, urlsplit

import asyncpg
import pytest
from alembic import command
from alembic.script import ScriptDirectory

from emag_syncd.domain.errors import DatabaseError
from emag_syncd.storage.binaries import find_binaries, server_account
from emag_syncd.storage.database import Database
from emag_syncd.storage.migrations import (
    REVISIONS,
    SCRIPTS,
    VERSION_TABLE,
    SchemaState,
    current,
    migrate,
    offline_sql,
    schema_state,
)
from emag_syncd.storage.upgrade import LOCK_KEY, _config

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

INSERT_RUN = """
INSERT INTO emag_sync_logs (sync_type, account_type, operation, status, started_at)
VALUES ('products', 'main', 'full_sync', 'running', NOW())
"""


def postgres_program(name: str) -> Path:
    """Return one of PostgreSQL's own programs, or skip the test."""
    program = find_binaries(None, server_account(Path("/nonexistent"))) / name
    if not program.exists():
        pytest.skip(f"no {name} beside PostgreSQL's programs")
    return program


def schema_of(url: str) -> list[str]:
    """Return the database's whole schema as pg_dump writes it, without its random tokens."""
    dumping = [str(postgres_program("pg_dump")), "--schema-only", "--no-owner", url]
    dump = subprocess.run(dumping, check=True, capture_output=True, text=True).stdout
    return [line for line in dump.splitlines() if not line.startswith((r"\restrict", r"\unrestrict", "--"))]


async def tables(url: str) -> set[str]:
    """Return the names of the database's tables."""
    conn = await asyncpg.connect(url)
    try:
        rows = await conn.fetch("SELECT relname FROM pg_stat_user_tables")
    finally:
        await conn.close()
    return {row["relname"] for row in rows}


async def test_migrating_twice_applies_everything_once(empty_database_url: str) -> None:
    """The first call applies every revision, the second none."""
    assert await migrate(empty_database_url) == list(REVISIONS)
    assert await migrate(empty_database_url) == []


def test_revisions_are_alembics_own() -> None:
    """The cheap list of revisions, read from file names, is what Alembic finds in the files."""
    found = ScriptDirectory(str(SCRIPTS)).walk_revisions()
    assert list(REVISIONS) == [script.revision for script in found][::-1]


def test_nothing_imports_alembic_before_it_is_needed() -> None:
    """A daemon on a current schema pays neither the time nor the memory of Alembic."""
    code = (
        "import sys, emag_syncd.storage.database, emag_syncd.storage.migrations;"
        "sys.exit('alembic' in sys.modules or 'sqlalchemy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


async def test_two_processes_migrate_at_once(empty_database_url: str) -> None:
    """Of two processes that start together one applies the revisions, the other none, and neither fails."""
    code = (
        "import asyncio, sys; from emag_syncd.storage.migrations import migrate;"
        "print(*asyncio.run(migrate(sys.argv[1])))"
    )
    program = [sys.executable, "-c", code, empty_database_url]
    both = [await asyncio.create_subprocess_exec(*program, stdout=asyncio.subprocess.PIPE) for _ in "ab"]
    outputs = [(await process.communicate())[0].decode().split() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sorted(outputs) == [[], list(REVISIONS)]


async def test_waiting_for_another_migration_is_bounded(empty_database_url: str) -> None:
    """A process that holds the lock for ever is named in an error; nothing is changed."""
    holder = await asyncpg.connect(empty_database_url)
    await holder.execute("SELECT pg_advisory_lock($1)", LOCK_KEY)
    try:
        with pytest.raises(DatabaseError, match="another process has been migrating"):
            await migrate(empty_database_url, wait_seconds=0.1)
    finally:
        await holder.close()
    assert await tables(empty_database_url) == set()


async def test_a_newer_schema_is_refused(database_url: str, database: Database, sql: Connection) -> None:
    """What a later version has migrated is left alone, with the remedy."""
    await sql.execute(f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
    with pytest.raises(DatabaseError, match=r"newer \(9999\).*upgrade emag-syncd"):
        await migrate(database_url)
    async with database.use() as conn:
        assert await schema_state(conn) is SchemaState.NEWER


async def test_the_state_of_the_schema(empty_database_url: str) -> None:
    """Before the migrations the schema is pending, afterwards current."""
    conn = await asyncpg.connect(empty_database_url)
    try:
        assert (await schema_state(conn), await current(conn)) == (SchemaState.PENDING, None)
        await migrate(empty_database_url)
        assert (await schema_state(conn), await current(conn)) == (SchemaState.CURRENT, REVISIONS[-1])
    finally:
        await conn.close()


async def test_a_failing_migration_leaves_nothing(empty_database_url: str) -> None:
    """When the last of the tables can't be made, the first ones are not there either."""
    conn = await asyncpg.connect(empty_database_url)
    await conn.execute("CREATE TABLE emag_api_calls ()")
    await conn.close()
    with pytest.raises(DatabaseError, match="emag_api_calls"):
        await migrate(empty_database_url)
    assert await tables(empty_database_url) == {"emag_api_calls"}


async def test_a_user_without_rights_is_told_what_to_grant(empty_database_url: str, sql: Connection) -> None:
    """A user that may not create tables gets the missing right named."""
    user = f"reader_{abs(hash(empty_database_url))}"
    await sql.execute(f"CREATE ROLE {user} LOGIN PASSWORD 'secret'")
    try:
        parts = urlsplit(empty_database_url)
        host = parts.netloc.rpartition("@")[2]
        owner = await asyncpg.connect(empty_database_url)
        await owner.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        await owner.close()
        with pytest.raises(DatabaseError, match=r"lacks a right.*CREATE on the schema"):
            await migrate(parts._replace(netloc=f"{user}:secret@{host}").geturl())
    finally:
        await sql.execute(f"DROP ROLE {user}")


async def test_the_schema_is_the_first_of_the_search_path(empty_database_url: str) -> None:
    """With a search_path in the DSN the tables, the version's too, are made there and found there."""
    conn = await asyncpg.connect(empty_database_url)
    await conn.execute("CREATE SCHEMA shop; CREATE TABLE alembic_version (version_num text)")
    url = f"{empty_database_url}{'&' if '?' in empty_database_url else '?'}search_path={quote('shop,public')}"
    try:
        assert await migrate(url) == list(REVISIONS)
        assert await migrate(url) == []
        where = await conn.fetch("SELECT DISTINCT schemaname FROM pg_tables WHERE tablename LIKE 'emag%'")
        assert [row["schemaname"] for row in where] == ["shop"]
    finally:
        await conn.close()


async def test_the_printed_sql_makes_the_same_schema(empty_database_url: str, database_url: str) -> None:
    """What ``migrate --sql`` prints runs through psql in one go and leaves nothing to migrate."""
    program = await asyncio.to_thread(postgres_program, "psql")
    psql = [str(program), "-qX", "-v", "ON_ERROR_STOP=1", empty_database_url]
    await asyncio.to_thread(subprocess.run, psql, input=await asyncio.to_thread(offline_sql), text=True, check=True)
    by_hand, by_alembic = [await asyncio.to_thread(schema_of, url) for url in (empty_database_url, database_url)]
    assert by_hand == by_alembic
    assert await migrate(empty_database_url) == []


async def test_an_operator_adds_and_ends_a_run_by_hand(sql: Connection) -> None:
    """Plain SQL with the columns that carry no default works as it stands, and the end is filled in."""
    await sql.execute(INSERT_RUN)
    await sql.execute("UPDATE emag_sync_logs SET lease_token = gen_random_uuid(), lease_expires_at = now()")
    await sql.execute(
        "UPDATE emag_sync_logs SET status='failed', completed_at=NOW(),"
        " errors=jsonb_build_array(jsonb_build_object('error', 'by hand'))"
    )
    row = await sql.fetchrow("SELECT * FROM emag_sync_logs")
    assert row is not None
    assert (row["status"], row["lease_token"], row["lease_expires_at"]) == ("failed", None, None)
    assert row["completed_at"] is not None
    assert row["duration_seconds"] >= 0


async def test_a_second_running_row_is_refused(sql: Connection) -> None:
    """One run at a time of an account and type is the database's own rule, for operators too."""
    await sql.execute(INSERT_RUN)
    with pytest.raises(asyncpg.UniqueViolationError, match="one_running"):
        await sql.execute(INSERT_RUN)
    await sql.execute(INSERT_RUN.replace("'main'", "'fbe'"))


async def downgraded(sql: Connection, revisions: str) -> None:
    """Take migrations back, given as Alembic writes a range of them, newest first."""
    output = io.StringIO()
    await asyncio.to_thread(command.downgrade, _config(output, {}), revisions, sql=True)
    await sql.execute(output.getvalue())


async def test_leases_of_ended_runs_are_taken_from_them(database_url: str, sql: Connection) -> None:
    """Runs that ended under a restore kept theirs in earlier versions; with them the constraint could not be made."""
    await downgraded(sql, "0010:0009")
    await sql.execute(INSERT_RUN)
    await sql.execute("UPDATE emag_sync_logs SET status = 'failed'")
    await sql.execute("UPDATE emag_sync_logs SET lease_token = id, lease_expires_at = now()")
    await sql.execute(INSERT_RUN)
    await sql.execute("UPDATE emag_sync_logs SET lease_token = id WHERE status = 'running'")
    assert await migrate(database_url) == ["0010"]
    rows = await sql.fetch(
        "SELECT status, lease_token IS NULL AND lease_expires_at IS NULL AS free FROM emag_sync_logs"
    )
    assert {tuple(row) for row in rows} == {("failed", True), ("running", False)}


async def test_the_downgrade_removes_everything(database_url: str, sql: Connection) -> None:
    """The migrations can be taken back without a trace."""
    await downgraded(sql, f"{REVISIONS[-1]}:base")
    assert await tables(database_url) <= {VERSION_TABLE}
    assert await sql.fetchval("SELECT count(*) FROM pg_proc WHERE proname LIKE 'emag%'") == 0
