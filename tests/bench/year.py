"""A year of rows, with retention turning each day: what the tables take as it goes on."""

from pathlib import Path
from typing import Any

import asyncpg
from rich.console import Console
from rich.table import Table

from emag_syncd.config import Settings
from emag_syncd.storage.database import Database
from emag_syncd.storage.retention import Sweeper
from emag_syncd.supervision.retention import Retention
from emag_syncd.telemetry.metrics import Metrics

DAYS = 365
QUARTERS = (91, 182, 273, 365)
KEPT = {"changes_days": 60, "runs_days": 30, "api_calls_days": 20, "rejects_days": 20, "dead_webhooks_days": 20}
TABLES = (
    "emag_sync_logs",
    "emag_product_changes",
    "emag_api_calls",
    "emag_sync_rejects",
    "emag_webhook_outbox",
)

# What two accounts leave in a day that began $1 days ago; the third has not synced since the first day.
DAY = (
    """
    INSERT INTO emag_sync_logs (account_type, operation, status, started_at, completed_at)
    SELECT 'account-' || a, CASE n WHEN 0 THEN 'full_sync' ELSE 'incremental_sync' END, 'completed', at, at
    FROM generate_series(1, CASE WHEN $1 = 365 THEN 3 ELSE 2 END) AS a, generate_series(0, 95) AS n,
        LATERAL (SELECT now() - make_interval(days => $1::int, mins => -15 * n)) AS t (at)
    """,
    """
    INSERT INTO emag_product_changes (account_type, emag_id, kind, changed_at, changes)
    SELECT 'account-1', n, 'updated', now() - make_interval(days => $1::int),
        '{"sale_price": {"old": 89.9, "new": 84.9}, "general_stock": {"old": 3, "new": 2}}'
    FROM generate_series(1, 1000) AS n
    """,
    """
    INSERT INTO emag_api_calls (called_at, duration_ms, is_error, account_type, resource, outcome, params)
    SELECT now() - make_interval(days => $1::int, secs => -60 * n), 800, false, 'account-1', 'product_offer/read',
        'ok', '{"currentPage": 1, "itemsPerPage": 100}'
    FROM generate_series(1, 1400) AS n
    """,
    """
    INSERT INTO emag_sync_rejects (account_type, reason, raw, created_at)
    SELECT 'account-1', 'no id', repeat('x', 300), now() - make_interval(days => $1::int)
    FROM generate_series(1, 100) AS n
    """,
    """
    INSERT INTO emag_webhook_outbox (endpoint, account_type, type, dead_at)
    SELECT 'receiver', 'account-1', 'sync.completed', now() - make_interval(days => $1::int)
    FROM generate_series(1, 100) AS n
    """,
)

FIGURES = """
SELECT pg_total_relation_size($1::text::regclass) AS bytes,
    (SELECT n_dead_tup FROM pg_stat_user_tables WHERE relname = $1) AS dead
"""


async def show_year(console: Console, dsn: str) -> None:
    """Print what the tables hold and take after each quarter.

    Autovacuum would not come by often enough in a year that takes a minute: each day ends with a VACUUM in its place.
    """
    conn = await asyncpg.connect(dsn)
    database = await Database.open(dsn, pool_max_size=2)
    try:
        await conn.execute("INSERT INTO emag_webhook_endpoints VALUES ('receiver', 'https://receiver.example')")
        sizes, deleted = await _live(conn, database)
        table = Table("table", "written", "deleted", "rows left", "dead", *(f"day {day}, MB" for day in QUARTERS))
        for name in TABLES:
            left = await conn.fetchval(f"SELECT count(*) FROM {name}")
            taken = [f"{size['bytes'] / 2**20:.2f}" for size in sizes[name]]
            gone = deleted.get(name, 0)
            table.add_row(name, f"{left + gone:,}", f"{gone:,}", f"{left:,}", str(sizes[name][-1]["dead"]), *taken)
        console.print(table)
    finally:
        await database.close()
        await conn.close()


async def _live(conn: Any, database: Database) -> tuple[dict[str, list[Any]], dict[str, int]]:
    """Let a year go by; return the figures of the quarters and how many rows were deleted."""
    metrics = Metrics([], "bench")
    settings = _settings(DAYS)
    retention = Retention(Sweeper(database), metrics, lambda: settings)
    sizes: dict[str, list[Any]] = {name: [] for name in TABLES}
    for day in range(1, DAYS + 1):
        ago = DAYS - day + 1
        for statement in DAY:
            await conn.execute(statement, ago)
        # The clock stays where it is: what is so many days old on this day is older by those that are still to come.
        settings = _settings(ago)
        await retention.turn()
        for name in TABLES:
            await conn.execute(f"VACUUM {name}")
        if day in QUARTERS:
            for name in TABLES:
                sizes[name].append(await conn.fetchrow(FIGURES, name))
    counted = metrics.registry.get_sample_value
    return sizes, {name: int(counted("emag_retention_deleted_total", {"table": name}) or 0) for name in TABLES}


def _settings(ago: int) -> Settings:
    return Settings.of({"retention": {name: days + ago for name, days in KEPT.items()}}, Path.cwd())
