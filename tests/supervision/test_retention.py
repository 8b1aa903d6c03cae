"""Retention: what is old goes, in small batches, and what something still reads stays."""

import asyncio
from datetime import datetime
from typing import Any
from uuid import uuid4

import pytest

from emag_syncd.domain.runs import Counters, Operation, Outcome, Status
from emag_syncd.storage.database import Database
from emag_syncd.storage.ledger import Ledger
from emag_syncd.storage.queries import retention as queries
from emag_syncd.storage.retention import LATEST_RUNS, LOCK_KEY
from emag_syncd.storage.scans import Scans
from emag_syncd.supervision import retention as module
from emag_syncd.supervision.prospects import LOOKED_AT
from emag_syncd.supervision.retention import Retention
from tests.notify.support import end_runs
from tests.storage.test_plans import scanned
from tests.support.engines import core_on, sample, until_stopped
from tests.support.offers import Connection, by_hand, claimed

KEEP = {"changes_days": 100, "runs_days": 10, "api_calls_days": 30, "rejects_days": 20, "dead_webhooks_days": 5}

CHANGES = """
INSERT INTO emag_product_changes (emag_id, account_type, kind, changed_at, sync_log_id)
SELECT n, 'main', 'updated', now() - ($1 - n) * interval '1 day', $2 FROM generate_series(1, $1) AS n
"""
CALLS = """
INSERT INTO emag_api_calls (called_at, duration_ms, is_error, account_type, resource, outcome)
SELECT now() - n * interval '1 day', 1, false, 'main', 'vat/read', 'ok' FROM generate_series(0, $1 - 1) AS n
"""
REJECTS = """
INSERT INTO emag_sync_rejects (created_at, account_type, reason, raw)
SELECT now() - n * interval '1 day', 'main', 'no id', '{}' FROM generate_series(0, $1 - 1) AS n
"""
RUNS = """
INSERT INTO emag_sync_logs (account_type, operation, status, started_at, completed_at)
SELECT $1, 'incremental_sync', 'completed', now() - n * interval '1 day', now() - n * interval '1 day'
FROM generate_series(1, $2) AS n
"""


async def sweep(database: Database, **kept: int) -> dict[str, int]:
    """Let retention turn once, and return how many rows it deleted, by table."""
    async with core_on(database, until_stopped, "main", "fbe", retention={**KEEP, **kept}) as core:
        await core.retention.turn()
        tables = [one for one in module.ages(core.settings) if sample(core, "emag_retention_deleted_total", table=one)]
        return {one.value: int(sample(core, "emag_retention_deleted_total", table=one) or 0) for one in tables}


async def started(sql: Connection, where: str = "true") -> list[int]:
    """Return how many days ago the runs began, the latest first."""
    found = await sql.fetch(
        f"SELECT extract(day FROM now() - started_at)::int AS days FROM emag_sync_logs WHERE {where} ORDER BY 1"
    )
    return [row["days"] for row in found]


async def test_each_table_has_its_own_age(database: Database, sql: Connection) -> None:
    """Changes, calls and rejects go when they are as old as the configuration says; runs leave their changes behind."""
    run_id = await by_hand(sql, status="completed", started_at=datetime.fromisoformat("2020-01-01T00:00:00+00:00"))
    await sql.execute(CHANGES, 150, run_id)
    await sql.execute(CALLS, 50)
    await sql.execute(REJECTS, 50)
    await sql.execute(RUNS, "main", 40)
    assert await sweep(database) == {
        "emag_product_changes": 50,
        "emag_api_calls": 20,
        "emag_sync_rejects": 30,
        "emag_sync_logs": 28,
    }
    assert await sql.fetchval("SELECT min(emag_id) FROM emag_product_changes") == 51
    assert await sweep(database) == {}
    # The run of 2020 is the latest full sync of its kind; were it gone, its changes would still be there.
    await sql.execute("DELETE FROM emag_sync_logs")
    assert await sql.fetchval("SELECT count(*) FROM emag_product_changes WHERE sync_log_id = $1", run_id) == 100


async def test_what_is_read_of_runs_stays(database: Database, sql: Connection) -> None:
    """The latest of each operation and outcome, those the schedule looks at, the latest slot, and running ones."""
    assert LATEST_RUNS >= LOOKED_AT
    await sql.execute(RUNS, "main", 60)
    old = "now() - interval '{} days'"
    for days, operation, status, params in (
        (70, "full_sync", "completed", "{}"),
        (65, "full_sync", "completed", '{"max_pages": 1}'),
        (64, "full_sync", "completed", '{"max_pages": 1}'),
        (80, "full_sync", "failed", "{}"),
        (81, "full_sync", "failed", "{}"),
        (90, "selective_sync", "cancelled", "{}"),
        (300, "selective_sync", "running", "{}"),
    ):
        await sql.execute(
            "INSERT INTO emag_sync_logs (account_type, operation, status, sync_params, started_at)"
            f" VALUES ('main', '{operation}', '{status}', '{params}', {old.format(days)})"
        )
    await sql.execute(
        "INSERT INTO emag_sync_logs (account_type, operation, status, started_at, scheduled_for)"
        f" SELECT 'main', 'full_sync', 'failed', {old.format(100)} + n * interval '1 hour', {old.format(100)}"
        " + n * interval '1 hour' FROM generate_series(1, 3) AS n"
    )
    ledger = Ledger(database, worker_id="w", lease_seconds=60)
    before = (await ledger.last_successes(), await ledger.outcomes("main", LOOKED_AT), await ledger.last_runs())
    await sweep(database)
    after = (await ledger.last_successes(), await ledger.outcomes("main", LOOKED_AT), await ledger.last_runs())
    strip = [[tuple(row)[:5] for row in rows] for rows in (before[1], after[1])]
    assert (before[0], before[2], strip[0]) == (after[0], after[2], strip[1])
    assert await started(sql, "operation = 'incremental_sync'") == list(range(1, 13))
    assert await started(sql, "operation = 'full_sync' AND status = 'completed'") == [64, 70]
    # Of the failed ones, the latest, and the one that had the latest slot.
    assert await started(sql, "operation = 'full_sync' AND status = 'failed'") == [80, 99]
    assert await started(sql, "operation = 'selective_sync'") == [90, 300]


async def test_a_scan_stays_as_long_as_it_is_of_use(database: Database, sql: Connection) -> None:
    """One that can be taken up, one that a run works on, and the runs of both; an old one goes with its pages."""
    ledger, scans = Ledger(database, worker_id="w", lease_seconds=60), Scans(database)
    leases = {account: await claimed(ledger, account) for account in ("main", "fbe", "third")}
    found = {name: await scans.open(lease, resume_within_seconds=1e6) for name, lease in leases.items()}
    for ref in found.values():
        await sql.execute("INSERT INTO emag_sync_scan_pages VALUES ($1, 1, 0, 100, 0, '{1}')", ref.id)
    for name in ("fbe", "third"):
        await ledger.finish(leases[name], Outcome(Status.PARTIAL), Counters())
    await sql.execute("UPDATE emag_sync_logs SET started_at = started_at - interval '40 days'")
    await sql.execute(
        "UPDATE emag_sync_scans SET started_at = started_at - interval '40 days' WHERE account_type <> 'third'"
    )
    assert await sweep(database) == {"emag_sync_scans": 1}
    left = await sql.fetch("SELECT id FROM emag_sync_scans")
    pages = await sql.fetch("SELECT scan_id FROM emag_sync_scan_pages")
    assert {row["id"] for row in left} == {row["scan_id"] for row in pages} == {found["main"].id, found["third"].id}
    for _ in range(LATEST_RUNS + 1):
        await end_runs(sql, 1, "third")
    await sql.execute(
        "INSERT INTO emag_sync_logs (account_type, operation, status) VALUES ('third', 'full_sync', 'partial')"
    )
    await sweep(database)
    assert await sql.fetchval("SELECT count(*) FROM emag_sync_logs WHERE scan_id = $1", found["third"].id) == 1
    await sql.execute("UPDATE emag_sync_scans SET started_at = started_at - interval '40 days'")
    await sweep(database)
    assert await sql.fetchval("SELECT count(*) FROM emag_sync_logs WHERE scan_id = $1", found["third"].id) == 0


async def test_what_a_webhook_has_to_tell_stays(database: Database, sql: Connection) -> None:
    """Changes, however old, from the oldest on that a message is about; dead and forgotten messages go in time."""
    await sql.execute(CHANGES, 200, uuid4())
    await sql.execute(
        "INSERT INTO emag_webhook_endpoints (id, address, seen_at) VALUES ('a', 'https://a.example', now()),"
        " ('b', 'https://b.example', now() - interval '4 days')"
    )
    put = (
        "INSERT INTO emag_webhook_outbox (endpoint, account_type, type, first_change_id, last_change_id, dead_at)"
        " VALUES ($1, 'main', 'product.changed', $2, $2, $3::timestamptz)"
    )
    now: Any = await sql.fetchval("SELECT now()")
    long_ago = await sql.fetchval("SELECT now() - interval '6 days'")
    ids = [row["id"] for row in await sql.fetch("SELECT id FROM emag_product_changes ORDER BY id")]
    for endpoint, place, dead in (("a", 30, None), ("a", 40, now), ("a", 10, long_ago), ("b", 5, None), ("b", 6, now)):
        await sql.execute(put, endpoint, ids[place], dead)
    assert await sweep(database) == {
        "emag_product_changes": 5,
        "emag_webhook_outbox": 3,
        "emag_webhook_endpoints": 1,
    }
    left = await sql.fetch("SELECT first_change_id FROM emag_webhook_outbox ORDER BY 1")
    assert [row["first_change_id"] for row in left] == [ids[30], ids[40]]
    assert await sweep(database) == {"emag_product_changes": 25}
    await sql.execute("DELETE FROM emag_webhook_outbox")
    assert await sweep(database) == {"emag_product_changes": 70}


async def test_batches_are_small_and_all_of_them_come(
    database: Database, sql: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that are kept among those that go don't end the walk, nor do equal times."""
    monkeypatch.setattr(module, "BATCH", 7)
    monkeypatch.setattr(module, "SHORTEST_PAUSE", 0.0)
    await sql.execute(CALLS, 60)
    await sql.execute("UPDATE emag_api_calls SET called_at = now() - interval '50 days' WHERE random() < 2")
    await sql.execute(REJECTS, 60)
    for number in range(9):
        await sql.execute(RUNS, f"account-{number}", 20)
        await sql.execute(
            "INSERT INTO emag_sync_logs (account_type, operation, status, started_at)"
            " VALUES ($1, 'full_sync', 'completed', now() - interval '1 year')",
            f"account-{number}",
        )
    deleted = await sweep(database)
    assert deleted == {"emag_api_calls": 60, "emag_sync_rejects": 40, "emag_sync_logs": 9 * 8}
    assert await sql.fetchval("SELECT count(*) FROM emag_sync_logs WHERE operation = 'full_sync'") == 9


async def test_one_daemon_sweeps_at_a_time(database: Database, sql: Connection) -> None:
    """While another one does, this one leaves it at that; nobody waits."""
    await sql.execute(CALLS, 60)
    transaction = sql.transaction()
    await transaction.start()
    await sql.fetchval("SELECT pg_advisory_xact_lock($1)", LOCK_KEY)
    assert await sweep(database) == {}
    await transaction.rollback()
    assert await sweep(database) == {"emag_api_calls": 30}


async def test_a_run_goes_on_while_its_history_goes(database: Database, sql: Connection) -> None:
    """Sweeping holds no lock that a heartbeat, a new run or an operator's UPDATE would wait for."""
    ledger = Ledger(database, worker_id="w", lease_seconds=60)
    await sql.execute(RUNS, "main", 200)
    lease = await claimed(ledger, "main", operation=Operation.INCREMENTAL)
    async with core_on(database, until_stopped, retention=KEEP) as core, database.use() as conn, conn.transaction():
        values = {"seconds": 10 * 86400.0, "after": None, "limit": 2000, "latest": LATEST_RUNS}
        swept = await queries.sweep_runs(conn, **values)
        assert swept["deleted"] == 189
        async with asyncio.timeout(20):
            assert await ledger.beat([lease]) == {lease.run_id}
            await claimed(ledger, "fbe")
            await sql.execute("UPDATE emag_sync_logs SET status = 'failed' WHERE status = 'running'")
        assert isinstance(core.retention, Retention)


PLANNED: dict[str, Any] = {
    name: getattr(queries, name) for name in ("sweep_changes", "sweep_runs", "sweep_api_calls", "sweep_rejects")
}
FILL = """
ALTER TABLE emag_sync_logs SET (autovacuum_enabled = off);
ALTER TABLE emag_product_changes SET (autovacuum_enabled = off);
ALTER TABLE emag_api_calls SET (autovacuum_enabled = off);
ALTER TABLE emag_webhook_outbox SET (autovacuum_enabled = off);
ALTER TABLE emag_sync_rejects SET (autovacuum_enabled = off);
INSERT INTO emag_webhook_outbox (endpoint, account_type, type, first_change_id)
SELECT 'endpoint', 'main', 'product.changed', n FROM generate_series(20000, 40000) AS n;
INSERT INTO emag_product_changes (emag_id, account_type, kind, changed_at)
SELECT n, 'main', 'updated', now() - (40000 - n) * interval '1 min' FROM generate_series(1, 40000) AS n;
INSERT INTO emag_api_calls (called_at, duration_ms, is_error, account_type, resource, outcome)
SELECT now() - n * interval '1 min', 1, false, 'main', 'vat/read', 'ok' FROM generate_series(1, 40000) AS n;
INSERT INTO emag_sync_rejects (created_at, account_type, reason, raw)
SELECT now() - n * interval '1 min', 'main', 'no id', '{}' FROM generate_series(1, 40000) AS n;
INSERT INTO emag_sync_logs (account_type, operation, status, started_at, scheduled_for)
SELECT 'account-' || n % 50, 'full_sync', 'completed', now() - n * interval '1 min', now() - n * interval '1 min'
FROM generate_series(1, 40000) AS n;
"""


async def test_every_batch_is_found_by_an_index(database: Database, sql: Connection) -> None:
    """With its values and without, before the first ANALYZE and after it: no table is read from end to end."""
    await sql.execute(FILL)
    found = {}
    async with database.use() as conn:
        await conn.execute("SET plan_cache_mode = force_generic_plan")
        for analysed in (False, True):
            if analysed:
                await sql.execute("ANALYZE")
            for generic in (False, True):
                for name, query in PLANNED.items():
                    values: dict[str, Any] = {"seconds": 86400.0, "after": None, "limit": 2000}
                    values |= {"latest": LATEST_RUNS} if name == "sweep_runs" else {}
                    found[name, generic, analysed] = await scanned(conn, query, values, generic=generic)
    assert {name: tables for name, tables in found.items() if tables} == {}
    assert len(found) == 4 * len(PLANNED)
