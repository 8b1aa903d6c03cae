"""The numbers of offers: counted in the background, and never waited for."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from emag_syncd.domain.errors import DatabaseError
from emag_syncd.storage.database import Database
from emag_syncd.storage.mirror import Mirror
from emag_syncd.supervision import counts as counts_module
from emag_syncd.supervision.counts import CHEAP_SECONDS, OfferCounts
from emag_syncd.telemetry.metrics import Metrics
from emag_syncd.telemetry.series import ProductState
from tests.support.offers import Connection
from tests.support.waiting import until

OFFERS = """
INSERT INTO emag_products (account_type, emag_id, status, general_stock, buy_button_rank, validation_status, removed_at)
VALUES ('main', 1, 1, 5, 1, 9, NULL), ('main', 2, 1, 0, 3, 9, NULL), ('main', 3, 0, 0, NULL, 8, NULL),
    ('main', 4, 2, 1, 2, 9, NULL), ('main', 5, 1, 0, 2, 8, now())
"""


@pytest.fixture
async def counts(database: Database) -> AsyncIterator[OfferCounts]:
    """Give counts that nobody asked for yet."""
    counts = OfferCounts(Mirror(database, lease_seconds=60), Metrics(["main"], "0"))
    yield counts
    await counts.close()


async def _counted(counts: OfferCounts) -> dict[str, int]:
    return dict((await counts.latest()).get("main", {}))


async def test_each_offer_counts_for_what_it_is(counts: OfferCounts, sql: Connection) -> None:
    """Removed offers count for nothing else, and those that are not on sale lose no buy button."""
    await sql.execute(OFFERS)
    await counts.count()
    assert await _counted(counts) == {
        "offers": 4,
        ProductState.ACTIVE: 2,
        ProductState.INACTIVE: 1,
        ProductState.END_OF_LIFE: 1,
        ProductState.REMOVED: 1,
        ProductState.SELLABLE: 0,
        ProductState.OUT_OF_STOCK: 1,
        ProductState.BUY_BUTTON_LOST: 1,
        ProductState.REJECTED: 1,
    }


async def test_a_count_is_kept_until_a_run_ended(counts: OfferCounts, sql: Connection) -> None:
    """What is asked often is counted once; the end of a run makes the next question count anew, and tells of it."""
    told: list[bool] = []
    counts.subscribe(lambda: told.append(True))
    await until(lambda: _counted_once(counts))
    await sql.execute(OFFERS)
    counts.heard("progress", {})
    assert await _counted(counts) == {}
    counts.heard("ended", {})
    await until(lambda: _counted(counts))
    assert told == [True]


async def _counted_once(counts: OfferCounts) -> bool:
    await counts.latest()
    return counts._counting is None


async def test_a_count_that_takes_long_holds_nobody_up(counts: OfferCounts, sql: Connection) -> None:
    """While the table can't be read at all, the last count is given at once."""
    await sql.execute(OFFERS)
    await counts.count()
    counts.heard("lost", {})
    async with sql.transaction():
        await sql.execute("LOCK TABLE emag_products")
        before = await _counted(counts)
        assert before[ProductState.ACTIVE] == 2
        await sql.execute("DELETE FROM emag_products WHERE emag_id = 1")
    await until(lambda: _is(counts, 1))


async def _is(counts: OfferCounts, active: int) -> bool:
    return (await _counted(counts))[ProductState.ACTIVE] == active


async def test_a_count_that_failed_is_made_anew(counts: OfferCounts, sql: Connection) -> None:
    """A database that can't count now is asked again, and whoever looks gets what there is."""
    await sql.execute("ALTER TABLE emag_products RENAME TO away")
    with pytest.raises(DatabaseError):
        await counts.count()
    assert await counts.latest() == {}
    await sql.execute("ALTER TABLE away RENAME TO emag_products")
    await sql.execute(OFFERS)
    await until(lambda: _counted(counts))


async def test_all_who_count_at_once_share_one_count(database: Database, counts: OfferCounts, sql: Connection) -> None:
    """The metrics, the API and the overview read all offers once; who gives up waiting takes it from nobody."""
    await sql.execute(OFFERS)
    async with sql.transaction():
        await sql.execute("LOCK TABLE emag_products")
        asked = [asyncio.create_task(work) for work in (counts.count(), counts.recent(max_age_seconds=60))]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(counts.count(), 0.1)
        waiting = (
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        assert await sql.fetchval(waiting) == 1
        assert not any(one.done() for one in asked)
    await asyncio.gather(*asked)
    assert (await counts.recent(max_age_seconds=60))["main"]["offers"] == 4


async def test_a_count_is_as_recent_as_it_is_asked_for(counts: OfferCounts, sql: Connection) -> None:
    """What was counted lately will do, unless a run has ended since; what is older is counted anew, and waited for."""
    await sql.execute(OFFERS)
    assert (await counts.recent(max_age_seconds=600))["main"]["offers"] == 4
    await sql.execute("DELETE FROM emag_products WHERE emag_id = 1")
    assert (await counts.recent(max_age_seconds=600))["main"]["offers"] == 4
    assert (await counts.recent(max_age_seconds=0))["main"]["offers"] == 3
    await sql.execute("DELETE FROM emag_products WHERE emag_id = 2")
    counts.heard("ended", {})
    assert (await counts.recent(max_age_seconds=600))["main"]["offers"] == 2


async def test_what_takes_long_is_done_seldom(
    counts: OfferCounts, sql: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a count that took its time, those who only keep up wait; who must know counts all the same."""
    async with sql.transaction():
        await sql.execute("LOCK TABLE emag_products")
        counting = asyncio.create_task(counts.count())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(counting), 2 * CHEAP_SECONDS)
    await counting
    await sql.execute(OFFERS)
    counts.heard("ended", {})
    await counts.keep_up()
    assert await _counted(counts) == {}
    assert (await counts.recent(max_age_seconds=60))["main"]["offers"] == 4
    await sql.execute("DELETE FROM emag_products WHERE emag_id = 1")
    monkeypatch.setattr(counts_module, "CHEAP_SECONDS", 60)
    await counts.keep_up()
    assert (await _counted(counts))["offers"] == 3
