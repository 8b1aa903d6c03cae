"""An offer is called removed only on proof, and never many at once."""

import pytest

from emag_syncd.domain.runs import Operation
from emag_syncd.sandbox import Fault, Kind
from tests.sync.conftest import Open, Sql
from tests.sync.reference import assert_mirrors, mirrored

COUNT, READ = "product_offer/count", "product_offer/read"
TENS = {"marketplace": {"page_size": 10}}


async def removed(sql: Sql) -> set[int]:
    """Return the ids that are marked as removed."""
    rows = await sql.fetch("SELECT emag_id FROM emag_products WHERE removed_at IS NOT NULL")
    return {row["emag_id"] for row in rows}


async def test_what_is_neither_listed_nor_read_by_id_is_removed(open_syncing: Open, sql: Sql) -> None:
    """Offers that left are marked, their content stays, and the change log has them; the rest is untouched."""
    s = await open_syncing(offers=60)
    await s.sync()
    leaving = s.main.catalogue.ids[::9]
    s.main.catalogue.remove(*leaving)
    ended = await s.sync()
    assert (ended.status, ended["removed_items"]) == ("completed", len(leaving))
    assert await removed(sql) == set(leaving)
    assert await sql.fetchval("SELECT count(*) FROM emag_products WHERE removed_at IS NOT NULL AND raw IS NULL") == 0
    log = await sql.fetch("SELECT emag_id FROM emag_product_changes WHERE kind = 'removed'")
    assert {row["emag_id"] for row in log} == set(leaving)
    await assert_mirrors(sql, s.main)


@pytest.mark.parametrize("counted", [True, False])
async def test_what_only_a_read_by_id_finds_is_not_removed(open_syncing: Open, sql: Sql, counted: bool) -> None:
    """Offers missing from the lists but readable by id stay, whether the marketplace counts them or not."""
    s = await open_syncing(offers=60)
    await s.sync()
    hidden, gone = s.main.catalogue.ids[7], s.main.catalogue.ids[8]
    s.main.catalogue.remove(gone)
    s.main.catalogue._order.remove(hidden)
    if not counted:
        s.main.faults.add(Fault(Kind.COUNT_OFF, resource=COUNT, value=-1, times=None))
    for _ in range(2):
        assert (await s.sync()).status == "completed"
        assert await removed(sql) == {gone}


@pytest.mark.parametrize("operation", [Operation.INCREMENTAL, Operation.SELECTIVE])
async def test_only_a_full_run_removes(open_syncing: Open, sql: Sql, operation: Operation) -> None:
    """Runs that don't read everything mark nothing as removed, whatever reads by id say."""
    s = await open_syncing(offers=40)
    await s.sync()
    s.main.catalogue.remove(*s.main.catalogue.ids[:6])
    for include_inactive in (False, True):
        assert (await s.sync(operation, include_inactive=include_inactive)).status == "completed"
        assert await removed(sql) == set()


async def test_many_removals_at_once_are_none(open_syncing: Open, sql: Sql) -> None:
    """More than the guard lets pass: none is removed, and the run says how many of how many."""
    s = await open_syncing(offers=120)
    await s.sync()
    s.main.catalogue.remove(*s.main.catalogue.ids[20:70])
    s.main.catalogue.update(s.main.catalogue.ids[0], sale_price=77.5)
    ended = await s.sync()
    assert (ended.status, ended.kinds, ended["removed_items"]) == ("partial", ["removal_guard"], 0)
    assert "50 of 120" in ended.said
    assert "20" in ended.said
    assert await removed(sql) == set()
    assert ended["updated_items"] == 1, "what was read counts all the same"


async def test_a_guard_that_is_raised_lets_them_pass(open_syncing: Open, sql: Sql) -> None:
    """With the setting at 100 even everything may go at once."""
    s = await open_syncing(offers=70, sections={"sync": {"removal_guard_percent": 100}})
    await s.sync()
    s.main.catalogue.remove(*s.main.catalogue.ids)
    ended = await s.sync()
    assert (ended.status, ended["removed_items"]) == ("completed", 70)
    assert await mirrored(sql) == {}


@pytest.mark.parametrize(("gone", "allowed"), [(49, True), (50, False)])
async def test_the_guard_applies_from_fifty_on(open_syncing: Open, sql: Sql, gone: int, allowed: bool) -> None:
    """Of a small account fewer than fifty may go, whatever share of it they are."""
    s = await open_syncing(offers=60)
    await s.sync()
    s.main.catalogue.remove(*s.main.catalogue.ids[:gone])
    ended = await s.sync()
    assert ended.status == ("completed" if allowed else "partial")
    assert len(await removed(sql)) == (gone if allowed else 0)


@pytest.mark.parametrize(
    ("offers", "operation"),
    [(1, Operation.FULL), (30, Operation.FULL), (120, Operation.FULL), (120, Operation.INCREMENTAL)],
)
async def test_an_empty_marketplace_does_not_empty_the_mirror(
    open_syncing: Open, sql: Sql, offers: int, operation: Operation
) -> None:
    """A marketplace that suddenly has nothing at all is taken for a fault, however few offers there were."""
    s = await open_syncing(offers=offers)
    await s.sync()
    s.main.catalogue.remove(*s.main.catalogue.ids)
    ended = await s.sync(operation)
    assert len(await mirrored(sql)) == offers
    if operation is Operation.FULL:
        assert (ended.status, ended.kinds) == ("partial", ["removal_guard"])
        assert f"{offers} of {offers}" in ended.said


async def test_a_read_by_id_that_fails_removes_nothing_more(open_syncing: Open, sql: Sql) -> None:
    """When the proof can't be had the run fails and removes nothing; the next one reads no page again for it."""
    s = await open_syncing(offers=60, sections={"marketplace": {"page_size": 10, "max_attempts": 2}})
    await s.sync()
    leaving = s.main.catalogue.ids[:9]
    s.main.catalogue.remove(*leaving)
    pages = 6  # five full ones, one that is not
    s.main.faults.add(Fault(Kind.STATUS, resource=READ, value=503, skip=pages, times=None))
    ended = await s.sync()
    assert (ended.status, ended.kinds) == ("failed", ["marketplace_unavailable"])
    assert await removed(sql) == set()
    s.main.faults.clear()
    s.main.stats.reset()
    assert (await s.sync())["removed_items"] == len(leaving)
    assert len(s.main.stats.pages()) == 1 + len(leaving), "the end of the list, and each of them by id"
    await assert_mirrors(sql, s.main)


async def test_reads_by_id_keep_the_ceiling(open_syncing: Open) -> None:
    """Proving removals puts no more requests in flight than reading pages does."""
    s = await open_syncing(offers=120, sections={"marketplace": {"max_concurrent_requests": 3}})
    await s.sync()
    s.main.catalogue.remove(*s.main.catalogue.ids[:25])
    s.main.latency.low = s.main.latency.high = 0.01
    s.main.stats.reset()
    assert (await s.sync())["removed_items"] == 25
    assert s.main.stats.max_in_flight == 3
