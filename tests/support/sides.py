"""The real ledger and its twin behind one face, with an operator's hands on the tables of either."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, TypeAlias
from uuid import UUID, uuid4

import msgspec

from emag_syncd.domain.runs import Counters, Lease
from emag_syncd.storage.database import Database
from emag_syncd.storage.ledger import Ledger
from emag_syncd.storage.mirror import Mirror
from emag_syncd.storage.scans import Scans
from tests.support.offers import STALE_AFTER, Connection, by_hand, rows
from tests.support.twin import LedgerTwin, MirrorTwin, Row, Tables
from tests.support.twin_scans import ScansTwin

TICK = 240.0
"""Seconds that the clock is put forward by, or a multiple. What a test itself takes is nothing compared to it."""

AnyLedger: TypeAlias = Ledger | LedgerTwin
State: TypeAlias = dict[str, Any]
Versions: TypeAlias = dict[str, list[tuple[Any, ...]]]

SAME = ("account_type", "sync_type", "operation", "status", "triggered_by", "scheduled_for", "worker_id", "scan_id")
COUNTED = (*Counters.__slots__, "total_items", "commits")
TIMES = ("started_at", "heartbeat_at", "completed_at", "lease_expires_at")
PROGRESS_COLUMNS = ("sync_log_id", "current_page", "total_pages", "processed_items", "total_items")


class Side(ABC):
    """Ledgers of several daemons on the same tables, and what an operator with psql can do there."""

    mirror: Mirror | MirrorTwin
    scans: Scans | ScansTwin

    @abstractmethod
    def daemon(self, worker_id: str, lease_seconds: float = 60) -> AnyLedger:
        """Return the ledger of a daemon."""

    @abstractmethod
    async def now(self) -> datetime:
        """Return the time by the tables' clock."""

    @abstractmethod
    async def pass_time(self, seconds: float) -> None:
        """Let that much time pass in which nobody does anything."""

    @abstractmethod
    async def insert(self, account: str = "main", **columns: Any) -> UUID:
        """Insert a run by hand with the columns that have no default, and those given."""

    @abstractmethod
    async def update(self, run_id: UUID, **columns: Any) -> None:
        """Update a run by hand."""

    @abstractmethod
    async def delete(self, run_id: UUID) -> None:
        """Delete a run by hand."""

    @abstractmethod
    async def versions(self) -> Versions:
        """Return the rows of every table, so that any write shows."""

    @abstractmethod
    async def state(self) -> State:
        """Return what the tables hold, in a form in which one side's can be compared with the other's."""

    async def expire(self, *leases: Lease) -> None:
        """Let the leases run out, as they do when their process hangs."""
        for lease in leases:
            await self.update(lease.run_id, lease_expires_at=await self.now() - timedelta(seconds=1))

    async def grow_old(self, run_id: UUID, seconds: float = STALE_AFTER + 60) -> None:
        """Let a run have begun that long ago."""
        await self.update(run_id, started_at=await self.now() - timedelta(seconds=seconds))


class RealSide(Side):
    """PostgreSQL."""

    def __init__(self, database: Database, sql: Connection, lease_seconds: float = 60) -> None:
        """Use ``database`` as daemons do and ``sql`` as an operator does."""
        self._database = database
        self._sql = sql
        self.mirror = Mirror(database, lease_seconds=lease_seconds)
        self.scans = Scans(database)

    def daemon(self, worker_id: str, lease_seconds: float = 60) -> Ledger:
        return Ledger(self._database, worker_id=worker_id, lease_seconds=lease_seconds)

    async def now(self) -> datetime:
        now: datetime = await self._sql.fetchval("SELECT clock_timestamp()")
        return now

    async def pass_time(self, seconds: float) -> None:
        for table, columns in (("emag_sync_logs", TIMES), ("emag_sync_scans", ("started_at",))):
            moved = ", ".join(f"{column} = {column} - make_interval(secs => $1)" for column in columns)
            await self._sql.execute(f"UPDATE {table} SET {moved}", seconds)

    async def insert(self, account: str = "main", **columns: Any) -> UUID:
        run_id: UUID = await by_hand(self._sql, account, **columns)
        return run_id

    async def update(self, run_id: UUID, **columns: Any) -> None:
        values = ", ".join(f"{name} = ${n}" for n, name in enumerate(columns, 2))
        await self._sql.execute(f"UPDATE emag_sync_logs SET {values} WHERE id = $1", run_id, *columns.values())

    async def delete(self, run_id: UUID) -> None:
        await self._sql.execute("DELETE FROM emag_sync_logs WHERE id = $1", run_id)

    async def versions(self) -> Versions:
        return await rows(self._sql)

    async def state(self) -> State:
        fetch, now = self._sql.fetch, await self.now()
        runs = [dict(row) for row in await fetch("SELECT * FROM emag_sync_logs")]
        return {
            "runs": {row["id"]: comparable(row, now) for row in runs},
            "scans": {
                row["id"]: (row["account_type"], row["pass"], _ticks(now - row["started_at"]))
                for row in await fetch("SELECT * FROM emag_sync_scans")
            },
            "pages": sorted(
                map(tuple, await fetch("SELECT scan_id, pass, start_at, end_at FROM emag_sync_scan_pages"))
            ),
            "progress": {
                row["account_type"]: {name: row[name] for name in PROGRESS_COLUMNS}
                for row in await fetch("SELECT * FROM emag_sync_progress")
            },
            "offers": set(
                map(tuple, await fetch("SELECT account_type, emag_id FROM emag_products WHERE removed_at IS NULL"))
            ),
            "changes": [
                tuple(row)
                for row in await fetch("SELECT sync_log_id, emag_id, kind FROM emag_product_changes ORDER BY id")
            ],
        }


class TwinSide(Side):
    """The model. ``draw_id`` makes its ids."""

    def __init__(self, lease_seconds: float = 60, draw_id: Callable[[], UUID] = uuid4) -> None:
        """Begin with empty tables."""
        self._tables = Tables(draw_id)
        self.mirror = MirrorTwin(self._tables, lease_seconds=lease_seconds)
        self.scans = ScansTwin(self._tables)

    def daemon(self, worker_id: str, lease_seconds: float = 60) -> LedgerTwin:
        return LedgerTwin(self._tables, worker_id=worker_id, lease_seconds=lease_seconds)

    async def now(self) -> datetime:
        return self._tables.now()

    async def pass_time(self, seconds: float) -> None:
        self._tables.passed += timedelta(seconds=seconds)

    async def insert(self, account: str = "main", **columns: Any) -> UUID:
        run_id: UUID = self._tables.insert(account_type=account, **{"operation": "full_sync", **columns})["id"]
        return run_id

    async def update(self, run_id: UUID, **columns: Any) -> None:
        if isinstance(columns.get("errors"), str):
            columns["errors"] = columns["errors"].encode()
        self._tables.update(self._tables.runs[run_id], **columns)

    async def delete(self, run_id: UUID) -> None:
        del self._tables.runs[run_id]

    async def versions(self) -> Versions:
        tables = self._tables
        return {
            "emag_sync_logs": [tuple(map(repr, row.values())) for row in tables.runs.values()],
            "others": [(repr(one),) for one in (tables.scans, tables.pages, tables.progress, sorted(tables.offers))],
        }

    async def state(self) -> State:
        tables, now = self._tables, self._tables.now()
        return {
            "runs": {run_id: comparable(row, now) for run_id, row in tables.runs.items()},
            "scans": {
                scan_id: (scan["account_type"], scan["pass"], _ticks(now - scan["started_at"]))
                for scan_id, scan in tables.scans.items()
            },
            "pages": sorted(tables.pages),
            "progress": {
                account: {name: row[name] for name in PROGRESS_COLUMNS} for account, row in tables.progress.items()
            },
            "offers": tables.offers,
            "changes": tables.changes,
        }


def comparable(row: Row, now: datetime) -> Row:
    """Return a run without what no two sides agree in: the time that the test itself took."""
    errors = msgspec.json.decode(row["errors"])
    return {
        **{name: row[name] for name in (*SAME, *COUNTED)},
        **{name: row[name] and _ticks(now - row[name]) for name in TIMES},
        "ran": row["duration_seconds"] and math.floor(row["duration_seconds"] / TICK),
        "has_token": row["lease_token"] is not None,
        "sync_params": msgspec.json.decode(row["sync_params"]),
        "warnings": msgspec.json.decode(row["warnings"]),
        "errors": errors if not isinstance(errors, list) else [_told(error) for error in errors],
    }


def _ticks(age: timedelta) -> int:
    return math.floor(age.total_seconds() / TICK)


def _told(error: Any) -> Any:
    ours = isinstance(error, dict) and "timestamp" in error
    return (error["kind"], error["error"].partition(" since ")[0]) if ours else error
