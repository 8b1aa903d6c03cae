"""Keeps the leases of living runs, and ends the rows that no living process stands behind."""

import time
from uuid import UUID

import structlog

from emag_syncd.domain.runs import ErrorKind, RunError, Status
from emag_syncd.storage.ledger import Ledger
from emag_syncd.supervision.supervisor import Supervisor
from emag_syncd.supervision.worker import Worker
from emag_syncd.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)


class Heartbeat:
    """Renews the leases of this process's runs, on a connection that they can't exhaust."""

    def __init__(self, ledger: Ledger, supervisor: Supervisor) -> None:
        """Beat for the runs of ``supervisor``."""
        self._ledger = ledger
        self._supervisor = supervisor

    async def turn(self) -> None:
        """Renew every lease once; stop the runs that were ended meanwhile. Raises DatabaseError."""
        handles = self._supervisor.handles()
        if not handles:
            return
        alive = await self._ledger.beat([handle.lease for handle in handles])
        for handle in handles:
            if handle.lease.run_id not in alive and not handle.finished.done():
                self._supervisor.lost(handle.lease.run_id)


class Watchdog:
    """Ends the runs whose process is dead or hangs, in whatever daemon it was."""

    def __init__(self, ledger: Ledger, supervisor: Supervisor, metrics: Metrics, worker: Worker) -> None:
        """Look through ``ledger`` for runs that nobody stands behind."""
        self._ledger = ledger
        self._supervisor = supervisor
        self._metrics = metrics
        self._worker = worker

    async def recover(self) -> list[UUID]:
        """End what dead processes of this host left behind, and return those runs. Raises DatabaseError."""
        held = await self._ledger.held_by(self._worker.prefix)
        orphans = [run_id for run_id, worker_id in held if self._worker.outlived(worker_id)]
        if not orphans:
            return []
        error = RunError(
            ErrorKind.INTERRUPTED,
            "Interrupted: its process on this host is gone; a full scan is taken up again",
        )
        rows = await self._ledger.end_free(orphans, Status.FAILED, error)
        self._supervisor.reaped(rows, ErrorKind.INTERRUPTED)
        return [row["id"] for row in rows]

    async def turn(self) -> None:
        """End every run whose process is gone or whose lease ran out. Raises DatabaseError."""
        await self.recover()
        stale_after = self._supervisor.settings.stale_after_seconds
        self._supervisor.reaped(await self._ledger.reap(stale_after_seconds=stale_after))
        self._metrics.stale_runs(await self._ledger.stale_count(stale_after_seconds=stale_after))
        self._metrics.watchdog_ran(time.time())
