"""Deletes what is old from the tables that grow, a batch at a time."""

from dataclasses import dataclass
from typing import Any

from emag_syncd.storage.connections import Connections
from emag_syncd.storage.queries import retention as sql
from emag_syncd.telemetry.series import SweptTable

LOCK_KEY = 0x656D61675F737770
"""Of the advisory lock that lets one daemon sweep at a time: ``emag_swp``."""

LATEST_RUNS = 12
"""How many of an account's runs are kept whatever their age: as many as the schedule looks at."""

_QUERIES: dict[SweptTable, Any] = {
    SweptTable.CHANGES: sql.sweep_changes,
    SweptTable.RUNS: sql.sweep_runs,
    SweptTable.API_CALLS: sql.sweep_api_calls,
    SweptTable.REJECTS: sql.sweep_rejects,
    SweptTable.SCANS: sql.sweep_scans,
    SweptTable.ENDPOINTS: sql.sweep_endpoints,
    SweptTable.OUTBOX: sql.sweep_outbox,
}


@dataclass(frozen=True, slots=True)
class Batch:
    """What one batch saw and deleted, and where the next one begins."""

    seen: int
    deleted: int
    last: Any


class Sweeper:
    """Every method raises DatabaseError when PostgreSQL does not answer."""

    def __init__(self, connections: Connections) -> None:
        """Delete through ``connections``."""
        self._connections = connections

    async def batch(self, table: SweptTable, *, older_than_seconds: float, after: Any, limit: int) -> Batch | None:
        """Look at up to ``limit`` rows from ``after`` on, and delete those that are old and that nothing reads.

        None while another daemon does it.
        """
        more = {"latest": LATEST_RUNS} if table is SweptTable.RUNS else {}
        async with self._connections.use() as conn, conn.transaction():
            if not await sql.only_sweeper(conn, key=LOCK_KEY):
                return None
            row = await _QUERIES[table](conn, seconds=older_than_seconds, after=after, limit=limit, **more)
        return Batch(**row)
