"""Builders of runs and of what they write, and a way to see which rows were written."""

from collections.abc import Sequence
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg
import msgspec

from emag_syncd.domain.batches import Batch, Progress, SeenPage
from emag_syncd.domain.canonical import digest
from emag_syncd.domain.changes import creation, removal
from emag_syncd.domain.offers import COLUMNS, Offer, Reject
from emag_syncd.domain.runs import Counters, Lease, Operation, RunRequest, Trigger
from emag_syncd.storage.ledger import Ledger
from tests.support.twin import LedgerTwin

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

STALE_AFTER = 900.0
PROGRESS = Progress(current_page=1, total_pages=2, processed_items=3, total_items=4)

TABLES = (
    "emag_sync_logs",
    "emag_sync_progress",
    "emag_sync_scans",
    "emag_sync_scan_pages",
    "emag_products",
    "emag_product_changes",
    "emag_sync_rejects",
)

_json = msgspec.json.Encoder(decimal_format="number")


def request(account: str = "main", operation: Operation = Operation.FULL, **wanted: Any) -> RunRequest:
    """Return the request of a run."""
    return RunRequest(account, operation, wanted.pop("trigger", Trigger.API), **wanted)


async def claimed(ledger: Ledger | LedgerTwin, account: str = "main", **wanted: Any) -> Lease:
    """Claim a run."""
    return await ledger.claim(request(account, **wanted), stale_after_seconds=STALE_AFTER)


async def expire(sql: Connection, *leases: Lease) -> None:
    """Let the leases run out, as they do when their process hangs."""
    await sql.execute(
        "UPDATE emag_sync_logs SET lease_expires_at = clock_timestamp() - interval '1 second' WHERE id = ANY ($1)",
        [lease.run_id for lease in leases],
    )


async def by_hand(sql: Connection, account: str = "main", **columns: Any) -> Any:
    """Insert a run with the two columns that have no default, and those given, as another program does."""
    values = {"account_type": account, "operation": "full_sync", **columns}
    places = ", ".join(f"${n}" for n in range(1, len(values) + 1))
    return await sql.fetchval(
        f"INSERT INTO emag_sync_logs ({', '.join(values)}) VALUES ({places}) RETURNING id", *values.values()
    )


async def grow_old(sql: Connection, run_id: UUID, seconds: float) -> None:
    """Let a run have begun that long ago."""
    await sql.execute(
        "UPDATE emag_sync_logs SET started_at = clock_timestamp() - make_interval(secs => $2) WHERE id = $1",
        run_id,
        seconds,
    )


def offer(emag_id: int, *, raw: bytes | None = None, **columns: Any) -> Offer:
    """Return an offer with these columns, the others being null."""
    values = {**dict.fromkeys(COLUMNS), **columns}
    assert len(values) == len(COLUMNS), "there is no such column"
    raw = _json.encode({"id": emag_id, **columns}) if raw is None else raw
    return Offer(emag_id, values, raw, digest(raw), digest(b"content" + raw), {})


def page(start: int, ids: Sequence[int], *, size: int = 100) -> SeenPage:
    """Return the checkpoint of the page at position ``start``."""
    return SeenPage(start, start + size, ids)


def creating(*offers: Offer, start: int = 0) -> Batch:
    """Return a page of offers that are all new."""
    return Batch(
        pages=[page(start, [one.emag_id for one in offers])],
        writes=list(offers),
        changes=[creation(one) for one in offers],
        counters=Counters(processed_items=len(offers), created_items=len(offers), pages_processed=1),
    )


def removing(*ids: int) -> Batch:
    """Return the removal of offers."""
    return Batch(removals=list(ids), changes=[removal(one) for one in ids], counters=Counters(removed_items=len(ids)))


def everything(first_id: int, *, removed: int, start: int) -> Batch:
    """Return a batch that writes to every table: two new offers, one removed, one reject."""
    batch = creating(offer(first_id, name="a"), offer(first_id + 1, name="b"), start=start)
    batch.removals.append(removed)
    batch.changes.append(removal(removed))
    batch.rejects.append((start // 100 + 1, Reject("no id", b"{}")))
    batch.counters.add(Counters(processed_items=1, removed_items=1, failed_items=1))
    return batch


async def rows(conn: Connection, *tables: str) -> dict[str, list[tuple[Any, ...]]]:
    """Return the rows of these tables, or of all that a run writes, each with the transaction that wrote it."""
    return {
        table: [
            tuple(row) for row in await conn.fetch(f"SELECT ctid::text, xmin::text, t::text FROM {table} t ORDER BY 1")
        ]
        for table in tables or TABLES
    }


async def counted(conn: Connection, run_id: UUID) -> dict[str, int]:
    """Return what the tables hold of a run's work, under the names of its counters."""
    found = await conn.fetchrow(
        """
        SELECT count(*) FILTER (WHERE kind = 'created') AS created_items,
            count(*) FILTER (WHERE kind IN ('updated', 'restored')) AS updated_items,
            count(*) FILTER (WHERE kind = 'removed') AS removed_items,
            (SELECT count(*) FROM emag_sync_rejects WHERE sync_log_id = $1) AS failed_items
        FROM emag_product_changes WHERE sync_log_id = $1
        """,
        run_id,
    )
    assert found is not None
    return dict(found)


async def counters(conn: Connection, run_id: UUID) -> dict[str, int]:
    """Return what the run says of its work, as ``counted`` does."""
    found = await conn.fetchrow(
        "SELECT created_items, updated_items, removed_items, failed_items FROM emag_sync_logs WHERE id = $1", run_id
    )
    assert found is not None
    return dict(found)
