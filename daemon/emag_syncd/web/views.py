"""Rows as the API shows them."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

import msgspec
from asyncpg import Record

RUN = (
    "id",
    "sync_type",
    "account_type",
    "operation",
    "status",
    "started_at",
    "completed_at",
    "duration_seconds",
    "total_items",
    "processed_items",
    "created_items",
    "updated_items",
    "unchanged_items",
    "removed_items",
    "failed_items",
    "pages_processed",
    "api_requests_made",
    "rate_limit_hits",
    "triggered_by",
    "scheduled_for",
    "worker_id",
    "heartbeat_at",
    "lease_expires_at",
)
RUN_JSON = ("errors", "warnings", "sync_params")
PROGRESS = (
    "current_page",
    "total_pages",
    "processed_items",
    "total_items",
    "items_per_second",
    "estimated_completion",
    "updated_at",
)


def run_view(row: Record, progress: Record | None = None) -> dict[str, Any]:
    """Return a run: the columns of its row that are of use outside, and how far it is where that is known."""
    view = {name: row[name] for name in RUN}
    view |= {name: msgspec.Raw(row[name]) for name in RUN_JSON}
    view["progress"] = None if progress is None else {name: progress[name] for name in PROGRESS}
    return view


def run_views(rows: Iterable[Record], progress: Iterable[Record]) -> list[dict[str, Any]]:
    """Return runs, each with its own progress."""
    by_run: dict[UUID, Record] = {row["sync_log_id"]: row for row in progress}
    return [run_view(row, by_run.get(row["id"])) for row in rows]


def run_errors(row: Record) -> list[Any]:
    """Return the ``errors`` of a run. A row written by hand may hold anything."""
    errors = msgspec.json.decode(row["errors"])
    return errors if isinstance(errors, list) else [errors]
