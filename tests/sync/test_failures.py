"""What goes wrong at the marketplace ends in a recovery or in an honest error, never in a wrong mirror."""

import asyncio

import pytest

from emag_syncd.domain.runs import Operation
from emag_syncd.sandbox import Account, AccountSpec, Fault, Kind, Sandbox
from tests.support.failures import FINAL, HARMLESS, PASSING, UNAVAILABLE, named
from tests.support.syncing import ended, syncing
from tests.support.waiting import until
from tests.sync.conftest import Open, Sql
from tests.sync.reference import Rows, assert_mirrors, mirrored, truth

COUNT, READ = "product_offer/count", "product_offer/read"

# So many reads come before those by id: two pages of 10 that are full, and one that is not.
OFFERS, PAGES = 22, 3
CALLS = {"count": (COUNT, 0), "page": (READ, 0), "id": (READ, PAGES)}
IMPATIENT = {"page_size": 10, "max_attempts": 2, "request_timeout_seconds": 1.5, "max_concurrent_requests": 2}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("times", [1, None], ids=["once", "always"])
async def test_each_fault_in_each_kind_of_call(database_url: str, sql: Sql, call: str, times: int | None) -> None:
    """Met once, what may pass is tried again; met always, or when it can't pass, it ends the run under its name.

    Either way nothing wrong is in the mirror, nothing is removed without proof, and the next run is well.
    """
    faults = PASSING | FINAL | {(kind, None): "" for kind in HARMLESS}
    specs = {named(fault): AccountSpec(OFFERS, limited=False) for fault in faults}
    resource, skip = CALLS[call]
    few = asyncio.Semaphore(4)

    async def mirror_of(account: Account) -> Rows:
        async with sql_turn:
            return await mirrored(sql, account.name)

    sql_turn = asyncio.Lock()
    async with Sandbox(specs) as sandbox, syncing(sandbox, database_url, marketplace=IMPATIENT) as s:

        async def meet(fault: tuple[Kind, int | None], kind: str) -> None:
            async with few:
                account = sandbox.accounts[named(fault)]
                await s.sync(account=account.name)
                account.catalogue.remove(account.catalogue.ids[15])
                account.catalogue.update(account.catalogue.ids[0], sale_price=1.25)
                before, wanted = await mirror_of(account), truth(account.catalogue)
                struck = Fault(fault[0], resource=resource, skip=skip, value=fault[1], times=times, seconds=1)
                account.faults.add(struck)
                run = await s.sync(account=account.name)
                assert account.faults.struck[fault[0]] >= 1, fault
                stored = await mirror_of(account)
                if (times and fault in PASSING) or fault[0] in HARMLESS:
                    assert (run.status, run["errors"]) == ("completed", []), fault
                    assert stored == wanted, fault
                else:
                    assert run.status in {"failed", "partial"}, fault
                    assert run.kinds == [kind], (fault, run.said)
                    assert stored.keys() == before.keys(), fault
                    assert all(row in (before[emag_id], wanted.get(emag_id)) for emag_id, row in stored.items()), fault
                account.faults.clear()
                assert (await s.sync(account=account.name)).status == "completed", fault
                assert await mirror_of(account) == wanted, fault
                assert list(account.stats.violations) == [], fault

        await asyncio.gather(*(meet(fault, kind) for fault, kind in faults.items()))


@pytest.mark.parametrize("call", CALLS)
async def test_a_stop_does_not_wait_for_the_marketplace(open_syncing: Open, call: str) -> None:
    """Whatever the marketplace is asked when the daemon shuts down: an answer that never comes is not waited for."""
    s = await open_syncing(offers=OFFERS, sections={"marketplace": {"page_size": 10, "request_timeout_seconds": 60}})
    await s.sync()
    s.main.catalogue.remove(s.main.catalogue.ids[15])
    resource, skip = CALLS[call]
    s.main.faults.add(Fault(Kind.HANG, resource=resource, skip=skip, times=None))
    handle = await s.start()
    await until(lambda: s.main.faults.struck[Kind.HANG])
    handle.context.request_stop()
    run = await asyncio.wait_for(ended(handle), 20)
    assert (run.status, run.kinds) == ("cancelled", ["shutdown"])


async def test_an_answer_without_end_is_cut_off(open_syncing: Open, sql: Sql) -> None:
    """A body that goes on for ever costs one attempt, not the memory."""
    s = await open_syncing(offers=30, sections={"marketplace": IMPATIENT})
    s.main.faults.add(Fault(Kind.ENDLESS, resource=READ, page=2), Fault(Kind.COUNT_WORD, resource=COUNT))
    assert (await s.sync()).status == "completed"
    await assert_mirrors(sql, s.main)


async def test_answers_of_too_many_requests_are_waited_out(open_syncing: Open, sql: Sql) -> None:
    """429 is no failure however often it comes: the run waits, counts it, and goes on with the same page size."""
    s = await open_syncing(offers=100, sections={"marketplace": {"page_size": 20, "max_attempts": 2}})
    for skip in range(4):
        s.main.faults.add(Fault(Kind.STATUS, value=429, skip=skip * 2, times=3))
    run = await s.sync()
    assert (run.status, run["rate_limit_hits"]) == ("completed", 12)
    assert run["api_requests_made"] == s.main.stats.requests
    assert {exchange.size for exchange in s.main.stats.exchanges if exchange.resource == READ} <= {0, 20}
    await assert_mirrors(sql, s.main)


async def test_a_page_that_fails_for_ever_is_a_hole(open_syncing: Open, sql: Sql) -> None:
    """All other pages are read, the run is partial and names the hole; the next run reads just the hole."""
    s = await open_syncing(offers=95, sections={"marketplace": {"page_size": 10, "max_attempts": 3}})
    s.main.faults.add(
        *(Fault(Kind.STATUS, resource=READ, page=page, value=500, times=None) for page in (3, 10)),
    )
    run = await s.sync()
    assert (run.status, run.kinds) == ("partial", [UNAVAILABLE])
    assert "21 to 30" in run.said
    assert "91 to 100" in run.said
    assert run["created_items"] == 80
    assert s.main.faults.struck[Kind.STATUS] == 6
    assert len(await mirrored(sql)) == 80
    s.main.faults.clear()
    s.main.stats.reset()
    run = await s.sync()
    assert (run.status, run["created_items"]) == ("completed", 15)
    assert sorted(s.main.stats.pages()) == [3, 10]
    await assert_mirrors(sql, s.main)


async def test_one_offer_that_breaks_its_page_costs_few_others(open_syncing: Open, sql: Sql) -> None:
    """Where one place always fails, smaller pages around it get all but the smallest of them."""
    s = await open_syncing(offers=300)
    # Position 150 on: page 2 of 100, page 4 of 50, page 7 of 25, page 16 of 10.
    for page, above in ((2, 50), (4, 25), (7, 10), (16, 0)):
        s.main.faults.add(Fault(Kind.STATUS, resource=READ, page=page, above_size=above, value=502, times=None))
    run = await s.sync()
    assert (run.status, run.kinds) == ("partial", [UNAVAILABLE])
    assert run["created_items"] == 290
    assert "151 to 160 of 300" in run.said


@pytest.mark.parametrize(("most", "max_attempts"), [(10, 1), (10, 5), (25, 2), (50, 1)])
async def test_pages_get_smaller_until_they_come(open_syncing: Open, sql: Sql, most: int, max_attempts: int) -> None:
    """A marketplace that only answers small pages is read whole, however few attempts a page has."""
    s = await open_syncing(offers=700, sections={"marketplace": {"max_attempts": max_attempts}})
    s.main.faults.add(Fault(Kind.STATUS, resource=READ, value=504, above_size=most, times=None))
    run = await s.sync()
    assert (run.status, run["errors"]) == ("completed", [])
    sizes = [exchange.size for exchange in s.main.stats.exchanges if exchange.resource == READ]
    useless = sum(size > most for size in sizes)
    assert useless < 60, "larger ones are tried less and less"
    assert len(sizes) - useless <= 700 // most + 24
    await assert_mirrors(sql, s.main)


async def test_pages_grow_again(open_syncing: Open, sql: Sql) -> None:
    """Once large pages come again, they are asked for again."""
    s = await open_syncing(offers=2500, sections={"marketplace": {"max_concurrent_requests": 2}})
    s.main.faults.add(Fault(Kind.STATUS, resource=READ, value=504, above_size=25, times=4))
    assert (await s.sync()).status == "completed"
    sizes = [exchange.size for exchange in s.main.stats.exchanges if exchange.resource == READ]
    assert 25 in sizes
    assert sizes[-5:] == [100] * 5
    await assert_mirrors(sql, s.main)


@pytest.mark.parametrize("ceiling", [1, 6])
async def test_requests_in_flight_keep_the_ceiling(open_syncing: Open, ceiling: int) -> None:
    """As many requests are in flight as are allowed while there is work, and never more."""
    s = await open_syncing(offers=120, sections={"marketplace": {"page_size": 10, "max_concurrent_requests": ceiling}})
    # The first is not answered before the last has come, however busy the machine is.
    s.main.latency.low = s.main.latency.high = 0.2 * ceiling
    assert (await s.sync()).status == "completed"
    assert s.main.stats.max_in_flight == ceiling


async def test_failing_pages_thin_out_the_requests(open_syncing: Open) -> None:
    """While pages fail, fewer requests are in flight."""
    patient = {"page_size": 10, "max_concurrent_requests": 16, "max_attempts": 30}
    s = await open_syncing(offers=500, sections={"marketplace": patient})
    s.main.latency.low = s.main.latency.high = 0.01
    s.main.faults.add(Fault(Kind.STATUS, resource=READ, value=503, skip=16, times=16 + 8))
    assert (await s.sync()).status == "completed"
    reads = [exchange for exchange in s.main.stats.exchanges if exchange.resource == READ]
    failed = [exchange.in_flight for exchange in reads if exchange.outcome == Kind.STATUS]
    assert max(failed[-8:]) <= 8


async def test_a_marketplace_that_dies_in_mid_run(open_syncing: Open, sql: Sql) -> None:
    """After a bounded number of attempts the run fails as unavailable; its scan is kept, and so is the mirror."""
    s = await open_syncing(offers=300, sections={"marketplace": {"page_size": 10, "max_attempts": 3}})
    s.main.faults.add(Fault(Kind.RESET, skip=13, times=None))
    run = await s.sync()
    assert (run.status, run.kinds) == ("failed", [UNAVAILABLE])
    assert run["created_items"] == len(await mirrored(sql))
    assert 0 < run["created_items"] <= 120
    assert s.main.faults.struck[Kind.RESET] <= 24 + 12 + 6, "each round half as many"
    s.main.faults.clear()
    s.main.stats.reset()
    assert (await s.sync())["created_items"] == 300 - run["created_items"]
    await assert_mirrors(sql, s.main)


@pytest.mark.parametrize("operation", Operation)
async def test_a_refused_account_makes_one_request(open_syncing: Open, operation: Operation) -> None:
    """Wrong credentials are not tried again: that would spend the budget, or lock the account."""
    s = await open_syncing(offers=30)
    s.main.access.refused = 401
    run = await s.sync(operation)
    assert (run.status, run.kinds) == ("failed", ["credentials"])
    assert "accounts.main" in run.said
    assert s.main.password not in run.said
    assert s.main.stats.requests == 1
