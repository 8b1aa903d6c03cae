"""Everything of a kind in batches: nothing is held between them, and nothing is missed or told twice."""

from collections.abc import AsyncGenerator, Callable

import pytest
from asyncpg import Record

from emag_syncd.domain.products import ProductFilter
from emag_syncd.storage import exports
from emag_syncd.storage.catalogue import Catalogue
from emag_syncd.storage.database import Database
from tests.support.offers import Connection

FILL = """
INSERT INTO emag_products (account_type, emag_id, name)
SELECT CASE n % 2 WHEN 0 THEN 'main' ELSE 'fbe' END, n, 'Husă ' || n FROM generate_series(1, 25) AS n;
INSERT INTO emag_product_changes (account_type, emag_id, kind)
SELECT account_type, emag_id, 'created' FROM emag_products;
INSERT INTO emag_sync_logs (account_type, operation, status, started_at)
SELECT 'main', 'full_sync', 'completed', '2026-01-01Z' FROM generate_series(1, 25)
"""

Batches = Callable[[Catalogue, ProductFilter], AsyncGenerator[list[Record], None]]


@pytest.mark.parametrize("batches", [exports.products, exports.changes, exports.runs])
async def test_batches_hold_nothing(
    database: Database, sql: Connection, monkeypatch: pytest.MonkeyPatch, batches: Batches
) -> None:
    """Between two batches no connection is in use; together they have every row once, those begun at once too."""
    monkeypatch.setattr(exports, "BATCH", 10)
    await sql.execute(FILL)
    seen = []
    async for rows in batches(Catalogue(database), ProductFilter()):
        assert database.pool_size()["used"] == 0
        assert len(rows) <= 10
        seen += [tuple(row.values())[:2] for row in rows]
    assert len(seen) == len(set(seen)) == 25


async def test_changes_of_what_is_searched(
    database: Database, sql: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search finds products, removed ones too, and tells the changes of all of them in order."""
    monkeypatch.setattr(exports, "BATCH", 2)
    await sql.execute(FILL)
    await sql.execute("UPDATE emag_products SET removed_at = now() WHERE emag_id = 22")
    wanted = ProductFilter(account="main", search="husă 2")
    found = [row["emag_id"] async for rows in exports.changes(Catalogue(database), wanted) for row in rows]
    assert sorted(found) == [2, 20, 22, 24]
