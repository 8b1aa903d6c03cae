"""Offers that another program changes or deletes in ``emag_products``: no run leaves them so and calls it complete."""

import pytest

from tests.sync.conftest import Open, Sql
from tests.sync.reference import assert_mirrors

ONE_BY_ONE = {"marketplace": {"page_size": 10, "max_concurrent_requests": 1}}
MEDDLING = {
    "deleted": "DELETE FROM emag_products WHERE emag_id % 2 = 0",
    "marked as removed": "UPDATE emag_products SET removed_at = now() WHERE emag_id % 2 = 0",
    "truncated": "TRUNCATE emag_products",
}


async def meddle(sql: Sql, statement: str, passes: int) -> None:
    """Let ``statement`` be done in so many readings, each time before their last page is written."""
    await sql.execute(f"""
        CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {statement}; RETURN NULL; END $$;
        CREATE TRIGGER meddle AFTER INSERT ON emag_sync_scan_pages
            FOR EACH ROW WHEN (NEW.pass <= {passes} AND 30 >= NEW.start_at AND 30 < NEW.end_at)
            EXECUTE FUNCTION meddle();
    """)


@pytest.mark.parametrize("how", MEDDLING)
async def test_offers_that_go_while_others_are_read(open_syncing: Open, sql: Sql, how: str) -> None:
    """The catalogue is read again, and the run completes with all of it."""
    s = await open_syncing(offers=40, sections=ONE_BY_ONE)
    await meddle(sql, MEDDLING[how], passes=1)
    ended = await s.sync()
    assert (ended.status, *ended.counted("processed")) == ("completed", 80)
    await assert_mirrors(sql, s.main)


@pytest.mark.parametrize("how", MEDDLING)
async def test_offers_that_go_in_each_reading(open_syncing: Open, sql: Sql, how: str) -> None:
    """The run ends as partial and says why; left alone, the next one has everything."""
    s = await open_syncing(offers=40, sections=ONE_BY_ONE)
    await meddle(sql, MEDDLING[how], passes=99)
    ended = await s.sync()
    assert (ended.status, ended.kinds) == ("partial", ["database"])
    assert "are not in emag_products: somebody deletes rows" in ended.said
    await sql.execute("DROP TRIGGER meddle ON emag_sync_scan_pages")
    assert (await s.sync()).status == "completed"
    await assert_mirrors(sql, s.main)


async def test_offers_that_are_changed_by_hand_are_written_anew(open_syncing: Open, sql: Sql) -> None:
    """Only those: each is compared again although the marketplace did not change it, and the others are not written."""
    s = await open_syncing(offers=40, sections=ONE_BY_ONE)
    await s.sync()
    changes = ("name = 'by hand'", "sale_price = NULL", "ean = '{}'", "raw = '{}'", "general_stock = -1")
    for number, change in enumerate(changes):
        await sql.execute(
            f"UPDATE emag_products SET {change} WHERE emag_id = (SELECT emag_id FROM emag_products"
            f" ORDER BY emag_id OFFSET {number} LIMIT 1)"
        )
    ended = await s.sync()
    assert (ended.status, *ended.counted("updated", "unchanged")) == ("completed", len(changes), 40 - len(changes))
    await assert_mirrors(sql, s.main)
    assert (await s.sync()).counted("updated", "unchanged") == (0, 40)


async def test_a_row_that_is_set_to_what_it_is_stays_known(open_syncing: Open, sql: Sql) -> None:
    """Neither that nor a column of another program's own makes work for the next run."""
    s = await open_syncing(offers=10, sections=ONE_BY_ONE)
    await s.sync()
    await sql.execute("ALTER TABLE emag_products ADD COLUMN note text")
    await sql.execute("UPDATE emag_products SET name = name, note = 'ours'")
    assert await sql.fetchval("SELECT count(*) FROM emag_products WHERE raw_hash IS NULL") == 0
