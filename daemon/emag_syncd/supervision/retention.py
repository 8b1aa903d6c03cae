"""Keeps the tables bounded: what is older than the configuration says is deleted, gently."""

import asyncio
import time
from collections.abc import Callable, Mapping

import structlog

from emag_syncd.config import Settings
from emag_syncd.storage.retention import Sweeper
from emag_syncd.supervision.loops import Loop
from emag_syncd.telemetry.metrics import Metrics
from emag_syncd.telemetry.series import SweptTable

DAY = 86400.0
EVERY_SECONDS = 3600.0
LONGEST_SECONDS = 900.0
"""What one turn may take; what is left then, the next one takes up."""

BATCH = 2000
SCANS = 5
"""Rows looked at in a batch. A scan has thousands of pages, which go with it."""

SHORTEST_PAUSE = 0.02
FORGET_RECEIVER_SECONDS = 3 * DAY

log = structlog.get_logger(__name__)


class Retention:
    """Deletes in batches, and rests after each for as long as it took: half of the time at most is spent on it."""

    def __init__(self, sweeper: Sweeper, metrics: Metrics, settings: Callable[[], Settings]) -> None:
        """Ask ``settings`` anew each time: they change with a reload."""
        self._sweeper = sweeper
        self._metrics = metrics
        self._settings = settings
        self.loop = Loop("retention", self.turn, every=lambda: EVERY_SECONDS, within=LONGEST_SECONDS)

    async def turn(self) -> None:
        """Delete everything that is old. Raises DatabaseError."""
        for table, seconds in ages(self._settings()).items():
            if deleted := await self._sweep(table, seconds):
                log.info("old rows deleted", action="retention", table=table, rows=deleted)

    async def _sweep(self, table: SweptTable, seconds: float) -> int:
        limit = SCANS if table is SweptTable.SCANS else BATCH
        after, total = None, 0
        while True:
            began = time.monotonic()
            batch = await self._sweeper.batch(table, older_than_seconds=seconds, after=after, limit=limit)
            if batch is None:
                return total
            total += batch.deleted
            self._metrics.swept(table, batch.deleted)
            # Changes are seen whatever their age: the old ones come first.
            stuck = batch.deleted == 0 and (table is SweptTable.CHANGES or batch.last == after)
            if batch.seen < limit or stuck:
                return total
            after = batch.last
            await asyncio.sleep(max(SHORTEST_PAUSE, time.monotonic() - began))


def ages(settings: Settings) -> Mapping[SweptTable, float]:
    """Return how old rows may become, in seconds."""
    kept = settings.retention
    return {
        SweptTable.SCANS: settings.sync.resume_within_seconds + DAY,
        SweptTable.CHANGES: kept.changes_days * DAY,
        SweptTable.RUNS: kept.runs_days * DAY,
        SweptTable.API_CALLS: kept.api_calls_days * DAY,
        SweptTable.REJECTS: kept.rejects_days * DAY,
        SweptTable.ENDPOINTS: FORGET_RECEIVER_SECONDS,
        SweptTable.OUTBOX: kept.dead_webhooks_days * DAY,
    }
