"""The PostgreSQL that the tests run on: an embedded one, or the one that the environment names."""

import asyncio
import os
import shutil
import tempfile
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Self, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit
from uuid import uuid4

import asyncpg

from emag_syncd.storage.embedded import EmbeddedPostgres
from emag_syncd.storage.migrations import migrate
from tests.support.proxy import Proxy, Target

ADDRESS = "EMAG_SYNCD_TEST_DATABASE_URL"
TEMPLATE = "EMAG_SYNCD_TEST_TEMPLATE"
"""Names a database of that server that has the schema: then a session of tests need not make its own."""

FAST = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "max_connections": "200",
    "max_wal_size": "128MB",
}
MEMORY = Path("/dev/shm")
ROOM = 4 << 30
"""How many bytes must be free there: each process of a parallel session has a server of its own."""

T = TypeVar("T")


@contextmanager
def reachable_folder(*, in_memory: bool = False) -> Iterator[Path]:
    """Make a folder that PostgreSQL's unprivileged user can reach, which pytest's own are not for root.

    ``in_memory`` where there is room: a new database for each test is hundreds of small files.
    """
    roomy = in_memory and MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM
    folder = Path(tempfile.mkdtemp(prefix="emag-syncd-test-", dir=MEMORY if roomy else None))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def with_database(url: str, name: str) -> str:
    """Return the DSN with another database."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


class TestServer:
    """Databases for tests, made on an event loop of its own: a server outlives the loops of the tests."""

    __test__ = False

    def __init__(self, folder: Path) -> None:
        """Prepare; the embedded server's data go below ``folder``."""
        self._folder = folder
        self._stack = AsyncExitStack()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="test-server", daemon=True)
        self._admin: asyncpg.Connection[asyncpg.Record]
        self.template = os.environ.get(TEMPLATE, "")
        self._makes_template = not self.template
        self.url = os.environ.get(ADDRESS, "")

    def __enter__(self) -> Self:
        """Start the server and make the migrated template."""
        self._thread.start()
        self._run(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        """Drop the template and stop the server."""
        self._run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @contextmanager
    def database(self, *, migrated: bool) -> Iterator[str]:
        """Make a database and give its DSN; it is dropped afterwards, whoever is still connected."""
        template = self.template if migrated else "template0"
        name = self._run(self._create(template))
        try:
            yield with_database(self.url, name)
        finally:
            self._run(self._drop(name))

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    async def _start(self) -> None:
        if not self.url:
            server = EmbeddedPostgres(self._folder / "data", settings=FAST)
            self.url = (await self._stack.enter_async_context(server)).dsn
        self._admin = await asyncpg.connect(self.url)
        if self._makes_template:
            self.template = await self._create("template0")
            await migrate(with_database(self.url, self.template))

    async def _stop(self) -> None:
        if self._makes_template:
            await self._drop(self.template)
        await self._admin.close()
        await self._stack.aclose()

    async def _create(self, template: str) -> str:
        name = f"emag_test_{uuid4().hex[:12]}"
        # Copying files is faster than writing them to the log, and older servers know no other way.
        strategy = " STRATEGY file_copy" if self._admin.get_server_version().major >= 15 else ""
        await self._admin.execute(f"CREATE DATABASE {name} TEMPLATE {template}{strategy}")
        return name

    async def _drop(self, name: str) -> None:
        await self._admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


def target_of(url: str) -> Target:
    """Return where the server of a DSN listens."""
    parts, options = urlsplit(url), dict(parse_qsl(urlsplit(url).query))
    folder, port = options.get("host", ""), int(options.get("port", parts.port or 5432))
    return f"{folder}/.s.PGSQL.{port}" if folder else (parts.hostname or "localhost", port)


@asynccontextmanager
async def database_proxy(url: str) -> AsyncIterator[tuple[Proxy, str]]:
    """Give a proxy to the database, and the DSN that goes through it."""
    async with Proxy(target_of(url)) as proxy:
        parts = urlsplit(url)
        options = {name: value for name, value in parse_qsl(parts.query) if name not in {"host", "port"}}
        login = parts.netloc.rpartition("@")[0]
        through = parts._replace(netloc=f"{login}@127.0.0.1:{proxy.port}", query=urlencode(options))
        yield proxy, f"{urlunsplit(through)}{'&' if options else '?'}sslmode=disable"
