"""Daemons, crashes, pauses, a watchdog and operators with psql, in any order, on a real database and on its twin."""

from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from emag_syncd.domain.batches import Batch, ScanRef
from emag_syncd.domain.runs import Counters, ErrorKind, Lease, Operation, Outcome, RunError, Status
from tests.storage.world import LEASE, Refusal, T, World, attempt, ended, ids_of
from tests.support.offers import PROGRESS, STALE_AFTER, TABLES, creating, offer, removing, request
from tests.support.scale import scaled
from tests.support.sides import TICK, Side, TwinSide

ACCOUNTS = ("main", "fbe")
SLOT = datetime(2026, 5, 1, 4, 42, tzinfo=UTC)
ENDS = st.sampled_from([Status.COMPLETED, Status.PARTIAL, Status.FAILED, Status.CANCELLED])
ACCOUNT = st.sampled_from(ACCOUNTS)
DAEMON = st.sampled_from(["host/0", "host/1"])
PICK = st.integers(0, 10**6)

# No sum of ticks comes near it from below, nor near LEASE: what the test itself takes decides nothing.
RESUME = 15 * TICK
PAUSES = st.sampled_from([TICK, 3 * TICK, 5 * TICK])


MISCOUNTED = """
SELECT l.id FROM emag_sync_logs AS l
LEFT JOIN emag_product_changes AS c ON c.sync_log_id = l.id
GROUP BY l.id
HAVING count(*) FILTER (WHERE kind = 'created') <> created_items
    OR count(*) FILTER (WHERE kind = 'removed') <> removed_items
"""


class LedgerMachine(RuleBasedStateMachine):
    """Does everything on both sides, and compares what comes of it and what the tables hold then."""

    world: World

    def __init__(self) -> None:
        super().__init__()
        self.do = self.world.do
        self.do(self.world.sql.execute(f"TRUNCATE {', '.join(TABLES)}"))
        self.drawn: deque[UUID] = deque()
        self.twin = TwinSide(lease_seconds=LEASE, draw_id=self.drawn.popleft)
        self.runs: dict[UUID, Any] = {}
        self.leases: list[Lease] = []
        self.scans: dict[UUID, ScanRef] = {}
        self.next_id = 1

    def both(self, act: Callable[[Side], Awaitable[T]]) -> T | Refusal:
        """Do ``act`` on both sides: it comes out the same."""
        result = self.do(attempt(act, self.world.real))
        self.drawn.clear()
        self.drawn.extend(ids_of(result))
        assert self.do(attempt(act, self.twin)) == result
        return result

    def lease(self, pick: int) -> Lease:
        """Return one of the latest leases whose process lives, whatever became of the run."""
        return self.leases[-4:][pick % len(self.leases[-4:])]

    def run(self, pick: int) -> UUID:
        return list(self.runs)[-4:][pick % len(list(self.runs)[-4:])]

    def has_leases(self) -> bool:
        return bool(self.leases)

    def has_runs(self) -> bool:
        return bool(self.runs)

    # What daemons do

    @rule(account=ACCOUNT, worker=DAEMON, hour=st.none() | st.integers(0, 3))
    def claim(self, account: str, worker: str, hour: int | None) -> None:
        slot = None if hour is None else SLOT + timedelta(hours=hour)
        wanted = request(account, Operation.FULL, scheduled_for=slot)
        lease = self.both(lambda on: on.daemon(worker, LEASE).claim(wanted, stale_after_seconds=STALE_AFTER))
        if isinstance(lease, Lease):
            self.leases.append(lease)

    @precondition(has_leases)
    @rule(worker=DAEMON)
    def beat(self, worker: str) -> None:
        self.both(lambda on: on.daemon(worker, LEASE).beat(self.leases))

    @precondition(has_leases)
    @rule(pick=PICK, count=st.integers(1, 3), remove=st.booleans(), checkpoint=st.booleans())
    def commit(self, pick: int, count: int, *, remove: bool, checkpoint: bool) -> None:
        lease = self.lease(pick)
        live = sorted(emag_id for account, emag_id in self.do(self.twin.state())["offers"] if account == lease.account)
        if remove and live:
            batch = removing(*live[:count])
        else:
            batch = creating(*map(offer, range(self.next_id, self.next_id + count)), start=self.next_id * 100)
            self.next_id += count
        self.commit_as(lease, batch, self.scans.get(lease.run_id) if checkpoint else None)

    @precondition(has_leases)
    @rule(pick=PICK, behind=st.sampled_from([-1, 1]))
    def commit_out_of_turn(self, pick: int, behind: int) -> None:
        self.commit_as(self.lease(pick), Batch(counters=Counters(processed_items=1)), None, behind)

    def commit_as(self, lease: Lease, batch: Batch, scan: ScanRef | None, behind: int = 0) -> None:
        commits = self.runs.get(lease.run_id, {"commits": 0})["commits"] + behind
        self.both(lambda on: on.mirror.commit(lease, scan, batch, PROGRESS, commits=commits))
        self.both(lambda on: on.mirror.commits_of(lease))

    @precondition(has_leases)
    @rule(pick=PICK)
    def open_scan(self, pick: int) -> None:
        lease = self.lease(pick)
        scan = self.both(lambda on: on.scans.open(lease, resume_within_seconds=RESUME))
        if isinstance(scan, ScanRef):
            self.scans[lease.run_id] = scan

    @precondition(has_leases)
    @rule(pick=PICK)
    def next_pass(self, pick: int) -> None:
        lease = self.lease(pick)
        if lease.run_id in self.scans:
            scan = self.both(lambda on: on.scans.next_pass(lease, self.scans[lease.run_id]))
            if isinstance(scan, ScanRef):
                self.scans[lease.run_id] = scan

    @precondition(has_leases)
    @rule(pick=PICK, status=ENDS, scan_done=st.booleans(), warn=st.booleans())
    def finish(self, pick: int, status: Status, *, scan_done: bool, warn: bool) -> None:
        lease, outcome = self.lease(pick), Outcome(status, scan_done=scan_done)
        work, warnings = Counters(api_requests_made=1), [{"column": "name"}] if warn else None

        async def finish(on: Side) -> Any:
            row = await on.daemon("host/0").finish(lease, outcome, work, warnings)
            assert await on.daemon("host/1").ended_as(lease.run_id, status) is not None or row is None
            return row and ended([row])

        self.both(finish)

    @rule(worker=DAEMON)
    def reap(self, worker: str) -> None:
        async def reap(on: Side) -> Any:
            found = await on.daemon(worker).stale_count(stale_after_seconds=STALE_AFTER)
            rows = await on.daemon(worker).reap(stale_after_seconds=STALE_AFTER)
            assert len(rows) == found
            return ended(rows)

        self.both(reap)

    @precondition(has_runs)
    @rule(pick=PICK)
    def cancel(self, pick: int) -> None:
        run_id, error = self.run(pick), RunError(ErrorKind.CANCELLED, "enough")

        async def cancel(on: Side) -> Any:
            return ended(await on.daemon("host/1").end([run_id], Status.CANCELLED, error))

        self.both(cancel)

    @rule(minutes=st.sampled_from([15, 30]))
    def clean_up(self, minutes: int) -> None:
        async def clean_up(on: Side) -> Any:
            return ended(await on.daemon("host/1").clean_up(minutes))

        self.both(clean_up)

    @rule(worker=DAEMON)
    def recover(self, worker: str) -> None:
        """Do what a daemon does at start-up for its dead predecessor."""

        async def recover(on: Side) -> Any:
            held = [run_id for run_id, _ in await on.daemon(worker).held_by(worker)]
            return ended(await on.daemon(worker).end(held, Status.FAILED, RunError(ErrorKind.INTERRUPTED, "gone")))

        self.both(recover)

    @rule(account=ACCOUNT, hour=st.integers(-1, 4))
    def ask_whether_a_slot_is_covered(self, account: str, hour: int) -> None:
        slot = SLOT + timedelta(hours=hour)
        self.both(lambda on: on.daemon("host/0").slot_covered(account, Operation.FULL, slot))

    # What happens to them

    @precondition(has_leases)
    @rule(pick=PICK)
    def crash(self, pick: int) -> None:
        self.leases.remove(self.lease(pick))

    @rule(seconds=PAUSES)
    def pause(self, seconds: float) -> None:
        self.both(lambda on: on.pass_time(seconds))

    # What operators do

    @rule(account=ACCOUNT, hour=st.none() | st.integers(0, 3))
    def insert(self, account: str, hour: int | None) -> None:
        slot = None if hour is None else SLOT + timedelta(hours=hour)
        self.both(lambda on: on.insert(account, scheduled_for=slot))

    @precondition(has_runs)
    @rule(pick=PICK, status=st.sampled_from([Status.FAILED, Status.COMPLETED, Status.RUNNING]))
    def update(self, pick: int, status: Status) -> None:
        run_id, errors = self.run(pick), '["by hand", {"kind": 7}]'
        self.both(lambda on: on.update(run_id, status=status, errors=errors))

    @precondition(has_runs)
    @rule(pick=PICK)
    def delete(self, pick: int) -> None:
        run_id = self.run(pick)
        self.both(lambda on: on.delete(run_id))

    # What always holds

    @invariant()
    def both_sides_hold_the_same(self) -> None:
        state = self.do(self.world.real.state())
        assert self.do(self.twin.state()) == state
        self.runs = state["runs"]

    @invariant()
    def one_run_at_a_time_and_only_it_has_a_token(self) -> None:
        running = [run for run in self.runs.values() if run["status"] == "running"]
        assert max(Counter(run["account_type"] for run in running).values(), default=0) <= 1
        assert all(run["status"] == "running" for run in self.runs.values() if run["has_token"])
        assert all((run["completed_at"] is None) == (run["status"] == "running") for run in self.runs.values())

    @invariant()
    def slots_are_unique(self) -> None:
        slots = Counter((run["account_type"], run["scheduled_for"]) for run in self.runs.values())
        assert max((count for (_, slot), count in slots.items() if slot), default=0) <= 1

    @invariant()
    def counters_equal_rows(self) -> None:
        assert self.do(self.world.sql.fetch(MISCOUNTED)) == []


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    """Give a database with two daemons."""
    world = World(database_url)
    yield world
    world.close()


@pytest.mark.timeout(300)
def test_any_order_of_events_keeps_the_promises(world: World) -> None:
    """At most one running row an account; an ended run never changes; nothing is written without the lease."""
    machine = type("BoundMachine", (LedgerMachine,), {"world": world})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=scaled(20), deadline=None, stateful_step_count=30, suppress_health_check=[*HealthCheck]
        ),
    )
