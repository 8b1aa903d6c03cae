"""Connections: nothing waits without limit, and what broke heals."""

import asyncio
from collections.abc import AsyncIterator
from typing import TypeAlias

import asyncpg
import msgspec
import pytest

from emag_syncd.domain.errors import DatabaseError
from emag_syncd.storage.codecs import jsonb
from emag_syncd.storage.connections import Connections, Limits
from emag_syncd.storage.database import Database
from tests.support.proxy import Proxy
from tests.support.server import database_proxy

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Proxied: TypeAlias = tuple[Proxy, Database]

QUICK = Limits(connect=4.0, acquire=1.0, release=0.2, statement=0.8, command=1.0, lock=0.5)


@pytest.fixture
async def proxied(database_url: str) -> AsyncIterator[Proxied]:
    """Give a database behind a proxy, with short limits; the test itself must end within ten seconds."""
    async with database_proxy(database_url) as (proxy, url):
        database = await Database.open(url, pool_max_size=2, limits=QUICK)
        async with asyncio.timeout(10):
            yield proxy, database
        await database.close(timeout=0.5)


async def query(connections: Connections, statement: str) -> object:
    """Return what the statement gives."""
    async with connections.use() as conn:
        return await conn.fetchval(statement)


async def test_a_read_only_database(database: Database, database_url: str, sql: Connection) -> None:
    """A standby, or a database set to read-only, is told apart from other refusals."""
    name = await sql.fetchval("SELECT current_database()")
    await sql.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    with pytest.raises(DatabaseError, match="only lets read"):
        await query(database, "DELETE FROM emag_products")


async def test_the_limits_and_names_of_a_connection(database: Database) -> None:
    """Time limits, UTC and the application's name hold on the pool's connections, also after a reset."""
    wanted = {"statement_timeout": "25s", "lock_timeout": "10s", "idle_in_transaction_session_timeout": "15s"}
    wanted |= {"TimeZone": "UTC", "application_name": "emag-syncd", "jit": "off"}
    wanted |= {"client_connection_check_interval": "10s"}
    async with database.use() as conn:
        await conn.execute("SET statement_timeout = 0")
    for connections in (database, database.dedicated()):
        async with connections.use() as conn:
            assert {name: await conn.fetchval(f"SHOW {name}") for name in wanted} == wanted


async def test_jsonb_goes_and_comes_as_bytes(database: Database) -> None:
    """Encoded JSON is stored as it is and comes back as bytes, in arrays too."""
    value = {"name": "Căști 2 m", "prices": [28.9256, None], "deep": {"x": "\u2028"}}
    async with database.use() as conn:
        row = await conn.fetchrow("SELECT $1::jsonb AS one, $2::jsonb[] AS many", jsonb(value), [jsonb(1)])
    assert row is not None
    assert msgspec.json.decode(row["one"]) == value
    assert row["many"] == [b"1"]


async def test_the_password_is_in_no_repr(database_url: str) -> None:
    """Neither the database nor its server shows the password."""
    async with database_proxy(database_url) as (_, url):
        database = await Database.open(url.replace("@", ":hunter2@", 1))
        assert "hunter2" not in repr(database) + repr(database._server) + database.name
        await database.close()


async def test_a_transaction_commits_or_rolls_back(database: Database) -> None:
    """What was written stays after the block, and is gone when the block raised."""
    insert = "INSERT INTO emag_products (account_type, emag_id) VALUES ('main', $1)"
    async with database.use() as conn, conn.transaction():
        await conn.execute(insert, 1)

    async def fail() -> None:
        async with database.use() as conn, conn.transaction():
            await conn.execute(insert, 2)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert await query(database, "SELECT array_agg(emag_id) FROM emag_products") == [1]


async def test_waiting_for_a_connection_is_bounded(proxied: Proxied) -> None:
    """With all of the pool in use, the next user is told so in time, and a dedicated connection works on."""
    _, database = proxied
    dedicated = database.dedicated()
    async with database.use(), database.use():
        assert database.pool_size() == {"used": 2, "idle": 0, "max": 2}
        with pytest.raises(DatabaseError, match="did not answer in time"):
            await query(database, "SELECT 1")
        assert await dedicated.ping() >= 0


async def test_statements_have_a_limit(proxied: Proxied) -> None:
    """The server itself ends what takes too long."""
    with pytest.raises(DatabaseError, match="took too long"):
        await query(proxied[1], "SELECT pg_sleep(60)")


async def test_silence_during_a_query(proxied: Proxied) -> None:
    """A query on a connection gone silent ends in time, and everything works again when the network does."""
    proxy, database = proxied
    await query(database, "SELECT 1")
    proxy.silence()
    with pytest.raises(DatabaseError, match="did not answer in time"):
        await query(database, "SELECT 1")
    assert database.pool_size()["used"] == 0
    apart = database.dedicated()
    with pytest.raises(DatabaseError, match="did not answer in time"):
        await apart.ping()
    proxy.resume()
    assert await apart.ping() >= 0
    assert await query(database, "SELECT 1") == 1


async def test_silence_during_release(proxied: Proxied) -> None:
    """What was done stays done when the connection goes silent afterwards; only the connection is lost."""
    proxy, database = proxied
    async with database.use() as conn:
        assert await conn.fetchval("SELECT 1") == 1
        proxy.silence()
    assert database.pool_size() == {"used": 0, "idle": 0, "max": 2}


async def test_silence_during_commit(proxied: Proxied) -> None:
    """A commit without an answer is a failure in time: nobody may take it for done."""
    proxy, database = proxied

    async def work() -> None:
        async with database.use() as conn, conn.transaction():
            await conn.execute("INSERT INTO emag_products (account_type, emag_id) VALUES ('main', 1)")
            proxy.silence()

    with pytest.raises(DatabaseError, match="did not answer in time"):
        await work()
    assert database.pool_size()["used"] == 0


@pytest.mark.parametrize("how", ["pool", "dedicated"])
async def test_cancelling_on_a_silent_connection(proxied: Proxied, how: str) -> None:
    """A cancelled task ends in time though neither its query nor its rollback is ever answered."""
    proxy, database = proxied
    connections: Connections = database if how == "pool" else database.dedicated()
    is_silent = asyncio.Event()

    async def work() -> None:
        async with connections.use() as conn, conn.transaction():
            await conn.execute("SELECT 1")
            proxy.silence()
            is_silent.set()
            await conn.execute("SELECT 2", timeout=60)

    task = asyncio.create_task(work())
    await is_silent.wait()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert database.pool_size()["used"] == 0


@pytest.mark.parametrize("how", ["pool", "dedicated"])
async def test_a_terminated_backend_heals(database: Database, sql: Connection, how: str) -> None:
    """A connection that the server ends fails its user once and is replaced for the next."""
    connections: Connections = database if how == "pool" else database.dedicated()

    async def work() -> None:
        async with connections.use() as conn, conn.transaction():
            await sql.execute("SELECT pg_terminate_backend($1)", conn.get_server_pid())
            await conn.fetchval("SELECT 1")

    with pytest.raises(DatabaseError, match="was lost"):
        await work()
    assert await query(connections, "SELECT 1") == 1


@pytest.mark.parametrize("count", range(0, 1800, 150))
async def test_a_connection_cut_anywhere(database_url: str, count: int) -> None:
    """Wherever the connection breaks while a database is opened, the error is ours; the next try works."""
    async with database_proxy(database_url) as (proxy, url):
        proxy.cut_after(count)
        with pytest.raises(DatabaseError):
            await Database.open(url, limits=QUICK)
        await (await Database.open(url, limits=QUICK)).close()


async def test_a_dedicated_connection_serves_one_at_a_time(proxied: Proxied) -> None:
    """A second user waits for its turn, and not for ever."""
    dedicated = proxied[1].dedicated()
    async with dedicated.use():
        with pytest.raises(DatabaseError, match="did not answer in time"):
            await dedicated.ping()
    assert await dedicated.ping() >= 0


async def test_closing_is_bounded(proxied: Proxied, sql: Connection) -> None:
    """Closing does not wait for those who still use a connection: theirs is dropped."""
    _, database = proxied
    heartbeat = database.dedicated()
    await heartbeat.ping()
    async with database.use() as conn:
        await database.close(timeout=0.1)
        with pytest.raises(asyncpg.InterfaceError):
            await conn.fetchval("SELECT 1")
    for connections in (database, heartbeat):
        with pytest.raises(DatabaseError, match="closed"):
            await query(connections, "SELECT 1")
