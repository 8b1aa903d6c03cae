"""Rows without a living process are ended, and runs that were ended stay ended."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from uuid import uuid4

import msgspec
import pytest

from emag_syncd.domain.batches import Batch
from emag_syncd.domain.errors import DatabaseError, FencedError
from emag_syncd.domain.runs import Counters, ErrorKind, Lease, Outcome, RunError, Status
from emag_syncd.storage.connections import Limits
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
    rows,
)

DONE = Outcome(Status.COMPLETED)


@pytest.fixture
def ledger(database: Database) -> Ledger:
    """Give the ledger of a daemon."""
    return Ledger(database, worker_id="here/boot/1/2/abc", lease_seconds=60)


@pytest.fixture
async def impatient(database_url: str) -> AsyncIterator[Database]:
    """Give a database whose server soon frees what an idle transaction locked."""
    database = await Database.open(database_url, pool_max_size=5, limits=Limits(idle_in_transaction=0.3))
    yield database
    await database.close()


# Reap


async def test_reap_ends_what_nobody_holds(ledger: Ledger, sql: Connection) -> None:
    """The dead are ended with words that name their worker and when it was last seen; the living are not."""
    dead, alive = await claimed(ledger), await claimed(ledger, "fbe")
    old, young = await by_hand(sql, "old"), await by_hand(sql, "young")
    await grow_old(sql, old, STALE_AFTER + 1)
    await grow_old(sql, young, STALE_AFTER - 30)
    await expire(sql, dead)
    assert await ledger.stale_count(stale_after_seconds=STALE_AFTER) == 2
    seen = await sql.fetchval("SELECT heartbeat_at FROM emag_sync_logs WHERE id = $1", dead.run_id)
    reaped = {row["id"]: row for row in await ledger.reap(stale_after_seconds=STALE_AFTER)}
    assert reaped.keys() == {dead.run_id, old}
    assert {row["id"] for row in await ledger.running()} == {alive.run_id, young}
    (error,) = msgspec.json.decode(reaped[dead.run_id]["errors"])
    assert error["error"] == f"Stale: no sign of life from {ledger.worker_id} since {seen:%Y-%m-%d %H:%M:%S} UTC"
    assert error["kind"] == "stale"
    assert datetime.fromisoformat(error["timestamp"]).utcoffset() == timedelta()
    (odd,) = msgspec.json.decode(reaped[old]["errors"])
    assert odd["error"].startswith("Stale: running since ")
    assert odd["error"].endswith(" without a lease")
    assert await ledger.reap(stale_after_seconds=STALE_AFTER) == []


async def test_two_reapers_share_the_dead(ledger: Ledger, database: Database, sql: Connection) -> None:
    """Each dead run is ended, and told of, once."""
    leases = [await claimed(ledger, f"account-{n}") for n in range(20)]
    await expire(sql, *leases)
    reapers = [Ledger(database, worker_id=f"r{n}", lease_seconds=60) for n in range(4)]
    found = await asyncio.gather(*(one.reap(stale_after_seconds=STALE_AFTER) for one in reapers))
    ended = [row["id"] for reaped in found for row in reaped]
    assert sorted(ended) == sorted(lease.run_id for lease in leases)


async def test_a_run_that_hangs_inside_a_transaction_is_reaped(impatient: Database, sql: Connection) -> None:
    """Its lock holds the reaper off, until the server ends the idle transaction."""
    ledger = Ledger(impatient, worker_id="w", lease_seconds=60)
    lease = await claimed(ledger)
    await expire(sql, lease)
    with pytest.raises(DatabaseError, match="was lost"):
        await hang(impatient, lease, ledger)
    (row,) = await ledger.reap(stale_after_seconds=STALE_AFTER)
    assert row["id"] == lease.run_id


async def hang(database: Database, lease: Lease, ledger: Ledger) -> None:
    """Lock the run's row and do nothing more, until the server has enough of it."""
    async with asyncio.timeout(20), database.use() as conn, conn.transaction():
        await conn.execute("SELECT FROM emag_sync_logs WHERE id = $1 FOR UPDATE", lease.run_id)
        assert await ledger.reap(stale_after_seconds=STALE_AFTER) == []
        async with database.use() as other:
            # Waits for the lock, and so until the transaction is gone.
            await other.execute("SELECT FROM emag_sync_logs WHERE id = $1 FOR SHARE", lease.run_id)


# Ends by somebody else


async def test_an_ended_run_stays_ended(ledger: Ledger, database: Database, sql: Connection) -> None:
    """Cancelled, cleaned up, reaped or set to failed by hand: from then on the run writes nothing at all."""
    mirror, scans = Mirror(database, lease_seconds=60), Scans(database)
    leases = [await claimed(ledger, account) for account in ("cancelled", "cleaned", "reaped", "by-hand")]
    opened = [(lease, await scans.open(lease, resume_within_seconds=60)) for lease in leases]
    await ledger.end([leases[0].run_id], Status.CANCELLED, RunError(ErrorKind.CANCELLED, "enough"))
    await grow_old(sql, leases[1].run_id, 3600)
    assert [row["id"] for row in await ledger.clean_up(15)] == [leases[1].run_id]
    await expire(sql, leases[2])
    await ledger.reap(stale_after_seconds=STALE_AFTER)
    await sql.execute("UPDATE emag_sync_logs SET status = 'failed' WHERE account_type = 'by-hand'")
    before = await rows(sql)
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
    assert await rows(sql) == before


async def test_end_leaves_ended_runs_alone(ledger: Ledger, sql: Connection) -> None:
    """Of the ids that are asked for, only running ones are ended and told of."""
    ended, running = await claimed(ledger), await claimed(ledger, "fbe")
    await ledger.finish(ended, DONE, Counters())
    before = (await rows(sql, "emag_sync_logs"))["emag_sync_logs"]
    error = RunError(ErrorKind.INTERRUPTED, "its process is gone")
    found = await ledger.end([ended.run_id, running.run_id, uuid4()], Status.FAILED, error)
    assert [row["id"] for row in found] == [running.run_id]
    assert len(set(before) & set((await rows(sql, "emag_sync_logs"))["emag_sync_logs"])) == 1


async def test_clean_up_ends_only_what_is_older(ledger: Ledger, sql: Connection) -> None:
    """The endpoint's minutes are those since the start, whether the process lives or not."""
    young = await claimed(ledger)
    old = await by_hand(sql, "fbe")
    await grow_old(sql, old, 16 * 60)
    (row,) = await ledger.clean_up(15)
    (error,) = msgspec.json.decode(row["errors"])
    assert (row["id"], row["status"], error["kind"]) == (old, "failed", "stale")
    assert "more than 15 minutes" in error["error"]
    assert await ledger.beat([young]) == {young.run_id}


async def test_the_runs_of_a_host_are_found(database: Database) -> None:
    """A prefix is no pattern: the names of workers may hold % and _."""
    for account, worker in (("a", "h_st/1"), ("b", "host/1"), ("c", "h_st/2")):
        await claimed(Ledger(database, worker_id=worker, lease_seconds=60), account)
    found = await Ledger(database, worker_id="h_st/3", lease_seconds=60).held_by("h_st/")
    assert sorted(worker for _, worker in found) == ["h_st/1", "h_st/2"]
