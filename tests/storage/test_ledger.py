"""The ledger and its twin: one run at a time, each slot once, leases that are renewed, ends that are recorded once."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest

from emag_syncd.domain.errors import BusyError, SetBackError, SlotTakenError
from emag_syncd.domain.runs import Counters, ErrorKind, Lease, Operation, Outcome, RunError, Status, Trigger
from emag_syncd.storage.database import Database
from tests.support.offers import PROGRESS, STALE_AFTER, Connection, claimed, creating, offer, request
from tests.support.sides import AnyLedger, RealSide, Side

SLOT = datetime(2026, 5, 1, 4, 42, tzinfo=UTC)
DONE = Outcome(Status.COMPLETED)


async def row_of(ledger: AnyLedger, run_id: UUID) -> dict[str, Any]:
    """Return a run's row with its errors decoded."""
    row = await ledger.get(run_id)
    assert row is not None
    return {**row, "errors": msgspec.json.decode(row["errors"])}


# Claim


async def test_a_claim_begins_a_run(ledger: AnyLedger, side: Side) -> None:
    """The row says what was asked, by whom, and holds a lease by the database's clock."""
    lease = await claimed(ledger, trigger=Trigger.SCHEDULE, scheduled_for=SLOT, max_pages=3)
    row = await row_of(ledger, lease.run_id)
    assert row["status"] == "running"
    assert (row["account_type"], row["sync_type"], row["operation"]) == ("main", "products", "full_sync")
    assert (row["triggered_by"], row["scheduled_for"], row["worker_id"]) == ("schedule", SLOT, ledger.worker_id)
    assert msgspec.json.decode(row["sync_params"]) == {"mode": "full", "max_pages": 3}
    assert timedelta(seconds=59) < row["lease_expires_at"] - row["started_at"] < timedelta(seconds=61)
    assert abs(await side.now() - row["started_at"]) < timedelta(seconds=30)


async def test_only_one_of_twenty_claims_wins(ledger: AnyLedger) -> None:
    """Of twenty at once one gets the run, and the others learn which."""
    found = await asyncio.gather(*(claimed(ledger) for _ in range(20)), return_exceptions=True)
    (won,) = [one for one in found if isinstance(one, Lease)]
    refused = [one for one in found if isinstance(one, BusyError)]
    assert len(refused) == 19
    assert {one.run_id for one in refused} == {won.run_id}
    assert [row["id"] for row in await ledger.running()] == [won.run_id]


async def test_a_refusal_names_the_run_in_the_way(ledger: AnyLedger, side: Side) -> None:
    """Ended runs of the account, older and younger ones, are not taken for it, nor are those of others."""
    await claimed(ledger, "fbe", scheduled_for=SLOT)
    await side.insert(status="completed")
    running = await claimed(ledger)
    await side.insert(status="failed")
    await side.insert(sync_type="orders", scheduled_for=SLOT)
    for slot in (None, SLOT):
        with pytest.raises(BusyError) as caught:
            await claimed(ledger, scheduled_for=slot)
        assert caught.value.run_id == running.run_id


async def test_accounts_do_not_block_each_other(ledger: AnyLedger) -> None:
    """Another account's run, or one of another sync type, is in nobody's way."""
    assert len({(await claimed(ledger, account)).run_id for account in ("main", "fbe", "bg")}) == 3


async def test_claims_go_on_while_runs_come_and_go(ledger: AnyLedger) -> None:
    """A claim is either granted or names a run: never a run that is gone already."""

    async def claim_and_finish() -> None:
        for _ in range(10):
            try:
                lease = await claimed(ledger)
            except BusyError as error:
                refused.append(error.run_id)
            else:
                await ledger.finish(lease, DONE, Counters())

    refused: list[UUID | None] = []
    await asyncio.gather(*(claim_and_finish() for _ in range(5)))
    assert None not in refused
    assert await ledger.running() == []


async def test_a_slot_runs_once(ledger: AnyLedger) -> None:
    """The slot counts as taken while its run goes on and when it ended; other operations have their own."""
    lease = await claimed(ledger, scheduled_for=SLOT)
    with pytest.raises(BusyError):
        await claimed(ledger, operation=Operation.INCREMENTAL, scheduled_for=SLOT)
    for _ in range(2):
        with pytest.raises(SlotTakenError, match="main"):
            await claimed(ledger, scheduled_for=SLOT)
        await ledger.finish(lease, Outcome(Status.FAILED), Counters())
    await claimed(ledger, operation=Operation.INCREMENTAL, scheduled_for=SLOT)
    with pytest.raises(BusyError):
        await claimed(ledger, scheduled_for=SLOT + timedelta(days=1))


async def test_one_of_many_daemons_gets_a_slot(side: Side) -> None:
    """However many daemons want a slot, at whatever speed, it is run once."""
    daemons = [side.daemon(f"host{n}") for n in range(8)]

    async def serve(ledger: AnyLedger) -> int:
        try:
            lease = await claimed(ledger, scheduled_for=SLOT)
        except SlotTakenError:
            return 0
        await ledger.finish(lease, DONE, Counters())
        return 1

    assert sum(await asyncio.gather(*map(serve, daemons))) == 1


async def test_a_claim_ends_the_expired_run_in_its_way(ledger: AnyLedger, side: Side) -> None:
    """The run of a dead process never blocks its successor, watchdog or not; whoever claims learns of it."""
    dead = await claimed(ledger)
    other = await claimed(ledger, "fbe")
    await side.expire(dead, other)
    reaped: list[Any] = []
    alive = await ledger.claim(request(), stale_after_seconds=STALE_AFTER, on_reaped=reaped.extend)
    assert [row["id"] for row in reaped] == [dead.run_id]
    assert (await row_of(ledger, dead.run_id))["status"] == "failed"
    assert [row["id"] for row in await ledger.running()] == [other.run_id, alive.run_id]


async def test_a_claim_ends_an_old_row_without_lease(ledger: AnyLedger, side: Side) -> None:
    """A row by hand blocks as long as it may be alive, and no longer."""
    run_id = await side.insert()
    await side.grow_old(run_id, STALE_AFTER - 30)
    with pytest.raises(BusyError) as caught:
        await claimed(ledger)
    assert caught.value.run_id == run_id
    await ledger.claim(request(), stale_after_seconds=STALE_AFTER - 60)
    assert (await row_of(ledger, run_id))["errors"][0]["kind"] == "stale"


async def test_a_claim_whose_answer_was_lost_is_found_again(ledger: AnyLedger, side: Side) -> None:
    """The same request, tried again, holds the run that it began; to all others, and once it ended, it is taken."""
    wanted = request(scheduled_for=SLOT)
    lease = await ledger.claim(wanted, stale_after_seconds=STALE_AFTER)
    assert await ledger.claim(wanted, stale_after_seconds=STALE_AFTER) == lease
    assert [row["id"] for row in await ledger.running()] == [lease.run_id]
    for other, same in ((ledger, request(scheduled_for=SLOT)), (side.daemon("other"), wanted)):
        with pytest.raises(SlotTakenError):
            await other.claim(same, stale_after_seconds=STALE_AFTER)
    assert await ledger.finish(lease, DONE, Counters()) is not None
    await side.update(lease.run_id, scheduled_for=None)
    with pytest.raises(SlotTakenError):
        await ledger.claim(wanted, stale_after_seconds=STALE_AFTER)


# Heartbeat


async def test_a_beat_renews_the_leases_of_all_accounts(ledger: AnyLedger, side: Side) -> None:
    """One statement renews every lease, even one that ran out but was not taken away."""
    leases = [await claimed(ledger, account) for account in ("main", "fbe", "bg")]
    await side.expire(*leases)
    before = [await row_of(ledger, lease.run_id) for lease in leases]
    assert await ledger.beat(leases) == {lease.run_id for lease in leases}
    for row in before:
        assert row["heartbeat_at"] < (await row_of(ledger, row["id"]))["heartbeat_at"]
    assert await ledger.reap(stale_after_seconds=STALE_AFTER) == []
    assert await ledger.stale_count(stale_after_seconds=STALE_AFTER) == 0


async def test_a_beat_tells_which_runs_are_not_ours_any_more(ledger: AnyLedger, side: Side) -> None:
    """Runs that were ended, deleted or claimed by another token are missing from the answer."""
    leases = {account: await claimed(ledger, account) for account in ("ended", "deleted", "foreign", "ours")}
    await ledger.end([leases["ended"].run_id], Status.CANCELLED, RunError(ErrorKind.CANCELLED, "enough"))
    await side.delete(leases["deleted"].run_id)
    await side.update(leases["foreign"].run_id, lease_token=uuid4())
    before = (await side.versions())["emag_sync_logs"]
    assert await ledger.beat(list(leases.values())) == {leases["ours"].run_id}
    assert len(set(before) - set((await side.versions())["emag_sync_logs"])) == 1


async def test_a_beat_does_not_wait_for_a_locked_row(database: Database, sql: Connection) -> None:
    """A run whose page is just being written keeps its place, and does not hold up the others."""
    ledger = RealSide(database, sql).daemon("w")
    locked, free = await claimed(ledger), await claimed(ledger, "fbe")
    async with sql.transaction():
        await sql.execute("SELECT FROM emag_sync_logs WHERE id = $1 FOR UPDATE", locked.run_id)
        before = (await row_of(ledger, free.run_id))["lease_expires_at"]
        async with asyncio.timeout(5):
            assert await ledger.beat([locked, free]) == {locked.run_id, free.run_id}
        assert (await row_of(ledger, free.run_id))["lease_expires_at"] > before


# Finish


async def test_finish_records_the_end(ledger: AnyLedger) -> None:
    """Status, errors in the contract's form, what was not recorded before, and how long it took."""
    lease = await claimed(ledger)
    outcome = Outcome.of(Status.PARTIAL, ErrorKind.MARKETPLACE_UNAVAILABLE, "503 \x00 again")
    row = await ledger.finish(lease, outcome, Counters(api_requests_made=3, rate_limit_hits=1), [{"column": "name"}])
    assert row is not None
    assert (row["status"], row["api_requests_made"], row["rate_limit_hits"]) == ("partial", 3, 1)
    (error,) = msgspec.json.decode(row["errors"])
    assert (error["error"], error["kind"]) == ("503 \ufffd again", "marketplace_unavailable")
    assert datetime.fromisoformat(error["timestamp"]).tzinfo is not None
    assert msgspec.json.decode(row["warnings"]) == [{"column": "name"}]
    assert row["duration_seconds"] == (row["completed_at"] - row["started_at"]).total_seconds()
    assert (row["lease_token"], row["lease_expires_at"]) == (None, None)


async def test_finish_happens_once(ledger: AnyLedger, side: Side) -> None:
    """A second end changes nothing, and the first one can be looked up."""
    lease = await claimed(ledger)
    assert await ledger.finish(lease, DONE, Counters()) is not None
    before = await side.versions()
    assert await ledger.finish(lease, Outcome(Status.FAILED), Counters(api_requests_made=1)) is None
    assert await side.versions() == before
    assert await ledger.ended_as(lease.run_id, Status.COMPLETED) is not None
    assert await ledger.ended_as(lease.run_id, Status.FAILED) is None


async def test_finish_misses_no_commit(ledger: AnyLedger, side: Side) -> None:
    """A run ends with all the commits that it made, and with what they said, or not at all."""
    lease = await claimed(ledger)
    batch = creating(offer(1))
    batch.warnings = [{"column": "name"}]
    await side.mirror.commit(lease, None, batch, PROGRESS, commits=0)
    with pytest.raises(SetBackError, match="made 2 commits"):
        await ledger.finish(lease, DONE, Counters(), commits=2)
    assert (await row_of(ledger, lease.run_id))["status"] == "running"
    row = await ledger.finish(lease, DONE, Counters(), commits=1)
    assert row is not None
    assert msgspec.json.decode(row["warnings"]) == [{"column": "name"}]
    assert await ledger.finish(lease, DONE, Counters(), commits=2) is None


@pytest.mark.parametrize("scan_done", [True, False])
async def test_the_scan_goes_only_when_it_is_done(ledger: AnyLedger, side: Side, *, scan_done: bool) -> None:
    """A run that was cut short leaves its scan and the scan's pages; one that is through takes them away."""
    for lease in (await claimed(ledger, "fbe"), ours := await claimed(ledger)):
        scan = await side.scans.open(lease, resume_within_seconds=60)
        await side.mirror.commit(lease, scan, creating(offer(1)), PROGRESS, commits=0)
    await ledger.finish(ours, Outcome(Status.PARTIAL, scan_done=scan_done), Counters())
    kept = {"fbe"} if scan_done else {"fbe", "main"}
    state = await side.state()
    assert {account for account, *_ in state["scans"].values()} == kept
    assert [scan_id for scan_id, *_ in state["pages"]] == sorted(state["scans"])
