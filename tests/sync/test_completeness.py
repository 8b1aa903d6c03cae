"""``completed`` means complete: what can't be known to be all of it is ``partial``, and says so."""

from collections.abc import Callable
from typing import Any

import pytest

from emag_syncd.domain.runs import Operation
from emag_syncd.sandbox import Catalogue, Dice, Fault, Kind, Oddities
from tests.sync.conftest import Open, Sql
from tests.sync.reference import assert_mirrors, mirrored, truth

COUNT, READ = "product_offer/count", "product_offer/read"
TENS = {"marketplace": {"page_size": 10}}
ONE_BY_ONE = {"marketplace": {"page_size": 10, "max_concurrent_requests": 1}}


@pytest.mark.parametrize(
    ("wrong_by", "operation"),
    [(wrong_by, Operation.FULL) for wrong_by in (-40, -1, 1, 300)]
    + [(1, Operation.INCREMENTAL), (-1, Operation.SELECTIVE)],
)
async def test_a_count_that_is_wrong_is_never_completed(
    open_syncing: Open, sql: Sql, wrong_by: int, operation: Operation
) -> None:
    """A run whose offers are not as many as the marketplace counts is partial, and names both numbers."""
    s = await open_syncing(offers=120)
    s.main.faults.add(Fault(Kind.COUNT_OFF, resource=COUNT, value=wrong_by, times=None))
    ended = await s.sync(operation)
    assert (ended.status, ended.kinds) == ("partial", ["protocol"])
    offers = ended["created_items"]
    assert f"counts {offers + wrong_by} offers" in ended.said
    assert f"found {offers} " in ended.said
    if operation is not Operation.INCREMENTAL:
        await assert_mirrors(sql, s.main)


@pytest.mark.parametrize("wrong_by", [10**5, 2**31])
async def test_a_count_beyond_all_offers(open_syncing: Open, sql: Sql, wrong_by: int) -> None:
    """Where one empty page follows another the catalogue is over: the rest of an absurd count is not asked for."""
    s = await open_syncing(offers=30, sections=ONE_BY_ONE)
    s.main.faults.add(Fault(Kind.COUNT_OFF, resource=COUNT, value=wrong_by, times=None))
    ended = await s.sync()
    assert (ended.status, ended.kinds) == ("partial", ["protocol"])
    assert f"counts {30 + wrong_by} offers" in ended.said
    assert s.main.stats.requests <= 3 * (3 + 10)
    await assert_mirrors(sql, s.main)


@pytest.mark.parametrize("wrong_by", [2**32, 2**63, 10**30])
async def test_a_count_that_can_not_be(open_syncing: Open, wrong_by: int) -> None:
    """More offers than there are ids is an answer that can't be used, and not a fault of the database."""
    s = await open_syncing(offers=30)
    s.main.faults.add(Fault(Kind.COUNT_OFF, resource=COUNT, value=wrong_by, times=None))
    ended = await s.sync()
    assert (ended.status, ended.kinds) == ("failed", ["protocol"])
    assert "base_url" in ended.said


async def test_empty_pages_in_the_middle_end_nothing(open_syncing: Open, sql: Sql) -> None:
    """However many of them there are: offers behind them are read, and what they hid is read after all."""
    s = await open_syncing(offers=200, sections={"marketplace": {"page_size": 10}})
    s.main.faults.add(*(Fault(Kind.EMPTY_PAGE, resource=READ, page=page) for page in range(5, 13)))
    assert (await s.sync()).status == "completed"
    await assert_mirrors(sql, s.main)


@pytest.mark.parametrize(("times", "readings"), [(1, 1), (2, 2)])
async def test_a_count_that_is_wrong_is_asked_again(open_syncing: Open, sql: Sql, times: int, readings: int) -> None:
    """One wrong count costs another count, and two in a row another reading, and no more than that."""
    s = await open_syncing(offers=120)
    s.main.faults.add(Fault(Kind.COUNT_OFF, resource=COUNT, value=3, skip=1, times=times))
    ended = await s.sync()
    assert ended.status == "completed"
    assert ended.counted("created", "unchanged", "processed") == (120, 120 * (readings - 1), 120 * readings)
    await assert_mirrors(sql, s.main)


async def test_what_was_read_is_counted_while_the_last_pages_come(open_syncing: Open) -> None:
    """The second count does not wait for the answers to the last pages, and one that agrees is the last request."""
    s = await open_syncing(offers=35, sections={"marketplace": {"page_size": 10, "requests_per_second": 5}})
    s.main.latency.low = s.main.latency.high = 1.0
    assert (await s.sync()).status == "completed"
    first, *pages, last = s.main.stats.exchanges
    assert [exchange.resource for exchange in (first, *pages, last)] == [COUNT, READ, READ, READ, READ, COUNT]
    assert last.in_flight > 1


@pytest.mark.parametrize("kind", [Kind.COUNT_NUMBERS, Kind.KEYED_RESULTS, Kind.OBJECT_RESULT])
async def test_other_forms_of_an_answer_are_understood(open_syncing: Open, sql: Sql, kind: Kind) -> None:
    """A list as an object, one offer without its list, a count in numbers: PHP's ways to say the same."""
    s = await open_syncing(offers=21, sections=TENS)
    s.main.faults.add(Fault(kind, times=None))
    assert (await s.sync()).status == "completed"
    await assert_mirrors(sql, s.main)


@pytest.mark.parametrize("offers", [0, 1, 10, 20, 21])
async def test_rows_beyond_the_count_are_read(open_syncing: Open, sql: Sql, offers: int) -> None:
    """Rows that are not counted push offers onto pages beyond the counted ones, which are read as well."""
    s = await open_syncing(offers=offers, sections=TENS, oddities=Oddities(unusable=25, duplicates=min(offers, 12)))
    ended = await s.sync()
    assert ended.status == "completed"
    assert ended.counted("created", "failed") == (offers, 25)
    await assert_mirrors(sql, s.main)


def _insert(catalogue: Catalogue) -> None:
    catalogue.add(front=True)


def _append(catalogue: Catalogue) -> None:
    catalogue.add()


def _remove_first(catalogue: Catalogue) -> None:
    catalogue.remove(catalogue.ids[0])


def _remove_last(catalogue: Catalogue) -> None:
    catalogue.remove(catalogue.ids[-1])


def _move_last(catalogue: Catalogue) -> None:
    catalogue.move_to_front(catalogue.ids[-1])


def _shuffle(catalogue: Catalogue) -> None:
    catalogue.shuffle(Dice("drift"))


DRIFTS = [_insert, _append, _remove_first, _remove_last, _move_last, _shuffle]


@pytest.mark.parametrize("drift", DRIFTS)
async def test_offers_that_move_while_they_are_read(
    open_syncing: Open, sql: Sql, drift: Callable[[Catalogue], Any]
) -> None:
    """Whatever moves before whichever page, a first run or a later one ends with an equal mirror, or as partial."""
    names = [f"{run}{page}" for run in ("first", "later") for page in range(1, 6)]
    s = await open_syncing(*names, offers=40, sections=ONE_BY_ONE)
    for name, account in s.sandbox.accounts.items():
        if name.startswith("later"):
            await s.sync(account=name)
        account.drift.reads = 0
        account.drift.before(int(name[-1]), drift)
        ended = await s.sync(account=name)
        if ended.status == "completed":
            await assert_mirrors(sql, account)
        else:
            assert (ended.status, ended.kinds) == ("partial", ["protocol"])
        assert (await s.sync(account=name)).status == "completed"
        await assert_mirrors(sql, account)


async def test_a_catalogue_that_never_rests_is_partial(open_syncing: Open, sql: Sql) -> None:
    """Offers that are replaced all the time end in an honest partial after a bounded number of readings."""
    s = await open_syncing(offers=50, sections=ONE_BY_ONE)
    for read in range(2, 40):
        s.main.drift.before(read, _insert)
    ended = await s.sync()
    assert (ended.status, ended.kinds) == ("partial", ["protocol"])
    assert "come and go" in ended.said
    assert len(s.main.stats.pages()) < 35


async def test_offers_that_leave_in_each_reading_are_partial(open_syncing: Open) -> None:
    """Numbers that agree by chance while offers leave prove nothing."""
    s = await open_syncing(offers=60, sections=ONE_BY_ONE)
    for read in range(2, 40, 3):
        s.main.drift.before(read, _remove_first)
    ended = await s.sync()
    assert (ended.status, ended.kinds) == ("partial", ["protocol"])


@pytest.mark.parametrize("kind", [Kind.EMPTY_PAGE, Kind.SHORT_PAGE])
@pytest.mark.parametrize("page", [1, 3, 5])
async def test_a_page_that_lacks_offers_once_is_made_good(open_syncing: Open, sql: Sql, kind: Kind, page: int) -> None:
    """A page that comes empty or short leaves the numbers in disagreement: another reading finds the rest."""
    s = await open_syncing(offers=45, sections=TENS)
    s.main.faults.add(Fault(kind, resource=READ, page=page))
    assert (await s.sync()).status == "completed"
    await assert_mirrors(sql, s.main)


@pytest.mark.parametrize(
    ("kind", "operation", "offers"),
    [
        (Kind.REPEAT_PAGE, Operation.FULL, 30),
        (Kind.REPEAT_PAGE, Operation.FULL, 240),
        (Kind.IGNORE_SIZE, Operation.FULL, 30),
        (Kind.IGNORE_FILTERS, Operation.INCREMENTAL, 240),
        (Kind.IGNORE_FILTERS, Operation.SELECTIVE, 30),
    ],
)
async def test_a_marketplace_that_ignores_what_it_is_asked(
    open_syncing: Open, sql: Sql, kind: Kind, operation: Operation, offers: int
) -> None:
    """Pages, sizes and filters that are ignored are found out: the run ends as protocol, the mirror is as before."""
    s = await open_syncing(offers=offers, sections=TENS)
    await s.sync()
    before = await mirrored(sql)
    s.main.faults.add(Fault(kind, resource=READ, times=None))
    asked = s.main.stats.requests
    filters = {"status": 0} if operation is Operation.SELECTIVE else {}
    ended = await s.sync(operation, filters=filters)
    assert ended.status in {"failed", "partial"}
    assert ended.kinds == ["protocol"]
    assert ended["removed_items"] == 0
    assert await mirrored(sql) == before == truth(s.main.catalogue)
    assert s.main.stats.requests - asked < 60


async def test_a_last_page_that_comes_for_every_later_one(open_syncing: Open, sql: Sql) -> None:
    """Past its end the list must be empty: a page that comes again there is no further page, and no endless list."""
    s = await open_syncing(offers=30, sections=TENS)
    s.main.faults.add(Fault(Kind.REPEAT_PAGE, resource=READ, page=4, times=None))
    ended = await s.sync()
    assert (ended.status, ended.kinds) == ("partial", ["protocol"])
    assert "from 31 on repeats the one from 21 on" in ended.said
    await assert_mirrors(sql, s.main)


async def test_max_pages_judges_nothing(open_syncing: Open, sql: Sql) -> None:
    """With ``max_pages`` a run reads that far: nothing is removed, no scan is begun or taken up."""
    s = await open_syncing(offers=60, sections=TENS)
    await s.sync()
    s.main.catalogue.remove(*s.main.catalogue.ids[5:15])
    s.main.stats.reset()
    ended = await s.sync(max_pages=2)
    assert (ended.status, ended["removed_items"], ended["pages_processed"]) == ("completed", 0, 2)
    assert sorted(s.main.stats.pages()) == [1, 2]
    assert await sql.fetchval("SELECT count(*) FROM emag_sync_scans") == 0
    ended = await s.sync(Operation.INCREMENTAL, max_pages=1, page_size=7)
    assert (ended.status, ended["processed_items"]) == ("completed", 7)
    assert len(await mirrored(sql)) == 60
