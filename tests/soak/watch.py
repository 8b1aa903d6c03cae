"""Looks at the ledger while everything happens: no account runs twice, and no row outlives its process."""

import asyncio
import time
from contextlib import suppress

import asyncpg

from tests.soak.world import AWAY, STALE_SECONDS, World
from tests.support.fleet import WATCHDOG_SECONDS

EVERY_SECONDS = 0.5
SLACK_SECONDS = 8.0
"""Beyond the watchdog's interval: what its turn may take where ten processes share two cores."""

LATE = """
SELECT id, account_type, worker_id, extract(epoch FROM
    clock_timestamp() - coalesce(lease_expires_at, started_at + make_interval(secs => $1)))::float8 AS late
FROM emag_sync_logs WHERE status = 'running'
"""
TWICE = "SELECT account_type FROM emag_sync_logs WHERE status = 'running' GROUP BY 1 HAVING count(*) > 1"


class Watch:
    """Notes in ``world.wrong`` what must not be seen at any moment."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._able_since = time.monotonic()
        self._told: set[object] = set()
        self.looks = 0

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            try:
                async with asyncio.timeout(2):
                    conn = await asyncpg.connect(self._world.dsn)
            except AWAY:
                self._able_since = time.monotonic()
            else:
                with suppress(*AWAY):
                    await self._look_on(conn)
                conn.terminate()
                self._able_since = time.monotonic()
            await asyncio.sleep(EVERY_SECONDS)

    async def _look_on(self, conn: "asyncpg.Connection[asyncpg.Record]") -> None:
        while True:
            async with asyncio.timeout(2):
                late, twice = await conn.fetch(LATE, STALE_SECONDS), await conn.fetch(TWICE)
            if not any(member.is_able for member in self._world.members):
                self._able_since = time.monotonic()
            self.looks += 1
            self._judge(late, twice)
            await asyncio.sleep(EVERY_SECONDS)

    def _judge(self, late: list[asyncpg.Record], twice: list[asyncpg.Record]) -> None:
        able_for = time.monotonic() - self._able_since
        for row in late:
            # Nobody can end it while no daemon lives or the database is away.
            overdue = min(row["late"], able_for)
            if overdue > WATCHDOG_SECONDS + SLACK_SECONDS and row["id"] not in self._told:
                self._told.add(row["id"])
                self._world.wrong.append(
                    f"run {row['id']} of {row['account_type']} by {row['worker_id']} still runs {overdue:.1f} s"
                    " after it should have been ended"
                )
        for row in twice:
            self._world.wrong.append(f"{row['account_type']} has two live runs")
