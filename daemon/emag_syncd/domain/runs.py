"""Runs: what is asked for, what is recorded, how they end."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid4

PRODUCTS = "products"
"""The one sync type there is."""


class Operation(StrEnum):
    """What a run reads: everything, the active offers, or what a filter selects."""

    FULL = "full_sync"
    INCREMENTAL = "incremental_sync"
    SELECTIVE = "selective_sync"

    @property
    def mode(self) -> str:
        """The operation's name on the command line and in the API."""
        return self.value.removesuffix("_sync")

    @classmethod
    def of_mode(cls, mode: str) -> "Operation":
        """Return the operation called ``mode``. Raises ValueError for any other name."""
        return cls(f"{mode}_sync")


class Status(StrEnum):
    """The state of a run. ``running`` is the only one that ever changes."""

    RUNNING = "running"
    COMPLETED = "completed"
    PARTIAL = "partial"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Trigger(StrEnum):
    """Who asked for a run."""

    SCHEDULE = "schedule"
    API = "api"
    CONSOLE = "console"
    CLI = "cli"


class ErrorKind(StrEnum):
    """Why a run did not complete: a closed set, used in rows, metrics and alerts."""

    TIMEOUT = "timeout"
    STALE = "stale"
    INTERRUPTED = "interrupted"
    SHUTDOWN = "shutdown"
    CANCELLED = "cancelled"
    MARKETPLACE_UNAVAILABLE = "marketplace_unavailable"
    MARKETPLACE_REJECTED = "marketplace_rejected"
    CREDENTIALS = "credentials"
    IP_NOT_ALLOWED = "ip_not_allowed"
    PROTOCOL = "protocol"
    DATABASE = "database"
    REMOVAL_GUARD = "removal_guard"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class RunError:
    """One entry of a run's ``errors``: a sentence a person understands, and its kind."""

    kind: ErrorKind
    error: str


@dataclass(frozen=True, slots=True)
class RunRequest:
    """A run that somebody wants.

    ``filters`` are the marketplace's own and used by selective runs only. With ``max_pages`` the run reads that
    far and judges neither completeness nor removals. ``scheduled_for`` is the slot of a scheduled run.
    """

    account: str
    operation: Operation
    trigger: Trigger
    scheduled_for: datetime | None = None
    filters: Mapping[str, Any] = field(default_factory=dict)
    max_pages: int | None = None
    page_size: int | None = None
    include_inactive: bool = False
    run_id: UUID = field(default_factory=uuid4)

    def params(self) -> dict[str, Any]:
        """What ``sync_params`` records of the request."""
        wanted = {
            "mode": self.operation.mode,
            "filters": dict(self.filters),
            "max_pages": self.max_pages,
            "items_per_page": self.page_size,
            "include_inactive": self.include_inactive,
        }
        return {key: value for key, value in wanted.items() if value not in (None, {}, False)}


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to write for one run. Whoever's token is not the row's any more may write nothing."""

    run_id: UUID
    token: UUID
    account: str
    operation: Operation


@dataclass(slots=True)
class Counters:
    """What a run did. The names are the columns of ``emag_sync_logs``."""

    processed_items: int = 0
    created_items: int = 0
    updated_items: int = 0
    unchanged_items: int = 0
    removed_items: int = 0
    failed_items: int = 0
    pages_processed: int = 0
    api_requests_made: int = 0
    rate_limit_hits: int = 0

    def add(self, other: "Counters") -> None:
        """Add ``other`` to these."""
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended, before it is recorded. With ``scan_done`` there is nothing left to take up."""

    status: Status
    errors: tuple[RunError, ...] = ()
    scan_done: bool = False

    @classmethod
    def of(cls, status: Status, kind: ErrorKind, error: str, *, scan_done: bool = False) -> "Outcome":
        """Return an outcome with one error."""
        return cls(status, (RunError(kind, error),), scan_done)
