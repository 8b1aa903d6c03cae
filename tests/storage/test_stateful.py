"""Daemons, crashes, pauses, a watchdog and operators with psql, in any order, on a real database."""

import asyncio
from collections import Counter
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

import asyncpg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from emag_syncd.domain.batches import Batch, ScanRef
from emag_syncd.domain.errors import BusyError, FencedError, SlotTakenError
from emag_syncd.domain.runs import Counters, ErrorKind, Lease, Operation, Outcome, RunError, Status
from emag_syncd.storage.database import Database
from emag_syncd.storage.ledger import Ledger
from emag_syncd.storage.mirror import Mirror
from emag_syncd.storage.scans import Scans
from tests.support.offers import (
    PROGRESS,
    STALE_AFTER,
    TABLES,
    Connection,
    by_hand,
    counted,
    counters,
    creating,
    expire,
    grow_old,
    offer,
    removing,
    request,
)

T = TypeVar("T")

ACCOUNTS = ("main", "fbe")
SLOT = datetime(2026, 5, 1, 4, 42, tzinfo=UTC)
ENDS = st.sampled_from([Status.COMPLETED, Status.PARTIAL, Status.FAILED, Status.CANCELLED])
PICK = st.integers(0, 10**6)


class World:
    """A database, and an event loop to use it from tests that are not coroutines."""

    def __init__(self, url: str) -> None:
        self._runner = asyncio.Runner()
        self.database = self.do(Database.open(url, pool_max_size=2))
        self.sql: Connection = self.do(_connected(url))
        self.daemons = [Ledger(self.database, worker_id=f"host/{n}", lease_seconds=3600) for n in range(2)]
        self.mirror = Mirror(self.database, lease_seconds=3600)
        self.scans = Scans(self.database)

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)

    def close(self) -> None:
        self.do(self.sql.close())
        self.do(self.database.close())
        self._runner.close()


async def _connected(url: str) -> Connection:
    return await asyncpg.connect(url)


@dataclass
class Model:
    """What a run must be like. ``seen`` is its row as it was when it ended, which only a person may change."""

    account: str
    lease: Lease | None = None
    slot: datetime | None = None
    running: bool = True
    crashed: bool = False
    fenced: bool = False
    stale: bool = False
    commits: int = 0
    scan: ScanRef | None = None
    seen: str = ""

    @property
    def writes(self) -> bool:
        """Whether the run may write."""
        return self.running and not self.fenced


class LedgerMachine(RuleBasedStateMachine):
    """Keeps a model beside the database, and compares what the daemons are told and what the tables hold."""

    world: World

    def __init__(self) -> None:
        super().__init__()
        self.do = self.world.do
        self.do(self.world.sql.execute(f"TRUNCATE {', '.join(TABLES)}"))
        self.runs: dict[UUID, Model] = {}
        self.offers: dict[str, set[int]] = {account: set() for account in ACCOUNTS}
        self.next_id = 1

    def running_of(self, account: str) -> list[UUID]:
        return [run_id for run_id, run in self.runs.items() if run.running and run.account == account]

    def alive(self) -> list[Model]:
        """Return the runs whose process lives, whether they were ended or not."""
        return [run for run in self.runs.values() if run.lease and not run.crashed]

    def leased(self, pick: int) -> Model:
        """Return one of the latest runs whose process lives."""
        return self.alive()[-4:][pick % len(self.alive()[-4:])]

    def any_run(self, pick: int) -> UUID:
        return list(self.runs)[-4:][pick % len(list(self.runs)[-4:])]

    def has_leases(self) -> bool:
        return bool(self.alive())

    def has_runs(self) -> bool:
        return bool(self.runs)

    def ended(self, run_id: UUID) -> None:
        run = self.runs[run_id]
        run.running, run.fenced, run.stale = False, True, False
        run.seen = self.row(run_id)

    def row(self, run_id: UUID) -> str:
        text = self.do(self.world.sql.fetchval("SELECT l::text FROM emag_sync_logs l WHERE id = $1", run_id))
        return str(text)

    # What daemons do

    @rule(account=st.sampled_from(ACCOUNTS), daemon=st.sampled_from([0, 1]), hour=st.none() | st.integers(0, 3))
    def claim(self, account: str, daemon: int, hour: int | None) -> None:
        slot = None if hour is None else SLOT + timedelta(hours=hour)
        wanted = request(account, Operation.FULL, scheduled_for=slot)
        in_the_way = [run_id for run_id in self.running_of(account) if not self.runs[run_id].stale]
        taken = slot is not None and any(run.slot == slot and run.account == account for run in self.runs.values())
        claim = self.world.daemons[daemon].claim(wanted, stale_after_seconds=STALE_AFTER)
        if taken:
            with pytest.raises(SlotTakenError):
                self.do(claim)
        elif in_the_way:
            with pytest.raises(BusyError) as caught:
                self.do(claim)
            assert [caught.value.run_id] == in_the_way
        else:
            lease = self.do(claim)
            self.runs[lease.run_id] = Model(account, lease, slot)
        for run_id in self.running_of(account):
            if self.runs[run_id].stale:
                self.ended(run_id)

    @precondition(has_leases)
    @rule()
    def beat(self) -> None:
        leases = [run.lease for run in self.alive() if run.lease]
        ours = self.do(self.world.daemons[0].beat(leases))
        assert ours == {run.lease.run_id for run in self.alive() if run.lease and run.writes}
        for run_id in ours:
            self.runs[run_id].stale = False

    @precondition(has_leases)
    @rule(pick=PICK, count=st.integers(1, 3), remove=st.booleans(), checkpoint=st.booleans())
    def commit(self, pick: int, count: int, *, remove: bool, checkpoint: bool) -> None:
        run = self.leased(pick)
        assert run.lease is not None
        offers = self.offers[run.account]
        if remove and offers:
            ids = sorted(offers)[:count]
            batch = removing(*ids)
        else:
            ids = list(range(self.next_id, self.next_id + count))
            self.next_id += count
            batch = creating(*map(offer, ids), start=self.next_id * 100)
        work = self.world.mirror.commit(
            run.lease, run.scan if checkpoint else None, batch, PROGRESS, commits=run.commits
        )
        if not run.writes:
            with pytest.raises(FencedError):
                self.do(work)
            return
        self.do(work)
        run.commits += 1
        run.stale = False
        offers.symmetric_difference_update(ids)

    @precondition(has_leases)
    @rule(pick=PICK, behind=st.sampled_from([-1, 1]))
    def commit_out_of_turn(self, pick: int, behind: int) -> None:
        run = self.leased(pick)
        assert run.lease is not None
        batch = Batch(counters=Counters(processed_items=1))
        with pytest.raises(FencedError):
            self.do(self.world.mirror.commit(run.lease, None, batch, PROGRESS, commits=run.commits + behind))

    @precondition(has_leases)
    @rule(pick=PICK)
    def open_scan(self, pick: int) -> None:
        run = self.leased(pick)
        assert run.lease is not None
        work = self.world.scans.open(run.lease, resume_within_seconds=3600)
        if run.writes:
            run.scan = self.do(work)
        else:
            with pytest.raises(FencedError):
                self.do(work)

    @precondition(has_leases)
    @rule(pick=PICK, status=ENDS, scan_done=st.booleans())
    def finish(self, pick: int, status: Status, *, scan_done: bool) -> None:
        run = self.leased(pick)
        assert run.lease is not None
        outcome = Outcome(status, scan_done=scan_done)
        row = self.do(self.world.daemons[0].finish(run.lease, outcome, Counters(api_requests_made=1)))
        assert (row is not None) == run.writes
        if row is not None:
            assert row["status"] == status
            self.ended(run.lease.run_id)

    @rule(daemon=st.sampled_from([0, 1]))
    def reap(self, daemon: int) -> None:
        stale = {run_id for run_id, run in self.runs.items() if run.stale}
        assert self.do(self.world.daemons[0].stale_count(stale_after_seconds=STALE_AFTER)) == len(stale)
        rows = self.do(self.world.daemons[daemon].reap(stale_after_seconds=STALE_AFTER))
        assert {row["id"] for row in rows} == stale
        for run_id in stale:
            self.ended(run_id)

    @precondition(has_runs)
    @rule(pick=PICK)
    def cancel(self, pick: int) -> None:
        run_id = self.any_run(pick)
        error = RunError(ErrorKind.CANCELLED, "enough")
        rows = self.do(self.world.daemons[1].end([run_id], Status.CANCELLED, error))
        assert [row["id"] for row in rows] == [run_id] * self.runs[run_id].running
        if rows:
            self.ended(run_id)

    # What happens to them

    @precondition(has_leases)
    @rule(pick=PICK)
    def crash(self, pick: int) -> None:
        self.leased(pick).crashed = True

    @precondition(has_runs)
    @rule(pick=PICK)
    def pause(self, pick: int) -> None:
        """No heartbeat came for as long as a lease lasts."""
        run = self.runs[self.any_run(pick)]
        if run.writes and run.lease is not None:
            self.do(expire(self.world.sql, run.lease))
            run.stale = True

    # What operators do

    @rule(account=st.sampled_from(ACCOUNTS), old=st.booleans())
    def insert(self, account: str, *, old: bool) -> None:
        work = by_hand(self.world.sql, account)
        if self.running_of(account):
            with pytest.raises(asyncpg.UniqueViolationError):
                self.do(work)
            return
        run_id = self.do(work)
        if old:
            self.do(grow_old(self.world.sql, run_id, STALE_AFTER + 60))
        self.runs[run_id] = Model(account, fenced=True, stale=old)

    @precondition(has_runs)
    @rule(pick=PICK)
    def update_to_failed(self, pick: int) -> None:
        run_id = self.any_run(pick)
        errors = """jsonb_build_array('by hand', jsonb_build_object('kind', 7))"""
        update = f"UPDATE emag_sync_logs SET status = 'failed', errors = {errors} WHERE id = $1"
        self.do(self.world.sql.execute(update, run_id))
        self.ended(run_id)

    @precondition(has_runs)
    @rule(pick=PICK)
    def update_to_running(self, pick: int) -> None:
        run_id = self.any_run(pick)
        run = self.runs[run_id]
        work = self.world.sql.execute("UPDATE emag_sync_logs SET status = 'running' WHERE id = $1", run_id)
        if set(self.running_of(run.account)) - {run_id}:
            with pytest.raises(asyncpg.UniqueViolationError):
                self.do(work)
            return
        self.do(work)
        if not run.running:
            age = "SELECT extract(epoch FROM clock_timestamp() - started_at)::float8 FROM emag_sync_logs WHERE id = $1"
            run.running, run.stale = True, self.do(self.world.sql.fetchval(age, run_id)) > STALE_AFTER

    @precondition(has_runs)
    @rule(pick=PICK)
    def delete(self, pick: int) -> None:
        run_id = self.any_run(pick)
        self.do(self.world.sql.execute("DELETE FROM emag_sync_logs WHERE id = $1", run_id))
        del self.runs[run_id]

    # What always holds

    @invariant()
    def the_ledger_is_as_the_model_says(self) -> None:
        rows = self.do(self.world.sql.fetch("SELECT id, status, account_type, lease_token FROM emag_sync_logs"))
        assert {row["id"] for row in rows} == self.runs.keys()
        running = [row for row in rows if row["status"] == "running"]
        assert {row["id"] for row in running} == {run_id for run_id, run in self.runs.items() if run.running}
        assert max(Counter(row["account_type"] for row in running).values(), default=0) <= 1
        assert {row["id"] for row in rows if row["lease_token"]} == {
            run_id for run_id, run in self.runs.items() if run.writes
        }

    @invariant()
    def ended_runs_stay_as_they_are(self) -> None:
        for run_id, run in self.runs.items():
            assert run.running or self.row(run_id) == run.seen

    @invariant()
    def slots_are_unique(self) -> None:
        slots = Counter((run.account, run.slot) for run in self.runs.values() if run.slot)
        assert max(slots.values(), default=0) <= 1

    @invariant()
    def the_mirror_holds_what_was_committed(self) -> None:
        query = "SELECT account_type, emag_id FROM emag_products WHERE removed_at IS NULL"
        found = {(row["account_type"], row["emag_id"]) for row in self.do(self.world.sql.fetch(query))}
        assert found == {(account, emag_id) for account, ids in self.offers.items() for emag_id in ids}

    @invariant()
    def counters_equal_rows(self) -> None:
        for run_id, run in self.runs.items():
            assert self.do(counters(self.world.sql, run_id)) == self.do(counted(self.world.sql, run_id))
            commits = self.do(self.world.sql.fetchval("SELECT commits FROM emag_sync_logs WHERE id = $1", run_id))
            assert commits == run.commits


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    """Give a database with two daemons."""
    world = World(database_url)
    yield world
    world.close()


def test_any_order_of_events_keeps_the_promises(world: World) -> None:
    """At most one running row an account; an ended run never changes; nothing is written without the lease."""
    machine = type("BoundMachine", (LedgerMachine,), {"world": world})
    # A profile of hypothesis with more examples looks longer: each takes a tenth of a second.
    examples = settings().max_examples // 2
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples, deadline=None, stateful_step_count=40, suppress_health_check=[*HealthCheck]
        ),
    )
