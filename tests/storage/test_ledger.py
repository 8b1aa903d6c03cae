"""The ledger: one run at a time, each slot once, leases that are renewed, and ends that are recorded once."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from asyncpg import Record

from emag_syncd.domain.errors import BusyError, SlotTakenError
from emag_syncd.domain.runs import Counters, ErrorKind, Lease, Operation, Outcome, RunError, Status, Trigger
from emag_syncd.storage.database import Database
from emag_syncd.storage.ledger import Ledger
from emag_syncd.storage.mirror import Mirror
from emag_syncd.storage.scans import Scans
from tests.support.offers import (
    PROGRESS,
    STALE_AFTER,
    Connection,
    by_hand,
    claimed,
    creating,
    expire,
    grow_old,
    offer,
    request,
    rows,
)

SLOT = datetime(2026, 5, 1, 4, 42, tzinfo=UTC)
DONE = Outcome(Status.COMPLETED)


@pytest.fixture
def ledger(database: Database) -> Ledger:
    """Give the ledger of a daemon."""
    return Ledger(database, worker_id="here/boot/1/2/abc", lease_seconds=60)


async def row_of(ledger: Ledger, run_id: UUID) -> dict[str, Any]:
    """Return a run's row with its errors decoded."""
    row = await ledger.get(run_id)
    assert row is not None
    return {**row, "errors": msgspec.json.decode(row["errors"])}


# Claim


async def test_a_claim_begins_a_run(ledger: Ledger, sql: Connection) -> None:
    """The row says what was asked, by whom, and holds a lease by the database's clock."""
    lease = await claimed(ledger, trigger=Trigger.SCHEDULE, scheduled_for=SLOT, max_pages=3)
    row = await row_of(ledger, lease.run_id)
    assert row["status"] == "running"
    assert (row["account_type"], row["sync_type"], row["operation"]) == ("main", "products", "full_sync")
    assert (row["triggered_by"], row["scheduled_for"], row["worker_id"]) == ("schedule", SLOT, ledger.worker_id)
    assert msgspec.json.decode(row["sync_params"]) == {"mode": "full", "max_pages": 3}
    assert timedelta(seconds=59) < row["lease_expires_at"] - row["started_at"] < timedelta(seconds=61)
    assert abs(await sql.fetchval("SELECT clock_timestamp()") - row["started_at"]) < timedelta(seconds=30)


async def test_only_one_of_twenty_claims_wins(ledger: Ledger) -> None:
    """Of twenty at once one gets the run, and the others learn which."""
    found = await asyncio.gather(*(claimed(ledger) for _ in range(20)), return_exceptions=True)
    (won,) = [one for one in found if isinstance(one, Lease)]
    refused = [one for one in found if isinstance(one, BusyError)]
    assert len(refused) == 19
    assert {one.run_id for one in refused} == {won.run_id}
    assert [row["id"] for row in await ledger.running()] == [won.run_id]


async def test_accounts_do_not_block_each_other(ledger: Ledger) -> None:
    """Another account's run, or one of another sync type, is in nobody's way."""
    assert len({(await claimed(ledger, account)).run_id for account in ("main", "fbe", "bg")}) == 3


async def test_claims_go_on_while_runs_come_and_go(ledger: Ledger) -> None:
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


async def test_a_slot_runs_once(ledger: Ledger) -> None:
    """The slot counts as taken while its run goes on and when it ended; other operations have their own."""
    lease = await claimed(ledger, scheduled_for=SLOT)
    for _ in range(2):
        with pytest.raises(SlotTakenError, match="main"):
            await claimed(ledger, scheduled_for=SLOT)
        await ledger.finish(lease, Outcome(Status.FAILED), Counters())
    await claimed(ledger, operation=Operation.INCREMENTAL, scheduled_for=SLOT)
    with pytest.raises(BusyError):
        await claimed(ledger, scheduled_for=SLOT + timedelta(days=1))


async def test_one_of_many_daemons_gets_a_slot(database: Database) -> None:
    """However many daemons want a slot, at whatever speed, it is run once."""
    daemons = [Ledger(database, worker_id=f"host{n}", lease_seconds=60) for n in range(8)]

    async def serve(ledger: Ledger) -> int:
        try:
            lease = await claimed(ledger, scheduled_for=SLOT)
        except SlotTakenError:
            return 0
        await ledger.finish(lease, DONE, Counters())
        return 1

    assert sum(await asyncio.gather(*map(serve, daemons))) == 1


async def test_a_claim_ends_the_expired_run_in_its_way(ledger: Ledger, sql: Connection) -> None:
    """The run of a dead process never blocks its successor, watchdog or not; whoever claims learns of it."""
    dead = await claimed(ledger)
    other = await claimed(ledger, "fbe")
    await expire(sql, dead, other)
    reaped: list[Record] = []
    alive = await ledger.claim(request(), stale_after_seconds=STALE_AFTER, on_reaped=reaped.extend)
    assert [row["id"] for row in reaped] == [dead.run_id]
    assert (await row_of(ledger, dead.run_id))["status"] == "failed"
    assert [row["id"] for row in await ledger.running()] == [other.run_id, alive.run_id]


async def test_a_claim_ends_an_old_row_without_lease(ledger: Ledger, sql: Connection) -> None:
    """A row by hand blocks as long as it may be alive, and no longer."""
    run_id = await by_hand(sql)
    await grow_old(sql, run_id, STALE_AFTER - 30)
    with pytest.raises(BusyError) as caught:
        await claimed(ledger)
    assert caught.value.run_id == run_id
    await ledger.claim(request(), stale_after_seconds=STALE_AFTER - 60)
    assert (await row_of(ledger, run_id))["errors"][0]["kind"] == "stale"


# Heartbeat


async def test_a_beat_renews_the_leases_of_all_accounts(ledger: Ledger, sql: Connection) -> None:
    """One statement renews every lease, even one that ran out but was not taken away."""
    leases = [await claimed(ledger, account) for account in ("main", "fbe", "bg")]
    await expire(sql, *leases)
    assert await ledger.beat(leases) == {lease.run_id for lease in leases}
    assert await ledger.reap(stale_after_seconds=STALE_AFTER) == []
    assert await ledger.stale_count(stale_after_seconds=STALE_AFTER) == 0


async def test_a_beat_tells_which_runs_are_not_ours_any_more(ledger: Ledger, sql: Connection) -> None:
    """Runs that were ended, deleted or claimed by another token are missing from the answer."""
    leases = {account: await claimed(ledger, account) for account in ("ended", "deleted", "foreign", "ours")}
    await ledger.end([leases["ended"].run_id], Status.CANCELLED, RunError(ErrorKind.CANCELLED, "enough"))
    await sql.execute("DELETE FROM emag_sync_logs WHERE account_type = 'deleted'")
    await sql.execute("UPDATE emag_sync_logs SET lease_token = $1 WHERE account_type = 'foreign'", uuid4())
    before = await rows(sql, "emag_sync_logs")
    assert await ledger.beat(list(leases.values())) == {leases["ours"].run_id}
    after = await rows(sql, "emag_sync_logs")
    assert len({row[2] for row in before["emag_sync_logs"]} - {row[2] for row in after["emag_sync_logs"]}) == 1


async def test_a_beat_does_not_wait_for_a_locked_row(ledger: Ledger, sql: Connection) -> None:
    """A run whose page is just being written keeps its place, and does not hold up the others."""
    locked, free = await claimed(ledger), await claimed(ledger, "fbe")
    async with sql.transaction():
        await sql.execute("SELECT FROM emag_sync_logs WHERE id = $1 FOR UPDATE", locked.run_id)
        before = (await row_of(ledger, free.run_id))["lease_expires_at"]
        async with asyncio.timeout(5):
            assert await ledger.beat([locked, free]) == {locked.run_id, free.run_id}
        assert (await row_of(ledger, free.run_id))["lease_expires_at"] > before


# Finish


async def test_finish_records_the_end(ledger: Ledger) -> None:
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


async def test_finish_happens_once(ledger: Ledger, sql: Connection) -> None:
    """A second end changes nothing, and the first one can be looked up."""
    lease = await claimed(ledger)
    assert await ledger.finish(lease, DONE, Counters()) is not None
    before = await rows(sql)
    assert await ledger.finish(lease, Outcome(Status.FAILED), Counters(api_requests_made=1)) is None
    assert await rows(sql) == before
    assert await ledger.ended_as(lease.run_id, Status.COMPLETED) is not None
    assert await ledger.ended_as(lease.run_id, Status.FAILED) is None


@pytest.mark.parametrize("scan_done", [True, False])
async def test_the_scan_goes_only_when_it_is_done(
    ledger: Ledger, database: Database, sql: Connection, *, scan_done: bool
) -> None:
    """A run that was cut short leaves its scan and the scan's pages; one that is through takes them away."""
    others = await claimed(ledger, "fbe")
    for lease in (await claimed(ledger), others):
        scan = await Scans(database).open(lease, resume_within_seconds=60)
        await Mirror(database, lease_seconds=60).commit(lease, scan, creating(offer(1)), PROGRESS, commits=0)
        if lease is not others:
            await ledger.finish(lease, Outcome(Status.PARTIAL, scan_done=scan_done), Counters())
    kept = {"fbe"} if scan_done else {"fbe", "main"}
    assert {row["account_type"] for row in await sql.fetch("SELECT account_type FROM emag_sync_scans")} == kept
    assert await sql.fetchval("SELECT count(*) FROM emag_sync_scan_pages") == len(kept)
