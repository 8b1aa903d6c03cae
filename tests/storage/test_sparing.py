"""What a commit does not write."""

from dataclasses import replace

import pytest

from emag_syncd.domain.batches import Batch, Progress
from emag_syncd.domain.runs import Counters, Outcome, Status
from emag_syncd.storage.database import Database
from emag_syncd.storage.ledger import Ledger
from emag_syncd.storage.mirror import Mirror
from emag_syncd.storage.scans import Scans
from tests.support.offers import PROGRESS, Connection, claimed, creating, offer, page, rows


async def test_an_unchanged_page_writes_no_product(database_url: str, sql: Connection) -> None:
    """A page without changes moves counters and checkpoint, and does not touch the offers' table."""
    if sql.get_server_version().major < 15:
        pytest.skip("PostgreSQL 14 can't be told to flush its statistics")
    database = await Database.open(database_url, pool_max_size=1)
    mirror = Mirror(database, lease_seconds=60)
    lease = await claimed(Ledger(database, worker_id="w", lease_seconds=60))
    scan = await Scans(database).open(lease, resume_within_seconds=60)
    await mirror.commit(lease, scan, creating(*map(offer, range(1, 101))), PROGRESS, commits=0)
    offers, tables = await rows(sql, "emag_products", "emag_product_changes"), await written(database)
    for commits in (1, 2):
        same = Batch(pages=[page(0, range(1, 101))], counters=Counters(processed_items=100, unchanged_items=100))
        await mirror.commit(lease, scan, same, replace(PROGRESS, processed_items=4), commits=commits)
    assert await rows(sql, "emag_products", "emag_product_changes") == offers
    after = await written(database)
    assert {table for table in after if after[table] != tables[table]} == {
        "emag_sync_logs",
        "emag_sync_progress",
        "emag_sync_scan_pages",
    }
    await database.close()


async def test_progress_is_told_a_few_times_a_second(database: Database, sql: Connection) -> None:
    """Of many commits in a row not each moves it, but the last one of the catalogue does, and another run's first."""
    mirror = Mirror(database, lease_seconds=60)
    ledger = Ledger(database, worker_id="w", lease_seconds=60)
    lease = await claimed(ledger)
    told = set()
    for done in range(1, 51):
        progress = Progress(current_page=done, total_pages=50, processed_items=done, total_items=50)
        await mirror.commit(lease, None, Batch(), progress, commits=done - 1)
        told.add(await sql.fetchval("SELECT processed_items FROM emag_sync_progress"))
    assert {1, 50} <= told
    assert len(told) < 50
    await ledger.finish(lease, Outcome(Status.COMPLETED), Counters())
    lease = await claimed(ledger)
    await mirror.commit(lease, None, Batch(), replace(PROGRESS, processed_items=0), commits=0)
    assert await sql.fetchval("SELECT processed_items FROM emag_sync_progress") == 0


async def written(database: Database) -> dict[str, int]:
    """Return how many rows of each table were ever inserted, updated or deleted, or locked in vain."""
    async with database.use() as conn:
        await conn.execute("SELECT pg_stat_force_next_flush()")
        found = await conn.fetch(
            "SELECT relname, n_tup_ins + n_tup_upd + n_tup_del AS written FROM pg_stat_user_tables"
        )
    return {row["relname"]: row["written"] for row in found}
