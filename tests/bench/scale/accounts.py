"""Very many accounts in one process: is each slot kept, and what do they take, at work and at rest."""

import argparse
import asyncio
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
from rich.console import Console

from tests.bench.scale.machine import Server, Span, Usage, accounts, configure, many_accounts, server
from tests.support.processes import DaemonProcess, daemon_process
from tests.support.waiting import until

PAGES = ("/livez", "/readyz", "/healthz", "/metrics", "/", "/api/v1/emag/products/status")
ROUNDS = 5
LOADED = "SELECT count(DISTINCT account_type) FROM emag_sync_logs WHERE status = 'completed'"
WAITING = "SELECT count(*) FROM emag_sync_logs WHERE status = 'running'"
LATENESS = """
SELECT count(*), count(*) FILTER (WHERE status = 'completed') AS completed,
    percentile_disc(ARRAY[0.5, 0.99, 1]) WITHIN GROUP (ORDER BY extract(epoch FROM started_at - scheduled_for)) AS late,
    percentile_disc(0.99) WITHIN GROUP (ORDER BY duration_seconds) AS took, avg(api_requests_made) AS asked
FROM emag_sync_logs WHERE scheduled_for > $1 AND scheduled_for < $2
"""
WAL = "SELECT (pg_current_wal_lsn() - '0/0')::float8"
CONNECTIONS = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'emag-syncd'"
REST = {"full": "366d", "incremental": "off"}
"""Schedules of which no slot comes while somebody measures: the first load covers the last one."""


def options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--accounts", type=int, default=1000)
    parser.add_argument("--offers", type=int, default=200, help="of each account")
    parser.add_argument("--every", default="15m", help="schedule of the incremental syncs")
    parser.add_argument("--minutes", type=float, default=5, help="how long the slots are watched")
    parser.add_argument("--rest", type=float, default=60, help="seconds for which the idle daemon is watched")


async def main(console: Console, wanted: argparse.Namespace) -> None:
    """Measure everything and print it."""
    async with (
        server() as postgres,
        many_accounts(wanted.accounts, wanted.offers) as (base_url, market),
    ):
        conn = await asyncpg.connect(postgres.dsn)
        try:
            work = accounts(wanted.accounts, base_url, {"full": "1d", "incremental": wanted.every})
            async with _daemon(console, postgres, work) as daemon:
                await _first_load(console, conn, daemon, postgres, wanted)
                await _slots(console, conn, daemon, postgres, wanted.minutes * 60)
                await _pages(console, daemon)
                console.print(f"the marketplace took {Usage.of(market).cpu:.0f} s of CPU in all")
            async with _daemon(console, postgres, accounts(wanted.accounts, base_url, REST)) as daemon:
                await until(lambda: _quiet(conn), within=300)
                await _rest(console, daemon, postgres, wanted.rest)
        finally:
            await conn.close()


@asynccontextmanager
async def _daemon(console: Console, postgres: Server, its: dict[str, Any]) -> AsyncIterator[DaemonProcess]:
    with tempfile.TemporaryDirectory() as folder:
        # Without jitter what is late is late, and what is due at the start is due at once.
        config = configure(
            Path(folder) / "config.toml",
            postgres.dsn,
            its,
            schedule={"jitter_seconds": 0},
            log={"format": "json", "level": "info"},
        )
        began = time.monotonic()
        async with daemon_process(config) as daemon:
            await daemon.logged("ready")
            usage = Usage.of(daemon.pid)
            console.print(
                f"{len(its):,} accounts: ready after {time.monotonic() - began:.1f} s,"
                f" {usage.cpu:.1f} s of CPU, {usage.rss:.0f} MB"
            )
            yield daemon
            failures = {action: len(daemon.lines(action)) for action in ("slot_failed", "turn_failed", "run_failed")}
            console.print(f"  failures in its log: {failures}")


async def _quiet(conn: Any) -> bool:
    await asyncio.sleep(1)
    return not await conn.fetchval(WAITING)


async def _first_load(
    console: Console, conn: Any, daemon: DaemonProcess, postgres: Server, wanted: argparse.Namespace
) -> None:
    span, most = Span(daemon.pid, postgres), 0

    async def done() -> bool:
        nonlocal most
        most = max(most, await conn.fetchval(WAITING))
        await asyncio.sleep(0.5)
        return bool(await conn.fetchval(LOADED) == wanted.accounts)

    await until(done, within=1800)
    runs = await conn.fetchval("SELECT count(*) FROM emag_sync_logs WHERE status <> 'running'")
    console.print(f"first load of all: {span.seconds:.0f} s, {runs:,} runs, {most} at once at most")
    console.print(f"  {span.each(runs)}; peak {Usage.of(daemon.pid).peak:.0f} MB")


async def _slots(console: Console, conn: Any, daemon: DaemonProcess, postgres: Server, seconds: float) -> None:
    await until(lambda: _quiet(conn), within=600)
    span, since = Span(daemon.pid, postgres), await conn.fetchval("SELECT clock_timestamp()")
    wal = await conn.fetchval(WAL)
    await asyncio.sleep(seconds)
    written = (await conn.fetchval(WAL) - wal) / 1000
    row = await conn.fetchrow(LATENESS, since, await conn.fetchval("SELECT clock_timestamp() - interval '10 s'"))
    if not row["count"]:
        console.print(f"{span.seconds:.0f} s of schedules: no slot came; {span.share()}")
        return
    usage, (median, late, latest) = Usage.of(daemon.pid), row["late"]
    console.print(f"{span.seconds:.0f} s of schedules: {row['count']} slots ran, {row['completed']} completed")
    console.print(f"  late by {median:.3f} s (median), {late:.3f} s (p99), {latest:.3f} s (most)")
    console.print(f"  a run took {row['took']:.1f} s (p99), {span.each(row['count'])}")
    console.print(f"  a run made {row['asked']:.1f} requests and {written / row['count']:.1f} kB of WAL")
    console.print(f"  connections to the database: {await conn.fetchval(CONNECTIONS)}")
    console.print(f"  {span.share()}; memory {usage.rss:.0f} MB, peak {usage.peak:.0f} MB")


async def _pages(console: Console, daemon: DaemonProcess) -> None:
    address = (await daemon.logged("ready"))["address"]
    async with aiohttp.ClientSession() as session:
        for path in PAGES:
            times, cpu = [], Usage.of(daemon.pid).cpu
            for _ in range(ROUNDS):
                began = time.perf_counter()
                async with session.get(address + path) as response:
                    size = len(await response.read())
                times.append((time.perf_counter() - began) * 1000)
            spent = (Usage.of(daemon.pid).cpu - cpu) * 1000 / ROUNDS
            console.print(
                f"  GET {path}: {response.status}, {size / 1000:,.0f} kB, {min(times):.0f} to {max(times):.0f} ms,"
                f" about {spent:.0f} ms of CPU"
            )
    console.print(f"  memory after that: peak {Usage.of(daemon.pid).peak:.0f} MB")


async def _rest(console: Console, daemon: DaemonProcess, postgres: Server, seconds: float) -> None:
    address = (await daemon.logged("ready"))["address"]
    for name, scraped in (("idle", False), ("idle, scraped every 15 s", True)):
        span = Span(daemon.pid, postgres)
        async with aiohttp.ClientSession() as session:
            while span.seconds < seconds:
                if scraped:
                    async with session.get(f"{address}/metrics") as response:
                        await response.read()
                await asyncio.sleep(min(15, seconds))
        console.print(f"{name}, {span.seconds:.0f} s: {span.share()}; memory {Usage.of(daemon.pid).rss:.0f} MB")
