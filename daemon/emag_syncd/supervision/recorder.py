"""Tells everybody who wants to know what runs do: the call log, the metrics, the log, and listeners such as a page."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any, TypeAlias
from uuid import UUID

import msgspec
import structlog
from asyncpg import Record

from emag_syncd.domain.batches import Progress
from emag_syncd.domain.calls import ApiCall
from emag_syncd.domain.runs import Counters, ErrorKind, Lease, Operation, RunRequest, Status
from emag_syncd.storage.calls import CallLog
from emag_syncd.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)

Listener: TypeAlias = Callable[[str, dict[str, Any]], None]
"""Called with the name of an event (``started``, ``progress``, ``ended``, ``lost``) and its data. Must not block."""


class Recorder:
    """Where the news of runs come together. Every method returns at once."""

    def __init__(self, metrics: Metrics, call_log: CallLog) -> None:
        """Feed ``metrics`` and ``call_log``."""
        self._metrics = metrics
        self._call_log = call_log
        self._listeners: list[Listener] = []

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Let ``listener`` know of runs from now on; the returned function ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def started(self, lease: Lease, request: RunRequest) -> None:
        """A run began in this process."""
        self._metrics.run_started(lease.account)
        log.info("run started", action="run_started", operation=lease.operation, triggered_by=request.trigger)
        self._tell("started", {"id": str(lease.run_id), "account_type": lease.account, "operation": lease.operation})

    def called(self, call: ApiCall, run_id: UUID | None) -> None:
        """One request was made to the marketplace."""
        self._metrics.call(call, str(run_id) if run_id else None)
        self._call_log.add(call, run_id)

    def rate_limited(self, account: str, wait_seconds: float) -> None:
        """The marketplace asks the account to wait."""
        self._metrics.rate_limited(account)
        log.warning("rate limited", action="rate_limited", account=account, wait_seconds=round(wait_seconds, 3))

    def paced(self, account: str, waited_seconds: float) -> None:
        """A request waited for its turn."""
        self._metrics.paced(account, waited_seconds)

    def committed(self, lease: Lease, counters: Counters, progress: Progress) -> None:
        """A batch was written."""
        self._metrics.page(lease.account, counters)
        log.debug("page committed", action="page_committed", **asdict(counters))
        self._tell("progress", {"id": str(lease.run_id), "account_type": lease.account, **asdict(progress)})

    def timed_out(self, lease: Lease) -> None:
        """A run was ended by its deadline."""
        self._metrics.timeout(lease.account)

    def abandoned(self, lease: Lease) -> None:
        """A run would not stop."""
        self._metrics.abandoned(lease.account)

    def lost(self, lease: Lease) -> None:
        """A run of this process was ended by somebody else, and has stopped; how it ended is not known here."""
        self._metrics.run_lost(lease.account)
        self._tell("lost", {"id": str(lease.run_id), "account_type": lease.account})

    def ended(self, row: Record) -> None:
        """A run ended; ``row`` is what the ledger says of it. One line of the log holds all of it."""
        self._metrics.run_finished(
            row["account_type"],
            Operation(row["operation"]),
            Status(row["status"]),
            row["duration_seconds"],
            kinds_of(row),
            run_id=str(row["id"]),
            whole=b'"max_pages"' not in row["sync_params"],
        )
        level = log.info if row["status"] == Status.COMPLETED else log.warning
        level(
            "run ended",
            action="run_ended",
            run_id=str(row["id"]),
            account=row["account_type"],
            errors=msgspec.json.decode(row["errors"]),
            **{name: row[name] for name in ("operation", "status", "triggered_by")},
            duration_seconds=round(row["duration_seconds"], 3),
            total_items=row["total_items"],
            **{name: row[name] for name in Counters.__slots__},
        )
        self._tell("ended", {"id": str(row["id"]), "account_type": row["account_type"], "status": row["status"]})

    def reaped(self, row: Record, kind: ErrorKind) -> None:
        """A row without a living process was ended."""
        self._metrics.reaped(row["account_type"], kind)
        log.warning(
            "run reaped",
            action="run_reaped",
            run_id=str(row["id"]),
            account=row["account_type"],
            kind=kind,
            worker=row["worker_id"],
        )

    def _tell(self, event: str, data: dict[str, Any]) -> None:
        for listener in tuple(self._listeners):
            listener(event, data)


def kinds_of(row: Record) -> list[ErrorKind]:
    """Return the kinds of a run's errors. What was written by hand may hold anything, and is left out."""
    errors = msgspec.json.decode(row["errors"])
    found = [error.get("kind") for error in errors if isinstance(error, dict)] if isinstance(errors, list) else []
    return [ErrorKind(kind) for kind in found if kind in list(ErrorKind)]
