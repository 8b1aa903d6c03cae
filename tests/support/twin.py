"""The ledger, and what it needs of the mirror and the scans, in plain Python: a model to compare the real ones with."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias
from uuid import UUID, uuid4

import asyncpg
import msgspec

from emag_syncd.domain.batches import Batch, Progress, ScanRef
from emag_syncd.domain.errors import BusyError, FencedError, SetBackError, SlotTakenError
from emag_syncd.domain.runs import (
    PRODUCTS,
    Counters,
    ErrorKind,
    Lease,
    Operation,
    Outcome,
    RunError,
    RunRequest,
    Status,
)
from emag_syncd.storage.ledger import error_rows

Row: TypeAlias = dict[str, Any]

SLOT_COLUMNS = ("account_type", "sync_type", "operation", "scheduled_for")


@dataclass
class Tables:
    """What several ledgers share. ``draw_id`` makes the ids, ``passed`` is how far the clock was put forward."""

    draw_id: Callable[[], UUID] = uuid4
    passed: timedelta = timedelta()
    runs: dict[UUID, Row] = field(default_factory=dict)
    scans: dict[UUID, Row] = field(default_factory=dict)
    pages: list[tuple[UUID, int, int, int]] = field(default_factory=list)
    progress: dict[str, Row] = field(default_factory=dict)
    offers: set[tuple[str, int]] = field(default_factory=set)
    changes: list[tuple[UUID, int, str]] = field(default_factory=list)

    def now(self) -> datetime:
        """Return the time by the tables' clock."""
        return datetime.now(UTC) + self.passed

    def insert(self, **columns: Any) -> Row:
        """Add a run. Raises UniqueViolationError where the tables' indexes forbid it."""
        row: Row = {
            "sync_type": PRODUCTS,
            "status": Status.RUNNING,
            "started_at": self.now(),
            **dict.fromkeys(("completed_at", "duration_seconds", "scheduled_for", "worker_id", "scan_id")),
            **dict.fromkeys(("heartbeat_at", "lease_expires_at", "lease_token")),
            **asdict(Counters()),
            "total_items": 0,
            "commits": 0,
            "errors": b"[]",
            "warnings": b"[]",
            "sync_params": b"{}",
            "triggered_by": "api",
            **columns,
        }
        self._check(row)
        row.setdefault("id", self.draw_id())
        self.runs[row["id"]] = row
        return row

    def update(self, row: Row, **columns: Any) -> Row:
        """Change a run, by the rules that hold for whoever changes it."""
        new = {**row, **columns}
        self._check(new)
        if (row["status"] == Status.RUNNING) != (new["status"] == Status.RUNNING):
            new |= {"lease_token": None, "lease_expires_at": None}
            ended = None if new["status"] == Status.RUNNING else new["completed_at"] or self.now()
            new["completed_at"] = ended
            new["duration_seconds"] = ended and (ended - new["started_at"]).total_seconds()
        row.update(new)
        return dict(row)

    def held(self, lease: Lease) -> Row | None:
        """Return the run's row, if the lease still stands for it."""
        row = self.runs.get(lease.run_id)
        return row if row and row["status"] == Status.RUNNING and row["lease_token"] == lease.token else None

    def fence(self, lease: Lease) -> Row:
        """Return the run's row. Raises FencedError when the lease does not stand for it any more."""
        if (row := self.held(lease)) is None:
            raise FencedError(lease.run_id)
        return row

    def running(self) -> list[Row]:
        """Return the runs under way, oldest first."""
        return sorted((r for r in self.runs.values() if r["status"] == Status.RUNNING), key=lambda r: r["started_at"])

    def _check(self, new: Row) -> None:
        for row in self.runs.values():
            both_run = row["status"] == new["status"] == Status.RUNNING
            same_of = ("account_type", "sync_type") if both_run else SLOT_COLUMNS
            if row["id"] != new.get("id") and (both_run or new["scheduled_for"]):
                if all(row[name] == new[name] for name in same_of):
                    raise asyncpg.UniqueViolationError("there is such a run already")
                if both_run and new["scheduled_for"] and all(row[name] == new[name] for name in SLOT_COLUMNS):
                    raise asyncpg.UniqueViolationError("the slot had its run already")


class LedgerTwin:
    """Does what ``storage.ledger.Ledger`` does."""

    def __init__(self, tables: Tables, *, worker_id: str, lease_seconds: float) -> None:
        self._tables = tables
        self.worker_id = worker_id
        self.lease_seconds = lease_seconds

    async def claim(
        self,
        request: RunRequest,
        *,
        stale_after_seconds: float,
        on_reaped: Callable[[list[Row]], None] | None = None,
    ) -> Lease:
        reaped = self._reap(stale_after_seconds, {request.account})
        if reaped and on_reaped is not None:
            on_reaped(reaped)
        held = (row for row in self._tables.running() if row["worker_id"] == self.worker_id)
        if row := next((row for row in held if row["id"] == request.run_id), None):
            return Lease(row["id"], row["lease_token"], request.account, request.operation)
        wanted = (request.account, PRODUCTS, request.operation, request.scheduled_for)
        if request.scheduled_for and any(
            row["id"] == request.run_id or wanted == tuple(row[name] for name in SLOT_COLUMNS)
            for row in self._tables.runs.values()
        ):
            raise SlotTakenError(request.account, request.scheduled_for)
        for row in self._tables.running():
            if (row["account_type"], row["sync_type"]) == wanted[:2]:
                raise BusyError(request.account, row["id"])
        row = self._tables.insert(
            **dict(zip(SLOT_COLUMNS, wanted, strict=True)),
            id=request.run_id,
            triggered_by=request.trigger,
            sync_params=msgspec.json.encode(request.params()),
            worker_id=self.worker_id,
            **self._life(),
        )
        row["lease_token"] = self._tables.draw_id()
        return Lease(row["id"], row["lease_token"], request.account, request.operation)

    async def beat(self, leases: Sequence[Lease]) -> set[UUID]:
        held = [row for lease in leases if (row := self._tables.held(lease))]
        for row in held:
            row.update(self._life())
        return {row["id"] for row in held}

    async def finish(
        self, lease: Lease, outcome: Outcome, counters: Counters, warnings: Any = None, *, commits: int | None = None
    ) -> Row | None:
        if (row := self._tables.held(lease)) is None:
            return None
        if commits not in {None, row["commits"]}:
            raise SetBackError(lease.run_id, made=commits or 0, recorded=row["commits"])
        if warnings is not None:
            row["warnings"] = msgspec.json.encode(warnings)
        for name in ("api_requests_made", "rate_limit_hits"):
            row[name] += getattr(counters, name)
        if outcome.scan_done and row["scan_id"] in self._tables.scans:
            del self._tables.scans[row["scan_id"]]
            self._tables.pages = [page for page in self._tables.pages if page[0] != row["scan_id"]]
        return self._end(row, outcome.status, outcome.errors)

    async def reap(self, *, stale_after_seconds: float) -> list[Row]:
        return self._reap(stale_after_seconds, {row["account_type"] for row in self._tables.running()})

    async def stale_count(self, *, stale_after_seconds: float) -> int:
        return sum(self._is_stale(row, stale_after_seconds) for row in self._tables.running())

    async def held_by(self, prefix: str) -> list[tuple[UUID, str]]:
        running = self._tables.running()
        return [(row["id"], row["worker_id"]) for row in running if (row["worker_id"] or "").startswith(prefix)]

    async def end(self, ids: Iterable[UUID], status: Status, error: RunError) -> list[Row]:
        wanted = set(ids)
        return [self._end(row, status, [error]) for row in self._tables.running() if row["id"] in wanted]

    async def clean_up(self, older_than_minutes: float) -> list[Row]:
        before = self._tables.now() - timedelta(minutes=older_than_minutes)
        text = f"Cleaned up: it had been running for more than {older_than_minutes:g} minutes"
        old = [row["id"] for row in self._tables.running() if row["started_at"] < before]
        return await self.end(old, Status.FAILED, RunError(ErrorKind.STALE, text))

    async def get(self, run_id: UUID) -> Row | None:
        row = self._tables.runs.get(run_id)
        return row and dict(row)

    async def ended_as(self, run_id: UUID, status: Status) -> Row | None:
        row = await self.get(run_id)
        return row if row and row["status"] == status else None

    async def running(self) -> list[Row]:
        return [dict(row) for row in self._tables.running()]

    async def slot_covered(
        self, account: str, operation: Operation, slot: datetime, *, other_than: UUID | None = None
    ) -> bool:
        return any(
            (row["operation"] == operation and row["scheduled_for"] and row["scheduled_for"] >= slot)
            or (
                row["operation"] == Operation.FULL
                and row["started_at"] >= slot
                and row["status"] in (Status.COMPLETED, Status.PARTIAL)
                and b'"max_pages"' not in row["sync_params"]
            )
            for row in self._tables.runs.values()
            if row["account_type"] == account
            and row["sync_type"] == PRODUCTS
            and row["id"] != other_than
            and row["started_at"] <= self._tables.now() + timedelta(minutes=1)
        )

    def _life(self) -> Row:
        now = self._tables.now()
        return {"heartbeat_at": now, "lease_expires_at": now + timedelta(seconds=self.lease_seconds)}

    def _is_stale(self, row: Row, stale_after: float) -> bool:
        until: datetime = row["lease_expires_at"] or row["started_at"] + timedelta(seconds=stale_after)
        return until < self._tables.now()

    def _reap(self, stale_after: float, accounts: set[str]) -> list[Row]:
        stale = [row for row in self._tables.running() if self._is_stale(row, stale_after)]
        return [
            self._end(row, Status.FAILED, [RunError(ErrorKind.STALE, _stale(row))])
            for row in stale
            if row["account_type"] in accounts
        ]

    def _end(self, row: Row, status: Status, errors: Iterable[RunError]) -> Row:
        before = msgspec.json.decode(row["errors"])
        both = [*(before if isinstance(before, list) else [before]), *msgspec.json.decode(error_rows(errors))]
        return self._tables.update(row, status=status, errors=msgspec.json.encode(both))


class MirrorTwin:
    """Does what ``storage.mirror.Mirror`` does, as far as a run's right to write goes."""

    def __init__(self, tables: Tables, *, lease_seconds: float) -> None:
        self._tables = tables
        self._lease_seconds = lease_seconds

    async def commit(
        self, lease: Lease, scan: ScanRef | None, batch: Batch, progress: Progress, *, commits: int
    ) -> None:
        row = self._tables.fence(lease)
        if row["commits"] != commits:
            raise FencedError(lease.run_id)
        for name, value in asdict(batch.counters).items():
            row[name] += value
        now = self._tables.now()
        row |= {"commits": commits + 1, "heartbeat_at": now, "total_items": progress.total_items}
        row["lease_expires_at"] = now + timedelta(seconds=self._lease_seconds)
        if batch.warnings is not None:
            row["warnings"] = msgspec.json.encode(batch.warnings)
        self._tables.progress[lease.account] = {"sync_log_id": lease.run_id, **asdict(progress)}
        if scan is not None:
            self._tables.pages += [(scan.id, scan.pass_no, page.start, page.end) for page in batch.pages]
        self._tables.offers |= {(lease.account, offer.emag_id) for offer in batch.writes}
        self._tables.offers -= {(lease.account, emag_id) for emag_id in batch.removals}
        self._tables.changes += [(lease.run_id, change.emag_id, change.kind.value) for change in batch.changes]

    async def commits_of(self, lease: Lease) -> int | None:
        row = self._tables.held(lease)
        return row["commits"] if row else None


def _stale(row: Row) -> str:
    if row["lease_token"] is None:
        return f"Stale: running since {row['started_at']:%Y-%m-%d %H:%M:%S} UTC without a lease"
    return f"Stale: no sign of life from {row['worker_id']} since {row['heartbeat_at']:%Y-%m-%d %H:%M:%S} UTC"
