"""Rows as the API shows them."""

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, TypeAlias, TypedDict, cast
from uuid import UUID

import msgspec
from asyncpg import Record

from emag_syncd.domain.runs import Operation, Status

Moment: TypeAlias = Annotated[datetime, msgspec.Meta(tz=True)]
"""A point in time, which says in which zone."""


class ProgressView(TypedDict):
    """How far a run is."""

    current_page: int
    total_pages: int
    processed_items: int
    total_items: int
    items_per_second: float | None
    estimated_completion: Moment | None
    updated_at: Moment


class RunView(TypedDict):
    """A run. What stands in ``errors``, ``warnings`` and ``sync_params`` of a row written by hand may be anything."""

    id: UUID
    sync_type: str
    account_type: str
    operation: Operation
    status: Status
    started_at: Moment
    completed_at: Moment | None
    duration_seconds: float | None
    total_items: int
    processed_items: int
    created_items: int
    updated_items: int
    unchanged_items: int
    removed_items: int
    failed_items: int
    pages_processed: int
    api_requests_made: int
    rate_limit_hits: int
    triggered_by: str
    scheduled_for: Moment | None
    worker_id: str | None
    heartbeat_at: Moment | None
    lease_expires_at: Moment | None
    errors: Any
    warnings: Any
    sync_params: Any
    progress: ProgressView | None


RUN_JSON = frozenset({"errors", "warnings", "sync_params"})
RUN = tuple(name for name in RunView.__annotations__ if name not in {*RUN_JSON, "progress"})
PROGRESS = tuple(ProgressView.__annotations__)


def run_view(row: Record, progress: Record | None = None) -> RunView:
    """Return a run: the columns of its row that are of use outside, and how far it is where that is known."""
    view: dict[str, Any] = {name: row[name] for name in RUN}
    view |= {name: msgspec.Raw(row[name]) for name in RUN_JSON}
    view["progress"] = None if progress is None else {name: progress[name] for name in PROGRESS}
    return cast("RunView", view)


def run_views(rows: Iterable[Record], progress: Iterable[Record]) -> list[RunView]:
    """Return runs, each with its own progress."""
    by_run: dict[UUID, Record] = {row["sync_log_id"]: row for row in progress}
    return [run_view(row, by_run.get(row["id"])) for row in rows]


def run_errors(row: Record) -> list[Any]:
    """Return the ``errors`` of a run. A row written by hand may hold anything."""
    errors = msgspec.json.decode(row["errors"])
    return errors if isinstance(errors, list) else [errors]
