"""Runs that read a part: the active offers, what a filter selects; and two accounts that must not mix."""

import asyncio

from emag_syncd.domain.runs import Operation
from emag_syncd.sandbox import Dice
from tests.sync.conftest import Open, Sql
from tests.sync.reference import assert_mirrors, mirrored, truth


async def test_an_incremental_run_sees_what_left_the_active_list(open_syncing: Open, sql: Sql) -> None:
    """Offers that are no longer active are read by id, and their status is in the mirror; the others come listed."""
    s = await open_syncing(offers=150)
    await s.sync()
    active = [emag_id for emag_id in s.main.catalogue.ids if s.main.catalogue.get(emag_id)["status"] == 1]
    for emag_id in active[:30]:
        s.main.catalogue.update(emag_id, status=0)
    s.main.catalogue.mutate_randomly(Dice("more"), 40)
    s.main.stats.reset()
    ended = await s.sync(Operation.INCREMENTAL)
    assert ended.status == "completed"
    assert all(exchange.body.get("status") == 1 or "id" in exchange.body for exchange in s.main.stats.exchanges)
    stored, wanted = await mirrored(sql), truth(s.main.catalogue)
    was_active = {*active, *(emag_id for emag_id, row in wanted.items() if row["status"] == 1)}
    for emag_id in was_active:
        assert stored[emag_id] == wanted[emag_id]
    assert (await s.sync()).status == "completed"
    await assert_mirrors(sql, s.main)


async def test_an_incremental_run_reads_fifty_by_id_at_most(open_syncing: Open, sql: Sql) -> None:
    """What left the active list beyond that is left to the runs to come, and none of it is called removed."""
    s = await open_syncing(offers=200)
    await s.sync()
    active = [emag_id for emag_id in s.main.catalogue.ids if s.main.catalogue.get(emag_id)["status"] == 1]
    for emag_id in active[:70]:
        s.main.catalogue.update(emag_id, status=2)
    for expected in (50, 20, 0):
        s.main.stats.reset()
        ended = await s.sync(Operation.INCREMENTAL)
        assert (ended.status, ended["updated_items"]) == ("completed", expected)
        assert sum("id" in exchange.body for exchange in s.main.stats.exchanges) == expected
    await assert_mirrors(sql, s.main)


async def test_inactive_offers_can_be_included(open_syncing: Open, sql: Sql) -> None:
    """With ``include_inactive`` an incremental run reads every offer, whatever its status."""
    s = await open_syncing(offers=120)
    ended = await s.sync(Operation.INCREMENTAL, include_inactive=True)
    assert (ended.status, ended["created_items"]) == ("completed", 120)
    await assert_mirrors(sql, s.main)


async def test_a_selective_run_touches_what_it_selects(open_syncing: Open, sql: Sql) -> None:
    """By status, stock, part number, key or id: just these are read, and just these are updated."""
    s = await open_syncing(offers=150)
    catalogue = s.main.catalogue
    await s.sync()
    one = next(emag_id for emag_id in catalogue.ids if catalogue.get(emag_id)["part_number_key"])
    row = catalogue.get(one)
    for filters in (
        {"id": one},
        {"part_number": row["part_number"]},
        {"part_number_key": row["part_number_key"]},
        {"general_stock": 3},
        {"status": 0, "offer_validation_status": 1},
    ):
        before = await mirrored(sql)
        for emag_id in catalogue.ids:
            catalogue.update(emag_id, name=f"{emag_id} of {filters}")
        ended = await s.sync(Operation.SELECTIVE, filters=filters)
        selected = catalogue.count(tuple(filters.items()))
        assert (ended.status, ended["updated_items"], ended["total_items"]) == ("completed", selected, selected)
        assert 0 < selected < 150
        after, wanted = await mirrored(sql), truth(catalogue)
        changed = {emag_id for emag_id in after if after[emag_id] != before[emag_id]}
        assert len(changed) == selected
        assert all(after[emag_id] == wanted[emag_id] for emag_id in changed)


async def test_a_selection_of_nothing_is_complete(open_syncing: Open, sql: Sql) -> None:
    """An id that no offer has is an answer, not an error, and removes nothing."""
    s = await open_syncing(offers=10)
    await s.sync()
    ended = await s.sync(Operation.SELECTIVE, filters={"id": 77})
    assert (ended.status, ended["processed_items"], ended["removed_items"]) == ("completed", 0, 0)
    assert len(await mirrored(sql)) == 10


async def test_an_unknown_filter_is_refused(open_syncing: Open) -> None:
    """A filter that the marketplace would silently ignore never reaches it."""
    s = await open_syncing(offers=10)
    ended = await s.sync(Operation.SELECTIVE, filters={"ean": "5941234567893"})
    assert (ended.status, ended.kinds) == ("failed", ["marketplace_rejected"])
    assert s.main.stats.requests == 0


async def test_accounts_do_not_mix(open_syncing: Open, sql: Sql) -> None:
    """Two accounts with the same ids and part numbers, synced at the same time, each have their own mirror."""
    s = await open_syncing("main", "fbe", offers=120)
    main, fbe = s.sandbox.accounts.values()
    assert main.catalogue.ids == fbe.catalogue.ids
    fbe.catalogue.remove(*fbe.catalogue.ids[:7])
    for _ in range(2):
        ends = await asyncio.gather(*(s.sync(account=name) for name in ("main", "fbe")))
        assert [ended.status for ended in ends] == ["completed"] * 2
        await assert_mirrors(sql, main)
        await assert_mirrors(sql, fbe)
        main.catalogue.remove(*main.catalogue.ids[-5:])
        fbe.catalogue.mutate_randomly(Dice("fbe"), 20)
    rows = await sql.fetch("SELECT account_type, count(*) FROM emag_product_changes GROUP BY 1")
    assert {row["account_type"]: row["count"] for row in rows} == {"main": 125, "fbe": 113 + ends[1]["updated_items"]}
