"""Everything of a kind, a batch at a time, at any size.

Each batch is a short transaction of its own that goes on behind the last row of the one before: however slowly somebody
reads, no transaction and no connection waits for him.
"""

from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any

from asyncpg import Record

from emag_syncd.domain.offers import COLUMNS
from emag_syncd.domain.products import Place, ProductFilter, Removed, Sort
from emag_syncd.storage.catalogue import Catalogue
from emag_syncd.storage.matching import matching
from emag_syncd.storage.queries import catalogue as sql

BATCH = 500

PRODUCT = ("account_type", "emag_id", *COLUMNS, "first_seen_at", "updated_at", "removed_at")
CHANGE = ("id", "changed_at", "account_type", "emag_id", "kind", "changes", "sync_log_id")
RUN = (
    "id",
    "account_type",
    "operation",
    "status",
    "triggered_by",
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
    "errors",
    "warnings",
)


async def products(catalogue: Catalogue, wanted: ProductFilter) -> AsyncGenerator[list[Record], None]:
    """Yield products by account and id. Each that is there all the time comes once. Raises DatabaseError."""
    after: Place | None = None
    while True:
        page = await catalogue.page(wanted, Sort(), limit=BATCH, after=after)
        yield page.rows
        if page.next is None:
            return
        after = page.next


async def changes(catalogue: Catalogue, wanted: ProductFilter) -> AsyncGenerator[list[Record], None]:
    """Yield the changes of an account, or of the products that a search finds, oldest first. Raises DatabaseError."""
    after = 0
    values: dict[str, Any] = {"limit": BATCH, "account": wanted.account, "kind": None}
    query = sql.changes_after
    if wanted.search:
        query = sql.changes_of_matching
        values = {"limit": BATCH, **matching(replace(wanted, removed=Removed.ANY))}
    while True:
        rows = await catalogue.settled_changes(query, after=after, **values)
        yield rows
        if len(rows) < BATCH:
            return
        after = rows[-1]["id"]


async def runs(catalogue: Catalogue, wanted: ProductFilter) -> AsyncGenerator[list[Record], None]:
    """Yield the runs of an account, or all, oldest first. Raises DatabaseError."""
    after: dict[str, Any] = {"after_id": None, "after_start": None}
    while True:
        rows = await catalogue.rows(sql.runs_after, account=wanted.account, limit=BATCH, **after)
        yield rows
        if len(rows) < BATCH:
            return
        after = {"after_id": rows[-1]["id"], "after_start": rows[-1]["started_at"]}
