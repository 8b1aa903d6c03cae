"""Query plans: what runs with every page or heartbeat reads by index, in tables that were never analysed too."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import msgspec

from emag_syncd.domain.batches import Batch, ScanRef, SeenPage
from emag_syncd.domain.runs import Lease, Operation
from emag_syncd.storage.connections import Connection as AnyConnection
from emag_syncd.storage.database import Database
from emag_syncd.storage.mirror import _advance, _row
from emag_syncd.storage.queries import ledger, mirror, outbox, scans
from tests.support.offers import PROGRESS, Connection, offer

SIZE = 50_000
NOW = datetime(2026, 5, 1, tzinfo=UTC)
IDS = list(range(1, 101))
RUN = {"account": "main", "sync_type": "products"}

FILL = f"""
ALTER TABLE emag_products SET (autovacuum_enabled = off);
ALTER TABLE emag_sync_logs SET (autovacuum_enabled = off);
ALTER TABLE emag_sync_scan_pages SET (autovacuum_enabled = off);
ALTER TABLE emag_webhook_outbox SET (autovacuum_enabled = off);
ALTER TABLE emag_product_changes SET (autovacuum_enabled = off);
INSERT INTO emag_products (account_type, emag_id, status, name, content_hash, raw_hash)
SELECT CASE n % 2 WHEN 0 THEN 'main' ELSE 'fbe' END, n, 1, repeat('x', 200), 'a', 'b'
FROM generate_series(1, {SIZE}) AS n;
INSERT INTO emag_sync_logs (account_type, operation, status, started_at, completed_at, scheduled_for)
SELECT 'account-' || n % 50, 'full_sync', 'completed', started_at, started_at, started_at
FROM generate_series(1, {SIZE}) AS n,
    LATERAL (SELECT timestamptz '2026-05-01Z' - n * interval '1 min') AS t (started_at);
INSERT INTO emag_sync_logs (account_type, operation)
SELECT 'running-' || n, 'full_sync' FROM generate_series(1, 20) AS n;
INSERT INTO emag_webhook_outbox (endpoint, account_type, type, first_change_id, dead_at)
SELECT 'endpoint', 'account-' || n % 50, 'product.changed', n, CASE WHEN n % 10 = 0 THEN now() END
FROM generate_series(1, {SIZE}) AS n;
INSERT INTO emag_product_changes (account_type, emag_id, kind) SELECT 'main', n, 'updated'
FROM generate_series(1, {SIZE}) AS n;
INSERT INTO emag_sync_scan_pages (scan_id, pass, start_at, end_at, id_base, id_offsets)
SELECT CASE WHEN n < 300 THEN '00000000-0000-0000-0000-000000000000' ELSE gen_random_uuid() END,
    1, n * 100, n * 100 + 100, 0, ARRAY[n]
FROM generate_series(1, {SIZE}) AS n;
"""

LEASE = Lease(uuid4(), uuid4(), "main", Operation.FULL)
PAGE = _advance(LEASE, ScanRef(uuid4(), 1), Batch(pages=[SeenPage(0, 100, IDS)]), PROGRESS)
CLAIM = {
    **RUN,
    "run_id": uuid4(),
    "operation": "full_sync",
    "triggered_by": "api",
    "sync_params": b"{}",
    "scheduled_for": NOW,
    "worker_id": "w",
    "lease_seconds": 60.0,
}
FINISH = {
    "run_id": uuid4(),
    "token": uuid4(),
    "status": "completed",
    "errors": b"[]",
    "warnings": None,
    "api_requests_made": 0,
    "rate_limit_hits": 0,
    "scan_done": True,
    "commits": 1,
}

QUERIES: dict[str, tuple[Any, Any]] = {
    "known": (mirror.known, {"account": "main", "ids": IDS}),
    "stored": (mirror.stored, {"account": "main", "ids": IDS}),
    "advance": (mirror.advance, {**PAGE, "commits": 0, "lease_seconds": 60.0}),
    "upsert": (mirror.upsert, [_row("main", offer(7))]),
    "claim": (ledger.claim, CLAIM),
    "claimed": (ledger.claimed, {"run_id": uuid4(), "worker_id": "w"}),
    "finish": (ledger.finish, FINISH),
    "remove": (mirror.remove, {"account": "main", "ids": IDS}),
    "commits_of": (mirror.commits_of, {"run_id": uuid4(), "token": uuid4()}),
    "hold": (scans.hold, {"run_id": uuid4(), "token": uuid4()}),
    "read_spans": (scans.read_spans, {"scan_id": uuid4(), "pass_no": 1}),
    "most_counted": (scans.most_counted, {"account": "account-7", "scan_id": uuid4()}),
    "distinct_seen": (scans.distinct_seen, {"scan_id": uuid4(), "pass_no": 1}),
    "running_of": (ledger.running_of, RUN),
    "slot_taken": (ledger.slot_taken, {**RUN, "operation": "full_sync", "scheduled_for": NOW, "run_id": uuid4()}),
    "slot_covered": (ledger.slot_covered, {**RUN, "operation": "full_sync", "slot": NOW, "other_than": None}),
    "beat": (ledger.beat, {"ids": [uuid4()], "tokens": [uuid4()], "lease_seconds": 60.0}),
    "reap": (ledger.reap, {"account": None, "stale_after_seconds": 900.0}),
    "reap one": (ledger.reap, {"account": "main", "stale_after_seconds": 900.0}),
    "stale_count": (ledger.stale_count, {"stale_after_seconds": 900.0}),
    "end_free_runs": (ledger.end_free_runs, {"ids": [uuid4()], "status": "failed", "errors": b"[]"}),
    "end_runs": (ledger.end_runs, {"ids": [uuid4()], "status": "failed", "errors": b"[]"}),
    "older_than": (ledger.older_than, {"seconds": 900.0}),
    "held_by_workers": (ledger.held_by_workers, {"prefix": "host/"}),
    "running_runs": (ledger.running_runs, {}),
    "by_id": (ledger.by_id, {"run_id": uuid4()}),
    "claim_lanes": (outbox.claim_lanes, {"endpoint": "endpoint", "limit": 8, "claim_seconds": 45.0}),
    "delivered": (outbox.delivered, {"id": 7, "claim": uuid4(), "claim_seconds": 45.0}),
    "failed": (
        outbox.failed,
        {"id": 7, "claim": uuid4(), "error": "e", "wait_seconds": 1.0, "patience_seconds": 1.0},
    ),
    "changes_of": (outbox.changes_of, {"first_id": 7, "last_id": 107, "account": "main", "run_id": uuid4()}),
    "progress_of": (ledger.progress_of, {}),
    "last_successes": (ledger.last_successes, {}),
    "last_runs": (ledger.last_runs, {}),
    "outcomes": (ledger.outcomes, {**RUN, "limit": 12}),
    "history": (ledger.history, {"account": None, "status": None, "before": None, "limit": 50}),
    "history of one": (ledger.history, {"account": "account-7", "status": None, "before": NOW, "limit": 50}),
}

ALWAYS_PLANNED = {"history", "history of one"}
"""Their plans depend so much on the values that PostgreSQL never settles for one that knows none."""

BIG = {
    "emag_products",
    "emag_sync_logs",
    "emag_sync_scan_pages",
    "emag_webhook_outbox",
    "emag_product_changes",
    "emag_api_calls",
    "emag_sync_rejects",
}


class Explaining:
    """A connection that has each statement planned instead of executed.

    ``generic`` plans are those that PostgreSQL makes, once for any values, after a few executions.
    """

    def __init__(self, conn: AnyConnection, *, generic: bool) -> None:
        self._conn = conn
        self._generic = generic
        self.nodes: list[dict[str, Any]] = []

    async def fetch(self, statement: str, *values: Any) -> list[Any]:
        if self._generic:
            await self._conn.execute(f"PREPARE planned AS {statement}")
            nulls = f"({', '.join(['NULL'] * len(values))})" if values else ""
            plan = await self._conn.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE planned {nulls}")
            await self._conn.execute("DEALLOCATE planned")
        else:
            plan = await self._conn.fetchval(f"EXPLAIN (FORMAT JSON) {statement}", *values)
        self.nodes = _nodes(msgspec.json.decode(plan)[0]["Plan"])
        return []

    execute = fetchrow = fetchval = fetch

    async def executemany(self, statement: str, rows: list[Any]) -> None:
        await self.fetch(statement, *rows[0])


def _nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for below in plan.get("Plans", ()) for node in _nodes(below))]


async def scanned(conn: AnyConnection, query: Any, values: Any, *, generic: bool = False) -> list[str]:
    """Return the big tables that the query's plan reads from end to end."""
    explaining = Explaining(conn, generic=generic)
    planned = query(explaining, **values) if isinstance(values, dict) else query(explaining, values)
    if isinstance(planned, AsyncIterator):
        planned = anext(planned, None)
    await planned
    assert explaining.nodes
    return [
        node["Relation Name"]
        for node in explaining.nodes
        if node["Node Type"] == "Seq Scan" and node["Relation Name"] in BIG
    ]


async def test_every_frequent_query_uses_an_index(database: Database, sql: Connection) -> None:
    """Planned with its values and, as after a few executions, without; before the first ANALYZE and after it."""
    await sql.execute(FILL)
    found = {}
    async with database.use() as conn:
        await conn.execute("SET plan_cache_mode = force_generic_plan")
        for analysed in (False, True):
            if analysed:
                await sql.execute("ANALYZE")
            for generic in (False, True):
                for name, (query, values) in QUERIES.items():
                    if generic and name in ALWAYS_PLANNED:
                        continue
                    found[name, generic, analysed] = await scanned(conn, query, values, generic=generic)
    assert {name: tables for name, tables in found.items() if tables} == {}


async def test_a_plan_that_reads_everything_is_noticed(database: Database, sql: Connection) -> None:
    """The test above can fail."""
    await sql.execute(FILL)
    async with database.use() as conn:
        assert await scanned(conn, mirror.states, {"rejected": [8]}) == ["emag_products"]


async def test_counting_a_scan_takes_its_own_pages_only(database: Database, sql: Connection) -> None:
    """The same with real rows: the pages of other scans are not visited."""
    await sql.execute(FILL)
    async with database.use() as conn:
        values = {"scan_id": UUID(int=0), "pass_no": 1}
        assert await scans.distinct_seen(conn, **values) == 299
        spans = [tuple(row) async for row in scans.read_spans(conn, **values)]
    assert spans == [(100, 30_000)]
