"""PostgreSQL's failures in plain words: what happened, on which server, and what to do. Never a password."""

import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qs, unquote, urlsplit

import asyncpg

from emag_syncd.domain.errors import ConfigurationError, DatabaseError, SyncdError

FAMILIES = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
)
"""What asyncpg raises, all of it: TimeoutError is an OSError."""

LOST = (OSError, asyncpg.InterfaceError, asyncpg.PostgresConnectionError, asyncpg.ReadOnlySQLTransactionError)
"""What says that other connections may be as bad: the network is silent, or what they lead to is no primary."""

_LASTING = (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError, asyncpg.SyntaxOrAccessError)
"""What the same statement meets again however often it is tried."""

UNREADABLE = "the server of database.url"
_HOST = re.compile(r"([\w.%-]*|\[[0-9a-fA-F:.]+\])(:[0-9]*)?")

# The first that matches counts: subclasses stand before their bases.
_BY_CLASS: tuple[tuple[type[Exception] | tuple[type[Exception], ...], str, str], ...] = (
    (
        asyncpg.InvalidAuthorizationSpecificationError,
        "{server} refused the user or the password ({text})",
        "correct database.url, or let the user in (pg_hba.conf)",
    ),
    (
        asyncpg.InvalidCatalogNameError,
        "{server} has no such database ({text})",
        "create it with createdb, or correct database.url",
    ),
    (
        asyncpg.TooManyConnectionsError,
        "{server} has no connection left ({text})",
        "raise its max_connections, or lower database.pool_max_size",
    ),
    (
        asyncpg.CannotConnectNowError,
        "{server} takes no connections now ({text})",
        "wait until it has started; it is tried again",
    ),
    (
        asyncpg.ReadOnlySQLTransactionError,
        "{server} only lets read ({text})",
        "point database.url at the primary",
    ),
    (asyncpg.DiskFullError, "the disk of {server} is full ({text})", "free space there"),
    (
        (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError, asyncpg.UndefinedFunctionError),
        "the schema on {server} is not this version's ({text})",
        "run emag-syncd migrate",
    ),
    (
        asyncpg.InvalidSchemaNameError,
        "{server} has no schema to work in ({text})",
        "create the schema that the search_path of database.url names",
    ),
    (
        asyncpg.InsufficientPrivilegeError,
        "the user of database.url lacks a right on {server} ({text})",
        "grant it; emag-syncd migrate needs CREATE on the schema, the rest what is on its tables",
    ),
    (
        asyncpg.QueryCanceledError,
        "a statement on {server} took too long and was stopped ({text})",
        "look what the server is busy with; it is tried again",
    ),
    (
        (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError),
        "{server} could not lock what a statement needs ({text})",
        "look in pg_stat_activity for who holds it; it is tried again",
    ),
    (
        asyncpg.TargetServerAttributeNotMatched,
        "{server} is not of the kind that database.url asks for ({text})",
        "correct target_session_attrs in database.url",
    ),
    (
        asyncpg.ProtocolViolationError,
        "{server} does not take the connection ({text})",
        "connect to PostgreSQL itself; a pgbouncer between needs ignore_startup_parameters",
    ),
    (
        (
            asyncpg.PostgresConnectionError,
            asyncpg.OperatorInterventionError,
            asyncpg.IdleInTransactionSessionTimeoutError,
            asyncpg.InterfaceError,
            asyncpg.InternalClientError,
        ),
        "the connection to {server} was lost ({text})",
        "see the server's log; it is opened again by itself",
    ),
    (
        asyncpg.UndefinedObjectError,
        "{server} does not know something that it was asked for ({text})",
        "look for it in the options of database.url",
    ),
    (asyncpg.PostgresError, "{server} refused a statement ({text})", "see the server's log"),
    (
        ssl.SSLError,
        "TLS with {server} failed ({text})",
        "correct sslmode or the certificates in database.url",
    ),
    (
        socket.gaierror,
        "the host name of {server} does not resolve ({text})",
        "correct database.url, or the DNS",
    ),
    (
        (ConnectionRefusedError, FileNotFoundError),
        "nothing listens at {server}",
        "start PostgreSQL, or correct database.url",
    ),
    (TimeoutError, "{server} did not answer in time", "look whether it and the network are well"),
    (OSError, "{server} can't be reached ({text})", "start PostgreSQL, or correct database.url"),
)


def explain(error: Exception, server: str) -> SyncdError:
    """Return the error that says for a person what ``error``, one of ``FAMILIES``, means.

    Args:
        error: What asyncpg raised.
        server: The server's name, as ``dsn_summary`` gives it.
    """
    if isinstance(error, asyncpg.ClientConfigurationError):
        return invalid_dsn(f" ({_text(error)})")
    for classes, message, remedy in _BY_CLASS:
        if isinstance(error, classes):
            may_pass = not isinstance(error, _LASTING)
            return DatabaseError(message.format(server=server, text=_text(error)), remedy=remedy, may_pass=may_pass)
    raise TypeError(f"not a failure of PostgreSQL: {error!r}")


def invalid_dsn(reason: str = "") -> ConfigurationError:
    """Return the error for a DSN that can't be read. It quotes none of it: the password may be anywhere."""
    return ConfigurationError(
        f"database.url is not a usable PostgreSQL address{reason}",
        remedy="write postgresql://user:password@host:5432/database, with special characters as %XX",
    )


@contextmanager
def explained(server: str) -> Iterator[None]:
    """Raise what asyncpg raises within as a DatabaseError about ``server``."""
    try:
        yield
    except FAMILIES as error:
        raise explain(error, server) from error


def dsn_summary(dsn: str) -> str:
    """Return the DSN's user, hosts and database, without password and options, for logs and errors."""
    try:
        parts = urlsplit(dsn)
    except ValueError:
        return UNREADABLE
    login, _, hosts = parts.netloc.rpartition("@")
    is_plain = all(_HOST.fullmatch(host) for host in hosts.split(","))
    if not is_plain or "@" in parts.path + parts.query + parts.fragment:
        # An "@" or "/" in a password that is not written as %XX moves parts of it to other places.
        return UNREADABLE
    options = parse_qs(parts.query)
    user = unquote(login.partition(":")[0]) or options.get("user", [""])[0]
    hosts = hosts or options.get("host", [""])[0]
    database = unquote(parts.path.lstrip("/")) or options.get("database", options.get("dbname", [""]))[0]
    return f"PostgreSQL at {user}{'@' if user else ''}{hosts or 'its default address'}/{database}"


def _text(error: Exception) -> str:
    """Return the first line of the error's own words, without DETAIL, which quotes rows."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error.args[0] if error.args else type(error).__name__).split("\n", 1)[0]
