"""What goes wrong with a database, in words: what happened, where, what to do, and never a password."""

import asyncio
import socket
import ssl

import asyncpg
import pytest

from emag_syncd.domain.errors import ConfigurationError, DatabaseError
from emag_syncd.storage.connections import Limits
from emag_syncd.storage.database import Database
from emag_syncd.storage.failures import UNREADABLE, dsn_summary, explain
from tests.support.server import with_database

QUICK = Limits(connect=1.0)


async def fails_to_open(dsn: str) -> str:
    """Return what ``Database.open`` says about a DSN that can't work."""
    with pytest.raises((DatabaseError, ConfigurationError)) as caught:
        await Database.open(dsn, limits=QUICK)
    return str(caught.value)


async def test_a_missing_database_is_named(database_url: str) -> None:
    """A database that does not exist is named, with how to create it."""
    words = await fails_to_open(with_database(database_url, "no_such"))
    assert '"no_such" does not exist' in words
    assert "createdb" in words


async def test_nobody_listens(unused_tcp_port: int) -> None:
    """A refused connection names the address and the setting."""
    words = await fails_to_open(f"postgresql://me:secret@127.0.0.1:{unused_tcp_port}/shop")
    assert words.startswith(f"nothing listens at PostgreSQL at me@127.0.0.1:{unused_tcp_port}/shop")
    assert "database.url" in words
    assert "secret" not in words


async def test_no_socket_in_the_folder(tmp_path: object) -> None:
    """The same for a Unix socket that is not there."""
    assert "nothing listens at" in await fails_to_open(f"postgresql:///shop?host={tmp_path}")


async def test_the_host_does_not_resolve() -> None:
    """A host name that the DNS does not know is told apart from a server that is down."""
    assert "does not resolve" in await fails_to_open("postgresql://me:secret@nowhere.invalid/shop")


async def test_a_server_that_never_answers(unused_tcp_port: int) -> None:
    """A connection that is taken and never answered ends within the limit."""
    with socket.create_server(("127.0.0.1", unused_tcp_port)):
        assert "did not answer in time" in await fails_to_open(f"postgresql://me@127.0.0.1:{unused_tcp_port}/x")


@pytest.mark.parametrize(
    "dsn",
    [
        "host=db.example password=hunter2",
        "mysql://me:hunter2@db.example/shop",
        "postgresql://me:hunter2/x@db.example/shop",
        "postgresql://me:hun#ter2@db.example/shop",
        "postgresql://me:[hunter2@db.example/shop",
        "postgresql://me:hunter2@db.example:port/shop",
        "postgresql://me:hunter2@db.example/shop?sslmode=sometimes",
    ],
)
async def test_an_unreadable_dsn_does_not_show_its_password(dsn: str) -> None:
    """A DSN that can't be read is a configuration error, and no part of it that may be secret is quoted."""
    with pytest.raises((ConfigurationError, DatabaseError)) as caught:
        await Database.open(dsn, limits=QUICK)
    assert "hunter2" not in str(caught.value)
    assert "ter2" not in str(caught.value)
    assert "database.url" in str(caught.value)


@pytest.mark.parametrize(
    ("dsn", "summary"),
    [
        ("postgresql://me:secret@db:5433/shop", "PostgreSQL at me@db:5433/shop"),
        ("postgresql://me:s%40cret@a:1,b:2/shop?sslmode=require", "PostgreSQL at me@a:1,b:2/shop"),
        ("postgresql://me@/shop?host=/run/pg&password=secret", "PostgreSQL at me@/run/pg/shop"),
        ("postgresql://db/?user=me&database=shop", "PostgreSQL at me@db/shop"),
        ("postgresql://[::1]:5432/shop", "PostgreSQL at [::1]:5432/shop"),
        ("postgresql:///", "PostgreSQL at its default address/"),
        ("postgresql://me:se/cret@db/shop", UNREADABLE),
    ],
)
def test_a_dsn_is_named_without_its_password(dsn: str, summary: str) -> None:
    """Logs show user, host and database, and nothing at all of a DSN whose parts can't be told apart."""
    assert dsn_summary(dsn) == summary


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (asyncpg.InvalidPasswordError("password authentication failed"), "refused the user or the password"),
        (asyncpg.TooManyConnectionsError("sorry"), "database.pool_max_size"),
        (asyncpg.CannotConnectNowError("starting up"), "wait until it has started"),
        (asyncpg.ReadOnlySQLTransactionError("read-only"), "point database.url at the primary"),
        (asyncpg.DiskFullError("no space"), "free space"),
        (asyncpg.UndefinedTableError('relation "emag_products"'), "run emag-syncd migrate"),
        (asyncpg.InvalidSchemaNameError("no schema"), "search_path of database.url"),
        (asyncpg.InsufficientPrivilegeError("permission denied"), "grant it"),
        (asyncpg.QueryCanceledError("statement timeout"), "took too long"),
        (asyncpg.LockNotAvailableError("lock timeout"), "pg_stat_activity"),
        (asyncpg.AdminShutdownError("terminating"), "was lost"),
        (asyncpg.ProtocolViolationError("unsupported startup parameter"), "pgbouncer"),
        (asyncpg.UniqueViolationError("duplicate key"), "refused a statement (duplicate key)"),
        (ssl.SSLCertVerificationError(1, "self-signed"), "sslmode"),
        (OSError(113, "No route to host"), "can't be reached (No route to host)"),
    ],
)
def test_every_failure_has_words_and_a_remedy(error: Exception, words: str) -> None:
    """What asyncpg raises becomes a sentence that names the server and says what to do."""
    explained = explain(error, "PostgreSQL at db")
    assert words in str(explained)
    assert "PostgreSQL at db" in explained.message
    assert explained.remedy


async def test_too_old_a_server_is_refused() -> None:
    """A server that calls itself version 13 is turned down with the version that is needed."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        version = b"server_version\x0013.22\x00"
        writer.write(b"R\0\0\0\x08\0\0\0\0S" + (len(version) + 4).to_bytes(4, "big") + version)
        writer.write(b"K\0\0\0\x0c\0\0\0\x01\0\0\0\x01Z\0\0\0\x05I")
        await reader.read()
        writer.close()
        await writer.wait_closed()
        done.set()

    done = asyncio.Event()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    words = await fails_to_open(f"postgresql://me@127.0.0.1:{port}/x?sslmode=disable")
    assert "is version 13" in words
    assert "PostgreSQL 14 or newer" in words
    await done.wait()
    server.close()


@pytest.mark.parametrize(
    ("error", "may_pass"),
    [
        (asyncpg.ConnectionDoesNotExistError("gone"), True),
        (asyncpg.AdminShutdownError("stopped"), True),
        (asyncpg.DiskFullError("full"), True),
        (asyncpg.ReadOnlySQLTransactionError("read only"), True),
        (asyncpg.DeadlockDetectedError("deadlock"), True),
        (TimeoutError(), True),
        (asyncpg.NumericValueOutOfRangeError("too large"), False),
        (asyncpg.UniqueViolationError("twice"), False),
        (asyncpg.UndefinedTableError("no table"), False),
    ],
)
def test_an_outage_may_pass_and_a_wrong_statement_does_not(error: Exception, *, may_pass: bool) -> None:
    """What the server can't take is not tried again; what the moment prevents is."""
    explained = explain(error, "a server")
    assert isinstance(explained, DatabaseError)
    assert explained.may_pass is may_pass
