"""What runs did, for those who look back: read only, and on the connections of the pool."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from asyncpg import Record

from emag_syncd.domain.runs import Operation, Status
from emag_syncd.storage.connections import Connections
from emag_syncd.storage.queries import history as sql


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs are wanted; None is any."""

    account: str | None = None
    operation: Operation | None = None
    status: Status | None = None
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Mark:
    """A run in the order of the list: that of its start, newest first."""

    started_at: datetime
    id: UUID


class History:
    """The runs, and what belongs to one of them. Every method raises DatabaseError when PostgreSQL does not answer."""

    def __init__(self, connections: Connections) -> None:
        """Read through ``connections``."""
        self._connections = connections

    async def runs(self, wanted: RunFilter, *, limit: int, after: Mark | None = None) -> list[Record]:
        """Return runs, newest first, those that follow ``after``."""
        place = {"before": after and after.started_at, "after_id": after and after.id}
        return await self._fetch(sql.runs, limit=limit, **asdict(wanted), **place)

    async def durations(self, wanted: RunFilter, *, limit: int) -> list[Record]:
        """Return when the latest runs that ended began, how long they took and how they ended, newest first."""
        return await self._fetch(sql.durations, limit=limit, **asdict(wanted))

    async def last_ended(self, accounts: Iterable[str]) -> dict[str, Record]:
        """Return the row of the latest run of each account that ended."""
        rows = await self._fetch(sql.last_ended, accounts=list(accounts))
        return {row["account_type"]: row for row in rows}

    async def calls(
        self, run: Record, *, limit: int, before: datetime | None = None, errors_only: bool = False
    ) -> list[Record]:
        """Return the calls that a run made, newest first, those before ``before``."""
        return await self._fetch(
            sql.calls, **_within(run), run_id=run["id"], limit=limit, before=before, errors_only=errors_only
        )

    async def changes(self, run: Record, *, limit: int) -> list[Record]:
        """Return some of the changes that a run found, in the order in which it did."""
        rows = await self._fetch(sql.changes, **_within(run), run_id=run["id"], limit=limit)
        return sorted(rows, key=lambda row: int(row["id"]))

    async def rejects(self, run_id: UUID, *, limit: int) -> list[Record]:
        """Return what a run set aside, without its raw form."""
        return await self._fetch(sql.rejects, run_id=run_id, limit=limit)

    async def scan(self, scan_id: UUID) -> Record | None:
        """Return how far a scan is; None once it is done."""
        async with self._connections.use() as conn:
            row: Record | None = await sql.scan(conn, scan_id=scan_id)
        return row

    async def _fetch(self, query: Any, **parameters: Any) -> list[Record]:
        async with self._connections.use() as conn:
            return [row async for row in query(conn, **parameters)]


def _within(run: Record) -> dict[str, datetime | None]:
    return {"started_at": run["started_at"], "completed_at": run["completed_at"]}
