"""Measures and prints: ``python -m tests.bench [--offers N] [--large N] [--rounds N] [--pages N] [--only search]``."""

import argparse
import asyncio
import os
import statistics
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
from rich.console import Console
from rich.table import Table

from emag_syncd.config import Log
from emag_syncd.storage.embedded import EmbeddedPostgres
from emag_syncd.storage.migrations import migrate
from emag_syncd.telemetry.logging import configure_logging
from tests.bench.catalogue import fill, show_export, show_search
from tests.bench.processes import marketplace, worker
from tests.bench.year import show_year

UNTHROTTLED = ("--limits", "off", "--preencode")
EMAG = ("--limits", "on", "--latency", "0.3,3")
PERMITTED_PER_SECOND = 3.0
FIGURES = ("loads", "memory", "rate", "year", "search", "export")
"""What there is to measure; from the year on only when it is asked for."""


@asynccontextmanager
async def server() -> AsyncIterator[str]:
    """Give the DSN of a PostgreSQL to measure on: the one of the environment, or an embedded one."""
    if (url := os.environ.get("EMAG_SYNCD_TEST_DATABASE_URL")) is not None:
        yield url
        return
    with tempfile.TemporaryDirectory() as folder:
        await asyncio.to_thread(Path(folder).chmod, 0o755)
        async with EmbeddedPostgres(Path(folder) / "postgres") as postgres:
            yield postgres.dsn


async def fresh(dsn: str) -> str:
    """Return the DSN with everything that former measurements left dropped, and the schema made anew."""
    conn = await asyncpg.connect(dsn)
    await conn.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    await conn.close()
    await migrate(dsn)
    return dsn


async def wal(dsn: str) -> int:
    """Return the position in the write-ahead log, in bytes."""
    conn = await asyncpg.connect(dsn)
    try:
        return int(await conn.fetchval("SELECT pg_current_wal_lsn() - '0/0'"))
    finally:
        await conn.close()


async def loads(dsn: str, base_url: str, rounds: int) -> dict[str, list[dict[str, Any]]]:
    """Measure first and unchanged loads, ours and bare ones in turn."""
    found: dict[str, list[dict[str, Any]]] = {"first": [], "unchanged": [], "bare upsert": [], "bare hashes": []}
    for _ in range(rounds):
        await fresh(dsn)
        found["bare upsert"].append(await worker("bare", "upsert", dsn, base_url))
        found["bare hashes"].append(await worker("bare", "hashes", dsn, base_url))
        await fresh(dsn)
        found["first"].append(await worker("ours", dsn, base_url, "unlimited"))
        before = await wal(dsn)
        again = await worker("ours", dsn, base_url, "unlimited")
        again["wal_mb"] = (await wal(dsn) - before) / 2**20
        found["unchanged"].append(again)
    return found


async def page_rate(dsn: str) -> float:
    """Return how many pages a second were asked for, by the log of calls."""
    conn = await asyncpg.connect(dsn)
    try:
        return float(
            await conn.fetchval(
                "SELECT (count(*) - 1) / extract(epoch FROM max(called_at) - min(called_at))"
                " FROM emag_api_calls WHERE resource = 'product_offer/read'"
            )
        )
    finally:
        await conn.close()


def median(results: list[dict[str, Any]], name: str) -> float:
    """Return the median of one figure."""
    return float(statistics.median(result[name] for result in results))


def show_loads(console: Console, found: dict[str, list[dict[str, Any]]], offers: int) -> None:
    """Print what the loads took, against the bare loops of the same run."""
    table = Table("load", "rows/s", "against", "ratio", "CPU s", "peak MB", title=f"{offers:,} offers")
    for ours, bare in (("first", "bare upsert"), ("unchanged", "bare hashes")):
        base = median(found[bare], "rows_per_second")
        for name in (ours, bare):
            rate = median(found[name], "rows_per_second")
            table.add_row(
                name,
                f"{rate:,.0f}",
                bare if name is ours else "",
                f"{rate / base:.2f}" if name is ours else "",
                f"{median(found[name], 'cpu_seconds'):.2f}",
                f"{median(found[name], 'peak_mb'):.0f}",
            )
    console.print(table)
    per_100k = median(found["unchanged"], "wal_mb") * 100_000 / offers
    console.print(f"WAL of the unchanged run: {per_100k:.2f} MB per 100,000 offers")
    for name in ("first", "unchanged"):
        console.print(f"event loop lag p99, {name}: {median(found[name], 'lag_p99_ms'):.1f} ms")


async def show_memory(console: Console, dsn: str, sizes: list[int]) -> None:
    """Print the peak memory of a first load of each size."""
    for offers in sizes:
        async with marketplace(offers, *UNTHROTTLED) as base_url:
            result = await worker("ours", await fresh(dsn), base_url, "unlimited")
        console.print(f"peak memory of a first load of {offers:,} offers: {result['peak_mb']:.0f} MB")


async def show_rate(console: Console, dsn: str, pages: int) -> None:
    """Print how much of the page rate that the marketplace permits is used, pages taking 0.3 to 3 seconds."""
    async with marketplace(pages * 100, *EMAG) as base_url:
        result = await worker("ours", await fresh(dsn), base_url, "limited")
    overall = result["requests"] / result["run_seconds"]
    pace = await page_rate(dsn)
    console.print(
        f"under eMAG's limits: {result['pages']} pages, {result['requests']} requests in"
        f" {result['run_seconds']:.1f} s, run {result['status']}, {result['rate_limit_hits']} answers of 429\n"
        f"  from the first page's request to the last one's: {pace:.3f} a second,"
        f" {pace / PERMITTED_PER_SECOND:.1%} of what is permitted\n"
        f"  over the whole run, counts and last answers included: {overall:.3f} a second,"
        f" {overall / PERMITTED_PER_SECOND:.1%}"
    )


async def main() -> None:
    """Measure everything and print it."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--offers", type=int, default=20_000, help="catalogue of the loads")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of the loads; medians are shown")
    parser.add_argument("--sizes", type=int, nargs="*", default=[10_000, 200_000], help="catalogues for the memory")
    parser.add_argument("--pages", type=int, default=360, help="pages under eMAG's limits; 0 leaves that out")
    parser.add_argument("--only", nargs="+", choices=FIGURES, default=FIGURES[:3], help="the figures to measure")
    parser.add_argument("--products", type=int, default=1_000_000, help="catalogue of the searches and exports")
    options = parser.parse_args()
    configure_logging(Log(level="error"))
    console = Console()
    async with server() as dsn:
        if "loads" in options.only:
            async with marketplace(options.offers, *UNTHROTTLED) as base_url:
                show_loads(console, await loads(dsn, base_url, options.rounds), options.offers)
        if "memory" in options.only:
            await show_memory(console, dsn, options.sizes)
        if "rate" in options.only and options.pages:
            await show_rate(console, dsn, options.pages)
        if "year" in options.only:
            await show_year(console, await fresh(dsn))
        if {"search", "export"} & set(options.only):
            await fill(await fresh(dsn), options.products)
        if "search" in options.only:
            await show_search(console, dsn)
        if "export" in options.only:
            await show_export(console, dsn)


if __name__ == "__main__":
    asyncio.run(main())
