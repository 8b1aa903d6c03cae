"""Rows without a living process are ended, and runs that were ended stay ended: in the ledger and in its twin."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from emag_syncd.domain.batches import Batch
from emag_syncd.domain.errors import DatabaseError, FencedError
from emag_syncd.domain.runs import Counters, ErrorKind, Lease, Outcome, RunError, Status
from emag_syncd.storage.connections import Limits
from emag_syncd.storage.database import Database
from emag_syncd.storage.ledger import Ledger
from tests.support.offers import PROGRESS, STALE_AFTER, Connection, claimed, creating, offer
from tests.support.sides import AnyLedger, RealSide, Side

DONE = Outcome(Status.COMPLETED)


@pytest.fixture
async def impatient(database_url: str) -> AsyncIterator[Database]:
    """Give a database whose server soon frees what an idle transaction locked."""
    database = await Database.open(database_url, pool_max_size=5, limits=Limits(idle_in_transaction=0.3))
    yield database
    await database.close()


# Reap


async def test_reap_ends_what_nobody_holds(ledger: AnyLedger, side: Side) -> None:
    """The dead are ended with words that name their worker and when it was last seen; the living are not."""
    dead, alive = await claimed(ledger), await claimed(ledger, "fbe")
    old, young = await side.insert("old"), await side.insert("young")
    await side.grow_old(old, STALE_AFTER + 1)
    await side.grow_old(young, STALE_AFTER - 30)
    await side.expire(dead)
    assert await ledger.stale_count(stale_after_seconds=STALE_AFTER) == 2
    before = await ledger.get(dead.run_id)
    assert before is not None
    reaped = {row["id"]: row for row in await ledger.reap(stale_after_seconds=STALE_AFTER)}
    assert reaped.keys() == {dead.run_id, old}
    assert {row["id"] for row in await ledger.running()} == {alive.run_id, young}
    (error,) = msgspec.json.decode(reaped[dead.run_id]["errors"])
    assert (
        error["error"]
        == f"Stale: no sign of life from {ledger.worker_id} since {before['heartbeat_at']:%Y-%m-%d %H:%M:%S} UTC"
    )
    assert error["kind"] == "stale"
    assert datetime.fromisoformat(error["timestamp"]).utcoffset() == timedelta()
    (odd,) = msgspec.json.decode(reaped[old]["errors"])
    assert odd["error"].startswith("Stale: running since ")
    assert odd["error"].endswith(" without a lease")
    assert await ledger.reap(stale_after_seconds=STALE_AFTER) == []


async def test_two_reapers_share_the_dead(ledger: AnyLedger, side: Side) -> None:
    """Each dead run is ended, and told of, once."""
    leases = [await claimed(ledger, f"account-{n}") for n in range(20)]
    await side.expire(*leases)
    reapers = [side.daemon(f"r{n}") for n in range(4)]
    found: list[Any] = await asyncio.gather(*(one.reap(stale_after_seconds=STALE_AFTER) for one in reapers))
    ended = [row["id"] for reaped in found for row in reaped]
    assert sorted(ended) == sorted(lease.run_id for lease in leases)


async def overdue(database: Database, sql: Connection) -> tuple[Ledger, Lease]:
    """Return a ledger, and a run of it whose lease is over."""
    side = RealSide(database, sql)
    ledger = side.daemon("w")
    lease = await claimed(ledger)
    await side.expire(lease)
    return ledger, lease


async def test_a_run_that_hangs_inside_a_transaction_is_reaped(impatient: Database, sql: Connection) -> None:
    """Its lock holds the reaper off, until the server ends the idle transaction."""
    ledger, lease = await overdue(impatient, sql)
    with pytest.raises(DatabaseError, match="was lost"):
        await hang(impatient, lease, ledger)
    (row,) = await ledger.reap(stale_after_seconds=STALE_AFTER)
    assert row["id"] == lease.run_id


async def test_a_run_that_stands_still_between_two_messages_is_reaped(database: Database, sql: Connection) -> None:
    """A statement that is prepared and not yet executed is under way to the server, which waits without limit then."""
    ledger, lease = await overdue(database, sql)
    with pytest.raises(DatabaseError, match="was lost"):
        await stand_still(database, lease, ledger)
    ended = await ledger.get(lease.run_id)
    assert ended is not None
    assert ended["status"] == "failed"


async def stand_still(database: Database, lease: Lease, ledger: AnyLedger) -> None:
    """Lock the run's row and stop in the middle of the next statement, until the run is reaped."""
    async with database.use() as conn, conn.transaction():
        await conn.execute("UPDATE emag_sync_logs SET heartbeat_at = now() WHERE id = $1", lease.run_id)
        await conn.prepare("SELECT 'prepared'")
        (row,) = await ledger.reap(stale_after_seconds=STALE_AFTER)
        assert row["id"] == lease.run_id
        await conn.execute("SELECT 'executed'")


async def hang(database: Database, lease: Lease, ledger: AnyLedger) -> None:
    """Lock the run's row and do nothing more, until the server has enough of it."""
    async with asyncio.timeout(20), database.use() as conn, conn.transaction():
        await conn.execute("SELECT FROM emag_sync_logs WHERE id = $1 FOR UPDATE", lease.run_id)
        assert await ledger.reap(stale_after_seconds=STALE_AFTER) == []
        async with database.use() as other:
            # Waits for the lock, and so until the transaction is gone.
            await other.execute("SELECT FROM emag_sync_logs WHERE id = $1 FOR SHARE", lease.run_id)


# Ends by somebody else


async def test_an_ended_run_stays_ended(ledger: AnyLedger, side: Side) -> None:
    """Cancelled, cleaned up, reaped or set to failed by hand: from then on the run writes nothing at all."""
    mirror, scans = side.mirror, side.scans
    leases = [await claimed(ledger, account) for account in ("cancelled", "cleaned", "reaped", "by-hand")]
    opened = [(lease, await scans.open(lease, resume_within_seconds=60)) for lease in leases]
    await ledger.end([leases[0].run_id], Status.CANCELLED, RunError(ErrorKind.CANCELLED, "enough"))
    await side.grow_old(leases[1].run_id, 3600)
    assert [row["id"] for row in await ledger.clean_up(15)] == [leases[1].run_id]
    await side.expire(leases[2])
    await ledger.reap(stale_after_seconds=STALE_AFTER)
    await side.update(leases[3].run_id, status="failed")
    before = await side.versions()
    assert await ledger.beat(leases) == set()
    for lease, scan in opened:
        for batch in (creating(offer(1)), Batch(counters=Counters(processed_items=1))):
            with pytest.raises(FencedError, match=str(lease.run_id)):
                await mirror.commit(lease, scan, batch, PROGRESS, commits=0)
        with pytest.raises(FencedError):
            await scans.open(lease, resume_within_seconds=60)
        with pytest.raises(FencedError):
            await scans.next_pass(lease, scan)
        assert await mirror.commits_of(lease) is None
        assert await ledger.finish(lease, DONE, Counters()) is None
    assert await side.versions() == before


async def test_end_leaves_ended_runs_alone(ledger: AnyLedger, side: Side) -> None:
    """Of the ids that are asked for, only running ones are ended and told of."""
    ended, running = await claimed(ledger), await claimed(ledger, "fbe")
    await ledger.finish(ended, DONE, Counters())
    before = (await side.versions())["emag_sync_logs"]
    error = RunError(ErrorKind.INTERRUPTED, "its process is gone")
    found = await ledger.end([ended.run_id, running.run_id, uuid4()], Status.FAILED, error)
    assert [row["id"] for row in found] == [running.run_id]
    assert len(set(before) & set((await side.versions())["emag_sync_logs"])) == 1


async def test_what_is_locked_or_ended_is_left_alone(database: Database, sql: Connection) -> None:
    """Of the dead runs only those that run, and that nobody holds, are ended, without a wait and as asked for."""
    ledger = Ledger(database, worker_id="here/boot/1/2/abc", lease_seconds=60)
    ended, locked, free, other = [await claimed(ledger, account) for account in ("main", "fbe", "ro", "bg")]
    await ledger.finish(ended, DONE, Counters())
    error = RunError(ErrorKind.INTERRUPTED, "its process is gone")
    async with sql.transaction():
        await sql.execute("SELECT FROM emag_sync_logs WHERE id = $1 FOR UPDATE", locked.run_id)
        (row,) = await ledger.end_free([ended.run_id, locked.run_id, free.run_id], Status.FAILED, error)
    assert (row["id"], row["status"]) == (free.run_id, "failed")
    assert [told["error"] for told in msgspec.json.decode(row["errors"])] == ["its process is gone"]
    assert {row["id"] for row in await ledger.running()} == {locked.run_id, other.run_id}


async def test_clean_up_ends_only_what_is_older(ledger: AnyLedger, side: Side) -> None:
    """The endpoint's minutes are those since the start, whether the process lives or not."""
    young = await claimed(ledger)
    await side.grow_old(young.run_id, 14 * 60)
    old = await side.insert("fbe")
    await side.grow_old(old, 15 * 60 + 10)
    (row,) = await ledger.clean_up(15)
    (error,) = msgspec.json.decode(row["errors"])
    assert (row["id"], row["status"], error["kind"]) == (old, "failed", "stale")
    assert "more than 15 minutes" in error["error"]
    assert await ledger.beat([young]) == {young.run_id}


async def test_the_runs_of_a_host_are_found(side: Side) -> None:
    """A prefix is no pattern: the names of workers may hold % and _."""
    for account, worker in (("a", "h_st/1"), ("b", "host/1"), ("c", "h_st/2")):
        await claimed(side.daemon(worker), account)
    await side.insert("ended", worker_id="h_st/4", status="failed")
    found = await side.daemon("h_st/3").held_by("h_st/")
    assert sorted(worker for _, worker in found) == ["h_st/1", "h_st/2"]
