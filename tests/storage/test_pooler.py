"""Behind a pooler that gives each transaction to whatever session is free: what needs one of its own does without."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from emag_syncd.domain.errors import DatabaseError
from emag_syncd.storage.connections import Connection as AnyConnection
from emag_syncd.storage.connections import Limits
from emag_syncd.storage.database import Database
from emag_syncd.storage.migrations import REVISIONS, VERSION_TABLE, migrate
from tests.support.offers import Connection
from tests.support.pooler import pooler
from tests.support.scale import scaled
from tests.support.waiting import until

LIMITS = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
CLIENTS = 12
SESSIONS = 3


@pytest.fixture
async def pooled_url(database_url: str) -> AsyncIterator[str]:
    """Give the DSN that goes through a pooler with few sessions."""
    async with pooler(database_url, sessions=SESSIONS) as url:
        yield url


@pytest.fixture
async def pooled(pooled_url: str) -> AsyncIterator[Database]:
    """Give an open database behind the pooler."""
    database = await Database.open(pooled_url, pool_max_size=CLIENTS)
    try:
        yield database
    finally:
        await database.close()


async def limits(conn: AnyConnection) -> list[str]:
    """Return what limits hold on a connection."""
    return [str(await conn.fetchval(f"SHOW {name}")) for name in LIMITS]


async def test_a_transaction_has_its_limits_and_leaves_none(pooled: Database, sql: Connection) -> None:
    """They are those of a session of our own, and whoever comes next on the session finds none of them."""
    own = await limits(sql)
    for connections in (pooled, pooled.dedicated()):
        async with connections.use() as conn:
            async with conn.transaction():
                assert await limits(conn) == ["25s", "10s", "15s"]
            assert await limits(conn) == own


async def test_a_transaction_that_is_left_open_is_ended(pooled_url: str, sql: Connection) -> None:
    """A process that hangs in one holds its locks no longer than its limit, as without a pooler."""
    run = "UPDATE emag_sync_logs SET total_items = $1"
    free = "SELECT count(*) FROM (SELECT FROM emag_sync_logs FOR UPDATE SKIP LOCKED) AS free"
    await sql.execute("INSERT INTO emag_sync_logs (account_type, operation) VALUES ('main', 'full_sync')")
    database = await Database.open(pooled_url, limits=Limits(idle_in_transaction=0.5))

    async def hang() -> None:
        async with database.use() as conn, conn.transaction():
            await conn.execute(run, 1)
            assert await sql.fetchval(free) == 0
            await until(lambda: sql.fetchval(free))
            await conn.execute(run, 2)

    with pytest.raises(DatabaseError):
        await hang()
    await database.close()
    assert await sql.fetchval("SELECT total_items FROM emag_sync_logs") == 0


async def test_no_statement_is_missed_by_the_next_session(pooled: Database) -> None:
    """Many clients with the same statements, alone and in transactions, on few sessions."""

    async def client(number: int) -> None:
        for turn in range(scaled(20)):
            async with pooled.use() as conn:
                assert await conn.fetchval("SELECT $1::int + $2::int", number, turn) == number + turn
                async with conn.transaction():
                    rows = [(f"a{number}", turn * 10 + one) for one in range(3)]
                    await conn.executemany("INSERT INTO emag_products (account_type, emag_id) VALUES ($1, $2)", rows)

    await asyncio.gather(*map(client, range(CLIENTS)))
    async with pooled.use() as conn:
        assert await conn.fetchval("SELECT count(*) FROM emag_products") == CLIENTS * scaled(20) * 3


async def test_migrating_through_it_is_refused(pooled_url: str, sql: Connection) -> None:
    """Where there is something to apply; a schema that is up to date is none of it."""
    assert await migrate(pooled_url) == []
    await sql.execute(f"UPDATE {VERSION_TABLE} SET version_num = '{REVISIONS[-2]}'")
    with pytest.raises(DatabaseError, match=r"can't be migrated through a pooler: run emag-syncd migrate with the"):
        await migrate(pooled_url)


async def test_a_server_of_its_own_is_not_taken_for_one(database: Database) -> None:
    """There statements stay prepared, and the limits hold for the whole session."""
    assert not database._server.is_pooled
    async with database.use() as conn:
        await conn.fetchval("SELECT 1")
        assert await conn.fetchval("SELECT count(*) FROM pg_prepared_statements") > 0
        assert await limits(conn) == ["25s", "10s", "15s"]
