"""The changes as they are followed: whoever asks for what came after misses nothing, however many write at once."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from emag_syncd.domain.changes import ChangeKind
from emag_syncd.storage.catalogue import Catalogue
from emag_syncd.storage.database import Database
from tests.support.offers import Connection
from tests.support.scale import scaled

APPEND = """
INSERT INTO emag_product_changes (account_type, emag_id, kind, changes)
SELECT $1, n, 'updated', '{"sale_price": {"old": 1, "new": 2.50}}' FROM generate_series(1, $2::int) AS n RETURNING id
"""


@pytest.fixture
def catalogue(database: Database) -> Catalogue:
    """Give an empty catalogue."""
    return Catalogue(database)


@asynccontextmanager
async def writing(url: str) -> AsyncIterator[Connection]:
    """Give a connection with an open transaction, which is rolled back unless it was committed."""
    conn = await asyncpg.connect(url)
    try:
        await conn.execute("BEGIN")
        yield conn
    finally:
        await conn.close()


async def ids(catalogue: Catalogue, after: int = 0, **wanted: Any) -> list[int]:
    """Return the ids of the changes that are shown."""
    return [row["id"] for row in await catalogue.changes_after(after, limit=1000, **wanted)]


async def test_what_commits_late_holds_back_what_came_later(catalogue: Catalogue, database_url: str) -> None:
    """Of two transactions the later one commits first: its changes wait for those of the earlier one."""
    async with writing(database_url) as early, writing(database_url) as late:
        await early.fetch(APPEND, "main", 2)
        await late.fetch(APPEND, "fbe", 2)
        await late.execute("COMMIT")
        assert await ids(catalogue) == []
        await early.execute("COMMIT")
        assert await ids(catalogue) == [1, 2, 3, 4]


async def test_what_was_settled_before_is_shown_meanwhile(catalogue: Catalogue, database_url: str) -> None:
    """A transaction that is under way hides nothing that was there before it; one that fails holds up nothing."""
    async with writing(database_url) as early:
        await early.fetch(APPEND, "main", 3)
        await early.execute("COMMIT")
    async with writing(database_url) as slow, writing(database_url) as late:
        await slow.fetch(APPEND, "main", 1)
        await late.fetch(APPEND, "fbe", 1)
        await late.execute("COMMIT")
        assert await ids(catalogue) == [1, 2, 3]
        assert await ids(catalogue, 2) == [3]
        await slow.execute("ROLLBACK")
        assert await ids(catalogue, 2) == [3, 5]


async def test_ids_beyond_what_a_lock_can_tell(catalogue: Catalogue, database_url: str, sql: Connection) -> None:
    """The same holds where ids need more than 32 bits, and where they cross such a border."""
    for start in (2**31 - 1, 2**32 - 1, 5 * 2**32 + 2**31):
        await sql.execute(f"ALTER TABLE emag_product_changes ALTER COLUMN id RESTART WITH {start}")
        await sql.fetch(APPEND, "main", 1)
        async with writing(database_url) as early, writing(database_url) as late:
            await early.fetch(APPEND, "main", 2)
            await late.fetch(APPEND, "fbe", 1)
            await late.execute("COMMIT")
            assert await ids(catalogue, start - 1) == [start]
            await early.execute("COMMIT")
            assert await ids(catalogue, start - 1) == [start + n for n in range(4)]


async def test_nobody_who_follows_misses_anything(catalogue: Catalogue, database_url: str) -> None:
    """Writers of several accounts commit in any order, some fail: a follower sees each change once, in order."""
    dice = random.Random(7)
    written: set[int] = set()
    writers = 4

    async def write(account: str) -> None:
        for _ in range(scaled(25)):
            async with writing(database_url) as conn:
                rows = await conn.fetch(APPEND, account, dice.randint(1, 5))
                await conn.execute("SELECT pg_sleep($1)", dice.random() / 50)
                if dice.random() > 0.1:
                    await conn.execute("COMMIT")
                    written.update(row["id"] for row in rows)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(write(f"account-{n}")) for n in range(writers)]
        seen: list[int] = []
        while not all(task.done() for task in tasks):
            seen += await ids(catalogue, seen[-1] if seen else 0)
    seen += await ids(catalogue, seen[-1] if seen else 0)
    assert seen == sorted(written)


async def test_the_feed_is_filtered(catalogue: Catalogue, sql: Connection) -> None:
    """By account and kind; the changes of one product and one run can be asked for, newest first, with its name."""
    run_id = await sql.fetchval(
        "INSERT INTO emag_sync_logs (account_type, operation) VALUES ('main', 'full_sync') RETURNING id"
    )
    await sql.fetch(APPEND, "main", 2)
    await sql.fetch(APPEND, "fbe", 1)
    await sql.execute(
        "INSERT INTO emag_product_changes (account_type, emag_id, kind, sync_log_id) VALUES ('main', 1, 'removed', $1)",
        run_id,
    )
    await sql.execute("INSERT INTO emag_products (account_type, emag_id, name) VALUES ('main', 1, 'Husă')")
    assert await ids(catalogue, account="main") == [1, 2, 4]
    assert await ids(catalogue, kind=ChangeKind.REMOVED) == [4]
    newest = await catalogue.changes_before(limit=2)
    assert [(row["id"], row["name"]) for row in newest] == [(4, "Husă"), (3, None)]
    assert [row["id"] for row in await catalogue.changes_before(3, limit=9, account="main")] == [2, 1]
    assert [row["id"] for row in await catalogue.changes_before(limit=9, run_id=run_id)] == [4]
    assert [row["id"] for row in await catalogue.changes_before(limit=9, column="sale_price")] == [3, 2, 1]
    assert [row["id"] for row in await catalogue.history("main", 1, limit=9)] == [4, 1]
    assert [row["id"] for row in await catalogue.history("main", 1, limit=9, before=4)] == [1]


async def test_points_for_charts(catalogue: Catalogue, sql: Connection) -> None:
    """A product's price, stock and rank are told when one of them changed, and when it went."""
    await sql.execute(
        "INSERT INTO emag_product_changes (account_type, emag_id, kind, changes) VALUES"
        """ ('main', 1, 'created', '{"sale_price": {"old": null, "new": 89.90}}'),"""
        """ ('main', 1, 'updated', '{"name": {"old": "a", "new": "b"}}'),"""
        """ ('main', 1, 'updated', '{"general_stock": {"old": 3, "new": 0}, "buy_button_rank": {"new": null}}'),"""
        """ ('main', 1, 'removed', '{}')"""
    )
    points = await catalogue.points("main", 1, limit=10)
    told = [(row["id"], row["sale_price"], row["general_stock"], row["buy_button_rank"]) for row in points]
    assert told == [(4, None, None, None), (3, None, b"0", b"null"), (1, b"89.90", None, None)]
    assert len(await catalogue.points("main", 1, limit=2)) == 2
