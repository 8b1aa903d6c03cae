"""Fixtures of the whole suite: one PostgreSQL a session, one database a test."""

from collections.abc import AsyncIterator, Iterator

import asyncpg
import pytest
from blockbuster import BlockBuster

from emag_syncd.storage.database import Database
from tests.support.server import TestServer, reachable_folder


@pytest.fixture(autouse=True)
def no_blocking() -> Iterator[None]:
    """Refuse what holds up the event loop in our own code: sleeps, sockets, locks. Files are local and small."""
    guard = BlockBuster("emag_syncd")
    for name, function in guard.functions.items():
        if not name.startswith(("os.", "io.")):
            function.activate()
    yield
    guard.deactivate()


@pytest.fixture(scope="session")
def postgres() -> Iterator[TestServer]:
    """Run PostgreSQL for the whole session."""
    with reachable_folder() as folder, TestServer(folder) as server:
        yield server


@pytest.fixture
def database_url(postgres: TestServer) -> Iterator[str]:
    """Give the DSN of a fresh database with the schema."""
    with postgres.database(migrated=True) as url:
        yield url


@pytest.fixture
def empty_database_url(postgres: TestServer) -> Iterator[str]:
    """Give the DSN of a fresh database without any table."""
    with postgres.database(migrated=False) as url:
        yield url


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """Give an open database with the schema."""
    database = await Database.open(database_url, pool_max_size=5)
    try:
        yield database
    finally:
        await database.close()


@pytest.fixture
async def sql(database_url: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """Give a plain connection to the test's database, as an operator's psql has it."""
    conn = await asyncpg.connect(database_url)
    try:
        yield conn
    finally:
        await conn.close()
