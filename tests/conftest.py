"""Fixtures of the whole suite: one PostgreSQL a session, one database a test."""

import asyncio
import logging
import math
import re
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import asyncpg
import hypothesis
import pytest
from blockbuster import BlockBuster

from emag_syncd.storage.database import Database
from tests.support import recovery as recoveries
from tests.support.recovery import Recovery
from tests.support.server import TestServer, reachable_folder

# Speed is the benchmark's matter: a busy machine is no failure.
hypothesis.settings.register_profile("suite", deadline=None)
hypothesis.settings.load_profile("suite")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the recovery times that the tests measure be written down."""
    parser.addoption("--recoveries", type=Path, help="append measured recovery times to this file, as JSON lines")


class Bookkeeper:
    """Writes down what the tests measured, in the process that sees all reports."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed:
            recoveries.append(report, self._path)


def pytest_configure(config: pytest.Config) -> None:
    """Keep the book where it was asked for; with several processes the first one keeps it.

    What the tests start hears Ctrl-C, also where a shell that runs them in the background had it ignored.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    path = config.getoption("--recoveries")
    if path is not None and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Bookkeeper(path))


def debugged_loop() -> asyncio.AbstractEventLoop:
    """Make an event loop that does not count what is slow: on a busy machine everything is, now and then."""
    loop = asyncio.new_event_loop()
    loop.slow_callback_duration = math.inf
    return loop


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Give the loops of all tests; their debug mode is on in pyproject.toml."""
    return {"debugged": debugged_loop}


NOT_OURS = re.compile(
    # A client that refuses a server's certificate is what some tests are about; nothing else of ours serves TLS.
    r"Error on transport creation for incoming connection"
    # Futures of asyncpg that nobody is there to ask: of a connection that was being made when it was cancelled, for one
    # turn of the loop, and of a COPY whose connection went while its rows were being sent, which itself raises.
    r"|Future exception was never retrieved\n.*"
    r"(TLSUpgradeProto\(.*ConnectionError: unexpected connection_lost\(\) call"
    r"|copy_records_to_table\(.*ConnectionDoesNotExistError: connection was closed in the middle of operation)\Z",
    re.DOTALL,
)


class Complaints(logging.Handler):
    """What asyncio has to say against a test: errors nobody asked for, tasks and transports left behind."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        if not NOT_OURS.match(text):
            self.texts.append(text)


@pytest.fixture(autouse=True)
def no_complaints() -> Iterator[Complaints]:
    """Let a test fail of whatever asyncio would only have logged; give what it said so far."""
    complaints = Complaints()
    logger = logging.getLogger("asyncio")
    logger.addHandler(complaints)
    yield complaints
    logger.removeHandler(complaints)
    assert not complaints.texts, "\n".join(complaints.texts)


@pytest.fixture
def recovery(request: pytest.FixtureRequest) -> Recovery:
    """Take note of how long the daemon takes to be well again."""
    return Recovery(request.node)


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
    with reachable_folder(in_memory=True) as folder, TestServer(folder) as server:
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
