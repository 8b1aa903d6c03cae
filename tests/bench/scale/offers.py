"""The same work on a small database and on one with very many offers: pages, searches, lists, counts, retention."""

import argparse
import asyncio
import fcntl
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
from rich.console import Console

from emag_syncd.config import Settings
from emag_syncd.domain.errors import DatabaseError
from emag_syncd.domain.products import ProductFilter, Sort
from emag_syncd.storage.catalogue import Catalogue
from emag_syncd.storage.database import Database
from emag_syncd.storage.history import History, RunFilter
from emag_syncd.storage.ledger import Ledger
from emag_syncd.storage.mirror import Mirror
from emag_syncd.storage.retention import Sweeper
from emag_syncd.supervision.retention import Retention
from emag_syncd.telemetry.metrics import Metrics
from tests.bench.catalogue import SEARCHES
from tests.bench.scale.machine import Server, accounts, configure, many_accounts, server

LEAN = {"wal_level": "minimal", "max_wal_senders": "0", "shared_buffers": "2GB", "maintenance_work_mem": "1GB"}
ACCOUNTS = 100
STEP = 100_000
ROUNDS = 5
UNLIMITED = {"requests_per_second": 1_000_000, "requests_per_minute": 60_000_000}

# Rows of a kilobyte and a quarter; the words are those that the searches look for.
OFFERS = """
INSERT INTO emag_products (
    account_type, emag_id, status, name, part_number, part_number_key, ean, brand, category_id, sale_price, currency,
    general_stock, buy_button_rank, validation_status, offer_validation_status, is_sellable, content_hash, raw_hash, raw
)
SELECT 'b' || n % 100, n, 1,
    concat_ws(' ', kinds[1 + n % 10], 'Model', left(md5(n::text), 6), colours[1 + n % 7],
        left(md5((n % 5003)::text), 5), 'pentru', left(md5((n % 211)::text), 4), n % 128),
    'PN-' || n, 'D' || upper(left(md5(n::text), 8)), ARRAY[(5940000000000 + n)::text], 'Marca ' || n % 500, n % 900,
    n % 10000 / 10.0, 'RON', n % 11, n % 4, 9, 1, n % 11 > 0, decode(md5(n::text), 'hex'), decode(md5('r' || n), 'hex'),
    jsonb_build_object('id', n, 'description', repeat(md5(n::text), 28))
FROM generate_series($1::int, $2::int) AS n, (
    SELECT string_to_array('Telefon Husa Cablu Incarcator Laptop Monitor Tastatura Mouse Casti Boxa', ' ') AS kinds,
        string_to_array('negru alb rosu verde albastru gri auriu', ' ') AS colours
) AS words
"""
CHANGES = """
INSERT INTO emag_product_changes (account_type, emag_id, kind, changed_at, changes)
SELECT 'b' || n % 100, n, 'updated', now() - interval '400 days' * (1 - n::float8 / $3),
    '{"sale_price": {"old": 89.9, "new": 84.9}, "general_stock": {"old": 3, "new": 2}}'
FROM generate_series($1::int, $2::int) AS n
"""
CALLS = """
INSERT INTO emag_api_calls (called_at, duration_ms, is_error, account_type, resource, outcome, params)
SELECT now() - interval '33 days' * (1 - n::float8 / $3), 800, false, 'b' || n % 100, 'product_offer/read', 'ok',
    '{"currentPage": 1, "itemsPerPage": 100}'
FROM generate_series($1::int, $2::int) AS n
"""
RUNS = """
INSERT INTO emag_sync_logs (account_type, operation, status, started_at, completed_at, duration_seconds)
SELECT 'b' || n % 100, CASE WHEN n % 97 < 2 THEN 'full_sync' ELSE 'incremental_sync' END,
    CASE WHEN n % 211 < 2 THEN 'failed' ELSE 'completed' END, at, at, 2
FROM generate_series($1::int, $2::int) AS n,
    LATERAL (SELECT now() - interval '99 days' * (1 - n::float8 / $3)) AS t (at)
"""
TABLES = ("emag_products", "emag_product_changes", "emag_api_calls", "emag_sync_logs")
SIZES = "SELECT pg_relation_size($1::text::regclass) AS heap, pg_total_relation_size($1::text::regclass) AS whole"
SYNCED = """
SELECT status, duration_seconds, processed_items FROM emag_sync_logs
WHERE account_type = 'a0000' ORDER BY started_at DESC LIMIT 1
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--sizes", type=int, nargs="+", default=[100_000, 5_000_000])
    parser.add_argument("--synced", type=int, default=10_000, help="offers of the account that is synced")
    parser.add_argument("--lock", type=Path, help="a file to hold locked while measuring, where others measure too")


async def main(console: Console, wanted: argparse.Namespace) -> None:
    """Measure everything and print it."""
    async with (
        server(**LEAN) as postgres,
        many_accounts(1, wanted.synced, "--limits", "off", "--preencode", str(wanted.synced)) as (base_url, _),
    ):
        filled = 0
        for size in wanted.sizes:
            began = time.monotonic()
            await fill(postgres.dsn, filled, size)
            filled = size
            console.print(f"{size:,} offers, filled in {time.monotonic() - began:.0f} s")
            await show_sizes(console, postgres.dsn)
            async with _quiet(wanted.lock):
                await show_sync(console, postgres, base_url)
                await show_queries(console, postgres.dsn)
                await show_retention(console, postgres.dsn)


@asynccontextmanager
async def _quiet(lock: Path | None) -> AsyncIterator[None]:
    if lock is None:
        yield
        return
    with lock.open("ab") as file:
        await asyncio.to_thread(fcntl.flock, file, fcntl.LOCK_EX)
        yield


async def fill(dsn: str, start: int, end: int) -> None:
    """Make offers, as many changes, a fifth as many calls and a tenth as many runs; those before ``start`` are there.

    The index of words is made afterwards, which takes less time.
    """
    conn = await asyncpg.connect(dsn)
    try:
        index = await conn.fetchval("SELECT pg_get_indexdef('emag_products_by_words'::regclass)")
        await conn.execute("DROP INDEX emag_products_by_words; SET synchronous_commit = off")
        await conn.execute("TRUNCATE emag_product_changes, emag_api_calls, emag_sync_logs")
        for first in range(1, end + 1, STEP):
            last = min(first + STEP - 1, end)
            if first > start:
                await conn.execute(OFFERS, first, last)
            await conn.execute(CHANGES, first, last, end)
            await conn.execute(CALLS, first // 5 + 1, last // 5, end // 5)
            await conn.execute(RUNS, first // 10 + 1, last // 10, end // 10)
        await conn.execute(index)
        for table in TABLES:
            await conn.execute(f"VACUUM ANALYZE {table}")
        await conn.execute("CHECKPOINT")
    finally:
        await conn.close()


async def show_sizes(console: Console, dsn: str) -> None:
    """Print what the tables take."""
    conn = await asyncpg.connect(dsn)
    try:
        for table in TABLES:
            rows = await conn.fetchval(f"SELECT count(*) FROM {table}")
            (size,) = await conn.fetch(SIZES, table)
            heap, whole = size["heap"] / rows, size["whole"] / rows
            console.print(f"  {table}: {rows:,} rows, {heap:,.0f} bytes each, {whole:,.0f} with indexes")
    finally:
        await conn.close()


async def show_sync(console: Console, postgres: Server, base_url: str) -> None:
    """Print what a first load of one account takes, and the same again, unchanged."""
    conn = await asyncpg.connect(postgres.dsn)
    try:
        await conn.execute("DELETE FROM emag_products WHERE account_type = 'a0000'")
        for name in ("first load", "unchanged"):
            cpu = postgres.cpu()
            with tempfile.TemporaryDirectory() as folder:
                its = accounts(1, base_url, {"full": "off", "incremental": "off"})
                config = configure(Path(folder) / "config.toml", postgres.dsn, its, marketplace=UNLIMITED)
                await _cli(config, "sync", "a0000", "--mode", "full")
            (row,) = await conn.fetch(SYNCED)
            rate = row["processed_items"] / row["duration_seconds"]
            spent = postgres.cpu() - cpu
            console.print(f"  {name}: {row['status']}, {rate:,.0f} rows/s, PostgreSQL {spent:.2f} s of CPU")
    finally:
        await conn.close()


async def _cli(config: Path, *arguments: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "emag_syncd", "--config", str(config), *arguments), stdout=asyncio.subprocess.DEVNULL
    )
    if await process.wait():
        raise SystemExit(f"{' '.join(arguments)} failed")


async def show_queries(console: Console, dsn: str) -> None:
    """Print how long it takes what pages and schedules ask for."""
    database = await Database.open(dsn, pool_max_size=1)
    ledger, history, mirror = (
        Ledger(database, worker_id="bench", lease_seconds=60),
        History(database),
        Mirror(database, lease_seconds=60),
    )
    names = [f"b{number}" for number in range(ACCOUNTS)]
    asked: dict[str, Callable[[], Awaitable[Any]]] = {
        "hashes of a page": lambda: mirror.known("b7", [*range(107, 10_107, 100)]),
        "the latest runs": lambda: ledger.history(limit=50),
        "runs of an account that failed": lambda: history.runs(RunFilter(account="b0", status=None), limit=50),
        "the last run of each account": lambda: history.last_ended(names),
        "the last successes": ledger.last_successes,
        "how runs ended, for a slot": lambda: ledger.outcomes("b7", 12),
        "the count of all offers by state": mirror.states,
    }
    catalogue, everything = Catalogue(database), ProductFilter()
    for words, text in SEARCHES.items():
        asked[f"search: {words}"] = partial(catalogue.found, replace(everything, search=text), Sort(), limit=50)
    asked["list: all, by account and id"] = partial(catalogue.found, everything, Sort(), limit=50)
    asked["list: one account, the cheapest first"] = partial(
        catalogue.found, replace(everything, account="b7"), Sort.of("sale_price"), limit=50
    )
    asked["list: all, the cheapest first"] = partial(catalogue.found, everything, Sort.of("sale_price"), limit=50)
    try:
        for name, ask in asked.items():
            times = []
            for _ in range(ROUNDS):
                began = time.perf_counter()
                try:
                    await ask()
                except DatabaseError:
                    console.print(f"  {name}: given up after {time.perf_counter() - began:.0f} s")
                    continue
                times.append((time.perf_counter() - began) * 1000)
            if times:
                console.print(f"  {name}: {statistics.median(times):.1f} ms (median), {max(times):.1f} ms (most)")
    finally:
        await database.close()


async def show_retention(console: Console, dsn: str) -> None:
    """Print what it takes to delete what is old: a tenth of what there is."""
    database = await Database.open(dsn, pool_max_size=2)
    metrics, settings = Metrics([], "bench"), Settings.of({}, Path.cwd())
    sweeper = Sweeper(database)
    try:
        began = time.monotonic()
        await Retention(sweeper, metrics, lambda: settings).turn()
        passed = time.monotonic() - began
        deleted = {
            table: int(metrics.registry.get_sample_value("emag_retention_deleted_total", {"table": table}) or 0)
            for table in TABLES[1:]
        }
        total = sum(deleted.values())
        console.print(f"  retention: {total:,} rows in {passed:.1f} s, {total / passed:,.0f} a second: {deleted}")
    finally:
        await database.close()
