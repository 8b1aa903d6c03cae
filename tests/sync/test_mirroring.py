"""The mirror equals the marketplace, whatever its offers look like and however they change between runs."""

from collections import Counter

import pytest

from emag_syncd.domain.runs import Operation
from emag_syncd.sandbox import ODD, UNFIT, UNUSABLE, AccountSpec, Dice, Oddities, Sandbox
from tests.support.syncing import syncing
from tests.support.waiting import until
from tests.sync.conftest import Open, Sql
from tests.sync.reference import assert_mirrors, expected, mirrored, truth

WILD = Oddities(odd=1.0, unfit=0.3, unusable=len(UNUSABLE), duplicates=5)


async def versions(sql: Sql) -> tuple[int, list[tuple[int, str]]]:
    """Return how many writes the products have seen so far, and the transaction that wrote each row."""
    # A connection's statistics are complete when it is gone.
    alone = (
        "SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = current_database()"
        " AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
    )
    await until(lambda: sql.fetchval(alone))
    await sql.execute("SELECT pg_stat_clear_snapshot()")
    written = await sql.fetchval(
        "SELECT n_tup_ins + n_tup_upd + n_tup_del FROM pg_stat_user_tables WHERE relname = 'emag_products'"
    )
    rows = await sql.fetch("SELECT emag_id, xmin::text FROM emag_products ORDER BY emag_id")
    return written, [(row["emag_id"], row["xmin"]) for row in rows]


@pytest.mark.parametrize("operation", Operation)
async def test_a_catalogue_full_of_oddities_is_mirrored(open_syncing: Open, sql: Sql, operation: Operation) -> None:
    """Every offer that a run reads is mirrored in every column, however odd; what has no id is set aside."""
    s = await open_syncing(offers=600, oddities=WILD)
    ended = await s.sync(operation, filters={"status": 1} if operation is Operation.SELECTIVE else {})
    assert (ended.status, ended["errors"]) == ("completed", [])
    wanted = truth(s.main.catalogue)
    if operation is not Operation.FULL:
        # What the marketplace takes for active: not all of these say so.
        facts = s.main.catalogue._facts
        wanted = {emag_id: row for emag_id, row in wanted.items() if facts(emag_id).status == 1}
    stored = await mirrored(sql)
    assert stored.keys() == wanted.keys()
    for emag_id, row in wanted.items():
        assert stored[emag_id] == row
    assert ended.counted("created", "updated", "removed") == (len(wanted), 0, 0)
    rejects = await sql.fetch("SELECT raw, reason, sync_log_id FROM emag_sync_rejects")
    full = operation is Operation.FULL
    assert Counter(row["raw"].encode() for row in rejects) == Counter(UNUSABLE.values() if full else ())
    assert all(row["reason"] and row["sync_log_id"] == ended["id"] for row in rejects)
    assert ended.counted("failed", "processed") == (len(rejects), len(wanted) + len(rejects))


async def test_values_that_fit_no_column_are_counted(open_syncing: Open) -> None:
    """A run says of each column how many values did not fit it, with an example."""
    s = await open_syncing(offers=300, oddities=Oddities(unfit=0.6))
    ended = await s.sync()
    unfit: Counter[str] = Counter()
    for _, raw in s.main.catalogue.truth():
        unfit.update(expected(raw)[1])
    assert {warning["column"]: warning["count"] for warning in ended["warnings"]} == unfit
    assert len(unfit) >= 8
    for warning in ended["warnings"]:
        assert warning["example"]
        assert warning["emag_id"] in s.main.catalogue


async def test_each_oddity_by_itself_is_mirrored(database_url: str, sql: Sql) -> None:
    """No kind of oddity hides behind another: an account of each mirrors all of its offers, changed ones too."""
    kinds = (*ODD, *UNFIT, *UNUSABLE)
    specs = {
        name: AccountSpec(5, seed=name, limited=False, oddities=Oddities(1.0, 1.0, 2, 1, frozenset({name})))
        for name in kinds
    }
    async with Sandbox(specs) as sandbox, syncing(sandbox, database_url) as s:
        for account in sandbox.accounts.values():
            first = await s.sync(account=account.name)
            assert first.status == "completed", account.name
            await assert_mirrors(sql, account)
            account.catalogue.mutate_randomly(Dice(account.name), 3)
            assert (await s.sync(account=account.name)).status == "completed", account.name
            await assert_mirrors(sql, account)
            assert list(account.stats.violations) == []


async def test_an_unchanged_catalogue_is_not_written(database_url: str, sql: Sql) -> None:
    """A second run over the same offers writes no product at all, and no row gets another version.

    Nor do runs to which they come in another order, or in the form that reads by id have.
    """
    async with Sandbox({"main": AccountSpec(300, limited=False, oddities=WILD)}) as sandbox:
        async with syncing(sandbox, database_url) as s:
            await s.sync()
        before = await versions(sql)
        assert before[0] == 300
        async with syncing(sandbox, database_url) as s:
            for operation in (Operation.FULL, Operation.INCREMENTAL):
                ended = await s.sync(operation)
                assert ended.status == "completed"
                assert ended.counted("created", "updated", "removed") == (0, 0, 0)
                assert ended["unchanged_items"] == ended["total_items"]
            s.main.catalogue.shuffle(Dice("order"))
            assert (await s.sync()).counted("created", "updated", "removed") == (0, 0, 0)
            by_id = await s.sync(Operation.SELECTIVE, filters={"id": s.main.catalogue.ids[0]})
            assert by_id.counted("updated", "unchanged") == (0, 1)
        assert await versions(sql) == before
