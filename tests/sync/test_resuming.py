"""A full scan that was cut short goes on where it stopped: nothing committed is read twice."""

import asyncio
from functools import partial
from typing import Any

import pytest

from emag_syncd.domain.runs import Operation
from emag_syncd.sandbox import Account, Fault, Kind
from emag_syncd.supervision.supervisor import Handle
from tests.support.syncing import Ended, Syncing, ended
from tests.support.waiting import until
from tests.sync.conftest import Open, Sql
from tests.sync.reference import assert_mirrors

COUNT, READ = "product_offer/count", "product_offer/read"
OFFERS, SIZE = 55, 10
PAGES = 6
ONE_BY_ONE = {"marketplace": {"page_size": SIZE, "max_concurrent_requests": 1}}
IN_TIME = {
    "sync": {"timeout_seconds": 3},
    "marketplace": {**ONE_BY_ONE["marketplace"], "request_timeout_seconds": 2.9},
}
EVERY_PAGE = [f"k{page}" for page in range(1, PAGES + 1)]


async def committed(sql: Sql, account: str) -> set[int]:
    """Return the pages that the unfinished scan of an account has."""
    rows = await sql.fetch(
        "SELECT p.start_at, p.end_at FROM emag_sync_scan_pages p JOIN emag_sync_scans s ON p.scan_id = s.id"
        " WHERE s.account_type = $1",
        account,
    )
    return {place // SIZE + 1 for row in rows for place in range(row["start_at"], row["end_at"], SIZE)}


async def assert_goes_on(s: Syncing, sql: Sql, account: Account, before: Ended | None) -> None:
    """Assert that the next run reads just what is missing, and that the two have done all of it together."""
    done = await committed(sql, account.name)
    account.faults.clear()
    account.stats.reset()
    after = await s.sync(account=account.name)
    assert after.status == "completed"
    # Where the last page was read before, one more shows that there is still nothing behind it.
    wanted = {*range(1, PAGES + 1)} - done | ({PAGES + 1} if PAGES in done else set())
    assert sorted(account.stats.pages()) == sorted(wanted)
    if before is not None:
        for counter in ("created", "processed"):
            assert before.counted(counter)[0] + after.counted(counter)[0] == OFFERS
        assert before["pages_processed"] == len(done)
    progress = await sql.fetchrow("SELECT * FROM emag_sync_progress WHERE account_type = $1", account.name)
    assert progress is not None
    assert (progress["processed_items"], progress["total_items"]) == (OFFERS, OFFERS)
    assert (progress["current_page"], progress["total_pages"]) == (PAGES, PAGES)
    await assert_mirrors(sql, account)
    assert await sql.fetchval("SELECT count(*) FROM emag_sync_scans WHERE account_type = $1", account.name) == 0


async def stopped_before(read: int, handle: Handle, account: Account) -> Ended:
    """Ask a run to stop when it makes its read number ``read``, and return how it ended."""
    account.drift.before(read, lambda _: handle.context.request_stop())
    return await ended(handle)


async def test_after_a_stop_at_any_page(open_syncing: Open, sql: Sql) -> None:
    """A run that is told to stop while page k is read ends as cancelled, and the next one begins at page k."""
    s = await open_syncing(*EVERY_PAGE, offers=OFFERS, sections=ONE_BY_ONE)
    for page, account in enumerate(s.sandbox.accounts.values(), start=1):
        stopped = await stopped_before(page, await s.start(account=account.name), account)
        assert (stopped.status, stopped.kinds) == ("cancelled", ["shutdown"])
        assert await committed(sql, account.name) == set(range(1, page))
        await assert_goes_on(s, sql, account, stopped)


async def test_after_a_timeout_at_any_page(open_syncing: Open, sql: Sql) -> None:
    """A run whose page k never comes is ended by its timeout; what it committed is not read again."""
    s = await open_syncing(*EVERY_PAGE, offers=OFFERS, sections=IN_TIME)
    accounts = list(s.sandbox.accounts.values())
    for page, account in enumerate(accounts, start=1):
        account.faults.add(Fault(Kind.HANG, resource=READ, page=page, times=None))
    ends = await asyncio.gather(*(s.sync(account=account.name) for account in accounts))
    for account, cut in zip(accounts, ends, strict=True):
        assert (cut.status, cut.kinds) == ("failed", ["timeout"])
        assert cut.said == "Product sync timed out after 3 seconds"
        await assert_goes_on(s, sql, account, cut)


async def crash(s: Syncing, sql: Sql, account: Account) -> None:
    """Let a run of an account die as by ``kill -9``: its row goes on saying that it runs, until its lease is over."""
    (handle,) = (handle for handle in s.core.supervisor.handles() if handle.lease.account == account.name)
    handle.interrupt(None)
    await handle.finished
    assert await sql.fetchval("SELECT status FROM emag_sync_logs WHERE id = $1", handle.lease.run_id) == "running"
    await sql.execute("UPDATE emag_sync_logs SET lease_expires_at = now() WHERE id = $1", handle.lease.run_id)


async def hanging(s: Syncing, account: Account, page: int, **request: Any) -> Handle:
    """Begin a run and return it once it waits for ``page``, which never comes."""
    account.faults.add(Fault(Kind.HANG, resource=READ, page=page, times=None))
    handle = await s.start(account=account.name, **request)
    await until(lambda: account.faults.struck[Kind.HANG])
    return handle


async def test_after_a_crash_at_any_page(open_syncing: Open, sql: Sql) -> None:
    """A run that dies without a word leaves its pages to the next one, which ends its row as stale."""
    s = await open_syncing(*EVERY_PAGE, offers=OFFERS, sections=ONE_BY_ONE)
    for page, account in enumerate(s.sandbox.accounts.values(), start=1):
        handle = await hanging(s, account, page)
        await crash(s, sql, account)
        assert await committed(sql, account.name) == set(range(1, page))
        row = await s.core.ledger.get(handle.lease.run_id)
        assert row is not None
        await assert_goes_on(s, sql, account, Ended(row))
        row = await s.core.ledger.get(handle.lease.run_id)
        assert row is not None
        assert Ended(row).kinds == ["stale"]


async def test_with_requests_in_flight(open_syncing: Open, sql: Sql) -> None:
    """With pages arriving out of order, too, just those that were not committed are read."""
    sections = {"marketplace": {"page_size": SIZE, "max_concurrent_requests": 4}}
    s = await open_syncing(*EVERY_PAGE, offers=OFFERS, sections=sections)
    for page, account in enumerate(s.sandbox.accounts.values(), start=1):
        account.latency.high = 0.01
        await hanging(s, account, page)
        query = "SELECT pages_processed = $1 FROM emag_sync_logs WHERE account_type = $2"
        await until(partial(sql.fetchval, query, PAGES - 1, account.name))
        await crash(s, sql, account)
        assert await committed(sql, account.name) == {*range(1, PAGES + 1)} - {page}
        await assert_goes_on(s, sql, account, None)


async def test_several_times(open_syncing: Open, sql: Sql) -> None:
    """A scan that is cut short again and again still reads each page once in all."""
    s = await open_syncing(offers=OFFERS, sections=ONE_BY_ONE)
    pages: list[int] = []
    for page in range(2, PAGES + 1):
        await hanging(s, s.main, page)
        await crash(s, sql, s.main)
        s.main.faults.clear()
        s.main.faults.struck.clear()
        pages += s.main.stats.pages()[:-1]  # the last one never came
        s.main.stats.reset()
    assert pages == list(range(1, PAGES))
    await assert_goes_on(s, sql, s.main, None)


@pytest.mark.parametrize("within", [0, 21600])
async def test_an_old_scan_is_begun_anew(open_syncing: Open, sql: Sql, within: int) -> None:
    """A scan older than ``resume_within_seconds`` says nothing about today: every page is read."""
    sections = {**ONE_BY_ONE, "sync": {"resume_within_seconds": within}}
    s = await open_syncing(offers=OFFERS, sections=sections)
    await hanging(s, s.main, 4)
    await crash(s, sql, s.main)
    await sql.execute("UPDATE emag_sync_scans SET started_at = started_at - interval '6 hours 1 minute'")
    s.main.faults.clear()
    s.main.stats.reset()
    assert (await s.sync())["pages_processed"] == PAGES
    assert s.main.stats.pages() == list(range(1, PAGES + 1))


async def test_another_kind_of_run_does_not_take_it_up(open_syncing: Open, sql: Sql) -> None:
    """An incremental run between the two neither uses nor loses what the full scan has read."""
    s = await open_syncing(offers=OFFERS, sections=ONE_BY_ONE)
    await hanging(s, s.main, 4)
    await crash(s, sql, s.main)
    s.main.faults.clear()
    assert (await s.sync(Operation.INCREMENTAL)).status == "completed"
    assert await committed(sql, "main") == {1, 2, 3}
    await assert_goes_on(s, sql, s.main, None)


async def test_offers_that_left_between_the_runs(open_syncing: Open, sql: Sql) -> None:
    """What moved between the two runs of a scan does not make the numbers agree by chance."""
    s = await open_syncing(offers=OFFERS, sections=ONE_BY_ONE)
    await hanging(s, s.main, 4)
    await crash(s, sql, s.main)
    s.main.catalogue.remove(s.main.catalogue.ids[0])
    s.main.faults.clear()
    assert (await s.sync()).status == "completed"
    await assert_mirrors(sql, s.main)


async def test_removals_go_on_where_they_stopped(open_syncing: Open, sql: Sql) -> None:
    """Removals that are proven are kept when the run is stopped between two of its reads by id."""
    s = await open_syncing(offers=60, sections={"marketplace": {"page_size": 100, "max_concurrent_requests": 5}})
    await s.sync()
    leaving = s.main.catalogue.ids[:20]
    s.main.catalogue.remove(*leaving)
    s.main.drift.reads = 0
    stopped = await stopped_before(1 + 8, await s.start(), s.main)
    before = stopped["removed_items"]
    assert stopped.status == "cancelled"
    assert 0 < before < 20
    s.main.stats.reset()
    after = await s.sync()
    assert (after.status, after["removed_items"]) == ("completed", 20 - before)
    assert len(s.main.stats.pages()) <= 1 + 20 - before
    await assert_mirrors(sql, s.main)
