"""A commit is all or nothing, made once whatever fails and when, and touches only what changed."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import count
from typing import Any, TypeAlias

import pytest

from emag_syncd.domain.batches import Batch, ScanRef
from emag_syncd.domain.errors import DatabaseError, FencedError
from emag_syncd.domain.runs import Lease
from emag_syncd.storage.connections import Connection as AnyConnection
from emag_syncd.storage.database import Database
from emag_syncd.storage.ledger import Ledger
from emag_syncd.storage.mirror import Mirror
from emag_syncd.storage.scans import Scans
from tests.support.offers import (
    PROGRESS,
    Connection,
    claimed,
    counted,
    counters,
    creating,
    everything,
    offer,
    page,
    removing,
    rows,
)
from tests.support.proxy import Proxy
from tests.support.server import database_proxy

STATEMENTS = 5
"""A batch that writes everything takes so many: offers, removals, fence, changes, rejects."""


Hook: TypeAlias = Callable[[AnyConnection, int], Awaitable[None]]


class Watched:
    """A connection that calls ``hook`` ahead of each of its statements, with the statement's number."""

    def __init__(self, conn: AnyConnection, hook: Hook) -> None:
        self._conn = conn
        self._hook = hook
        self._numbers = count()

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._conn, name)
        if name not in {"fetch", "fetchrow", "fetchval", "execute", "executemany", "copy_records_to_table"}:
            return found

        async def call(*args: Any, **options: Any) -> Any:
            await self._hook(self._conn, next(self._numbers))
            return await found(*args, **options)

        return call


class Hooked:
    """Connections of a database that are watched."""

    def __init__(self, database: Database, hook: Hook) -> None:
        self._database = database
        self._hook = hook

    @asynccontextmanager
    async def use(self) -> AsyncIterator[AnyConnection]:
        async with self._database.use() as conn:
            watched: Any = Watched(conn, self._hook)
            yield watched


@pytest.fixture
async def work(database: Database) -> tuple[Lease, ScanRef]:
    """Give a run with a scan that has committed one page: the offers 1, 2 and 3."""
    lease = await claimed(Ledger(database, worker_id="w", lease_seconds=60))
    scan = await Scans(database).open(lease, resume_within_seconds=60)
    page = creating(*map(offer, (1, 2, 3)))
    await Mirror(database, lease_seconds=60).commit(lease, scan, page, PROGRESS, commits=0)
    return lease, scan


@pytest.mark.parametrize("statement", range(STATEMENTS))
async def test_a_killed_backend_leaves_nothing(
    database: Database, sql: Connection, work: tuple[Lease, ScanRef], statement: int
) -> None:
    """Whichever statement it does not survive, no table shows a trace of the page; the next try writes it all."""
    lease, scan = work
    before = await rows(sql)
    batch = everything(10, removed=2, start=100)

    async def kill(conn: AnyConnection, number: int) -> None:
        if number == statement:
            assert await sql.fetchval("SELECT pg_terminate_backend($1, 5000)", conn.get_server_pid())

    with pytest.raises(DatabaseError):
        await Mirror(Hooked(database, kill), lease_seconds=60).commit(lease, scan, batch, PROGRESS, commits=1)
    assert await rows(sql) == before
    mirror = Mirror(database, lease_seconds=60)
    assert await mirror.commits_of(lease) == 1
    await mirror.commit(lease, scan, batch, PROGRESS, commits=1)
    assert await counters(sql, lease.run_id) == await counted(sql, lease.run_id)
    assert await Scans(database).distinct_seen(scan) == 5


async def test_that_is_every_statement(database: Database, sql: Connection, work: tuple[Lease, ScanRef]) -> None:
    """The test above leaves no statement out."""
    numbers: list[int] = []

    async def note(_: AnyConnection, number: int) -> None:
        numbers.append(number)

    batch = everything(10, removed=2, start=100)
    await Mirror(Hooked(database, note), lease_seconds=60).commit(*work, batch, PROGRESS, commits=1)
    assert numbers == [*range(STATEMENTS)]


async def test_a_bad_row_takes_its_batch_along(
    database: Database, sql: Connection, work: tuple[Lease, ScanRef]
) -> None:
    """What PostgreSQL refuses, here an offer that is not JSON, leaves nothing of its page."""
    before = await rows(sql)
    batch = creating(offer(8), offer(9, raw=b"{"), start=100)
    with pytest.raises(DatabaseError, match="refused a statement"):
        await Mirror(database, lease_seconds=60).commit(*work, batch, PROGRESS, commits=1)
    assert await rows(sql) == before


async def test_a_commit_is_not_made_twice(database: Database, sql: Connection, work: tuple[Lease, ScanRef]) -> None:
    """The number of a commit that was made is refused, whatever the batch, and so is one that is ahead."""
    mirror = Mirror(database, lease_seconds=60)
    before = await rows(sql)
    for commits in (0, 2):
        for batch in (creating(offer(1)), removing(1)):
            with pytest.raises(FencedError):
                await mirror.commit(*work, batch, PROGRESS, commits=commits)
    assert await rows(sql) == before
    assert await mirror.commits_of(work[0]) == 1


async def test_a_second_try_waits_for_the_first(
    database: Database, sql: Connection, work: tuple[Lease, ScanRef]
) -> None:
    """While it is not known how the first ended, the second neither overtakes nor repeats it."""
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def pause(_: AnyConnection, number: int) -> None:
        if number == 1:
            begun.set()
            await go_on.wait()

    batch = creating(offer(8), start=100)
    slow, quick = Mirror(Hooked(database, pause), lease_seconds=60), Mirror(database, lease_seconds=60)
    first = asyncio.create_task(slow.commit(*work, batch, PROGRESS, commits=1))
    await begun.wait()
    second = asyncio.create_task(quick.commit(*work, batch, PROGRESS, commits=1))
    waits = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    while not await sql.fetchval(f"SELECT EXISTS ({waits})"):
        assert not second.done()
    go_on.set()
    await first
    with pytest.raises(FencedError):
        await second
    assert await counters(sql, work[0].run_id) == await counted(sql, work[0].run_id)


async def test_the_next_batch_waits_for_its_turn(
    database: Database, sql: Connection, work: tuple[Lease, ScanRef]
) -> None:
    """It is written while the one before is committed, is committed after it, and is nothing to anybody until then."""
    mirror, committed = Mirror(database, lease_seconds=60), asyncio.Event()
    waiting = asyncio.Event()

    async def turn() -> None:
        waiting.set()
        await committed.wait()

    batch = creating(offer(8), start=200)
    following = asyncio.create_task(mirror.commit(*work, batch, PROGRESS, commits=2, turn=turn))
    await waiting.wait()
    assert await sql.fetchval("SELECT count(*) FROM emag_products") == 3
    await mirror.commit(*work, creating(offer(7), start=100), PROGRESS, commits=1)
    committed.set()
    await following
    assert await sql.fetchval("SELECT array_agg(emag_id ORDER BY id) FROM emag_product_changes") == [1, 2, 3, 7, 8]
    assert await counters(sql, work[0].run_id) == await counted(sql, work[0].run_id)


async def test_a_batch_whose_turn_never_comes(database: Database, sql: Connection, work: tuple[Lease, ScanRef]) -> None:
    """What the one before failed of leaves nothing of the next, with something to write or without."""
    before = await rows(sql)

    async def turn() -> None:
        raise DatabaseError("the one before was not committed")

    for batch in (creating(offer(8), start=100), Batch(pages=[page(100, [1])])):
        with pytest.raises(DatabaseError, match="the one before"):
            await Mirror(database, lease_seconds=60).commit(*work, batch, PROGRESS, commits=1, turn=turn)
    assert await rows(sql) == before


class Cut:
    """A daemon behind a proxy that cuts its connection, and what the database says afterwards."""

    def __init__(self, proxy: Proxy, database: Database, sql: Connection, work: tuple[Lease, ScanRef]) -> None:
        self.proxy = proxy
        self.mirror = Mirror(database, lease_seconds=60)
        self.sql = sql
        self.work = work
        self.commits = 1
        self.answers_lost = 0

    async def commit(self, first_id: int) -> None:
        await self.mirror.commit(*self.work, everything(first_id, removed=1, start=0), PROGRESS, commits=self.commits)
        self.commits += 1

    async def bytes_of_a_commit(self) -> int:
        """Commit twice, so that everything is prepared, and return how many bytes the second took."""
        await self.commit(10)
        before = self.proxy.passed
        await self.commit(20)
        return self.proxy.passed - before

    async def commit_cut_after(self, size: int, first_id: int) -> None:
        """Commit while the connection is cut, look what came of it, and try again as a run does."""
        await self.commit(first_id)
        before = await rows(self.sql)
        self.proxy.cut_after(size)
        try:
            await self.commit(first_id + 2)
        except DatabaseError:
            made = await self.mirror.commits_of(self.work[0])
            assert made in {self.commits, self.commits + 1}
            if made == self.commits:
                assert await rows(self.sql) == before
                await self.commit(first_id + 2)
            else:
                self.answers_lost += 1
                with pytest.raises(FencedError):
                    await self.commit(first_id + 2)
                self.commits += 1
        self.proxy.resume()
        assert await counters(self.sql, self.work[0].run_id) == await counted(self.sql, self.work[0].run_id)


async def test_a_connection_cut_at_any_byte(database_url: str, sql: Connection, work: tuple[Lease, ScanRef]) -> None:
    """Before the server has the whole commit nothing is there; after it all is, and is not written again."""
    async with database_proxy(database_url) as (proxy, url):
        database = await Database.open(url, pool_max_size=1)
        cut = Cut(proxy, database, sql, work)
        size = await cut.bytes_of_a_commit()
        coarse, fine = range(1, size, size // 12), range(max(1, size - 400), size, 10)
        for n, passed in enumerate([*coarse, *fine]):
            await cut.commit_cut_after(passed, 1000 + 4 * n)
        await database.close(timeout=1)
    assert cut.answers_lost > 0
    assert await sql.fetchval("SELECT processed_items FROM emag_sync_logs") == 3 + 3 * (cut.commits - 1)
