"""Several daemons that share many accounts: how evenly, at what cost, and what becomes of those of one that dies."""

import argparse
import asyncio
import signal
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import asyncpg
from rich.console import Console

from tests.bench.scale.machine import Server, Span, accounts, configure, many_accounts, server
from tests.support.hosts import planted
from tests.support.processes import DaemonProcess, daemon_process
from tests.support.waiting import until

LOADED = "SELECT count(DISTINCT account_type) FROM emag_sync_logs WHERE status = 'completed'"
SHARES = """
SELECT split_part(worker_id, '/', 1) AS host, count(*) AS runs, sum(duration_seconds) AS seconds
FROM emag_sync_logs WHERE scheduled_for > $1 AND worker_id IS NOT NULL GROUP BY 1 ORDER BY 1
"""
LATE = """
SELECT count(*), max(extract(epoch FROM started_at - scheduled_for)) AS most,
    percentile_disc(0.99) WITHIN GROUP (ORDER BY extract(epoch FROM started_at - scheduled_for)) AS late
FROM emag_sync_logs WHERE scheduled_for > $1 AND scheduled_for < $2
"""
HELD = "SELECT array_agg(id) FROM emag_sync_logs WHERE status = 'running' AND starts_with(worker_id, $1)"
ENDED = """
SELECT count(*) FILTER (WHERE status = 'running') AS left, max(extract(epoch FROM completed_at - $2)) AS after,
    array_agg(DISTINCT account_type) AS accounts
FROM emag_sync_logs WHERE id = ANY ($1)
"""
AGAIN = """
SELECT count(*), max(after) AS after FROM (
    SELECT min(extract(epoch FROM started_at - $2)) AS after
    FROM emag_sync_logs WHERE account_type = ANY ($1) AND started_at > $2 AND status = 'completed' GROUP BY account_type
) AS first
"""
NOW = "SELECT clock_timestamp()"


def options(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--daemons", type=int, default=4)
    parser.add_argument("--accounts", type=int, default=400)
    parser.add_argument("--offers", type=int, default=200, help="of each account")
    parser.add_argument("--every", default="2m", help="schedule of the incremental syncs")
    parser.add_argument("--jitter", type=float, default=45, help="schedule.jitter_seconds")
    parser.add_argument("--lease", type=float, default=20, help="sync.lease_seconds")
    parser.add_argument("--minutes", type=float, default=2, help="how long the shares are watched, before and after")


async def main(console: Console, wanted: argparse.Namespace) -> None:
    """Measure everything and print it."""
    async with (
        server() as postgres,
        many_accounts(wanted.accounts, wanted.offers, "--latency", "0.2,0.5") as (base_url, _),
        AsyncExitStack() as stack,
    ):
        conn = await asyncpg.connect(postgres.dsn)
        stack.push_async_callback(conn.close)
        daemons = []
        for number in range(wanted.daemons):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            # As if on a host of its own, where nobody sees that the process is gone.
            environ = planted(folder, f"import socket; socket.gethostname = lambda: 'host-{number}'")
            config = _config(folder, postgres, base_url, wanted)
            daemons.append(await stack.enter_async_context(daemon_process(config, **environ)))
        for daemon in daemons:
            await daemon.logged("ready")
        await until(lambda: _loaded(conn, wanted.accounts), within=600)
        await _shares(console, conn, daemons, postgres, wanted.minutes * 60)
        await _death(console, conn, daemons[0], wanted.minutes * 60)


def _config(folder: Path, postgres: Server, base_url: str, wanted: argparse.Namespace) -> Path:
    return configure(
        folder / "config.toml",
        postgres.dsn,
        accounts(wanted.accounts, base_url, {"full": "1d", "incremental": wanted.every}),
        database={"pool_max_size": 10},
        schedule={"jitter_seconds": wanted.jitter},
        sync={"lease_seconds": wanted.lease},
        watchdog={"interval_seconds": wanted.lease / 2},
        log={"format": "json", "level": "info"},
    )


async def _loaded(conn: Any, number: int) -> bool:
    await asyncio.sleep(1)
    return bool(await conn.fetchval(LOADED) == number)


async def _shares(console: Console, conn: Any, daemons: list[DaemonProcess], postgres: Server, seconds: float) -> None:
    since, spans = await conn.fetchval(NOW), [Span(daemon.pid, postgres) for daemon in daemons]
    await asyncio.sleep(seconds)
    rows = await conn.fetch(SHARES, since)
    mean = sum(row["runs"] for row in rows) / len(daemons)
    console.print(f"{seconds:.0f} s, {len(daemons)} daemons: {mean * len(daemons):.0f} slots ran")
    for row, span in zip(rows, spans, strict=False):
        console.print(f"  {row['host']}: {row['runs']} runs, {100 * row['runs'] / mean - 100:+.0f} %; {span.share()}")
    await _late(console, conn, since)


async def _late(console: Console, conn: Any, since: Any) -> None:
    row = await conn.fetchrow(LATE, since, await conn.fetchval("SELECT clock_timestamp() - interval '5 s'"))
    console.print(f"  {row['count']} slots late by {row['late']:.2f} s (p99), {row['most']:.2f} s (most)")


async def _death(console: Console, conn: Any, daemon: DaemonProcess, seconds: float) -> None:
    held = await until(lambda: conn.fetchval(HELD, "host-0/"))
    daemon.send(signal.SIGKILL)
    await daemon.ended()
    killed = await conn.fetchval(NOW)
    held = await conn.fetchval(HELD, "host-0/") or held
    await asyncio.sleep(seconds)
    row = await conn.fetchrow(ENDED, held, killed)
    again = await conn.fetchrow(AGAIN, row["accounts"], killed)
    after = f"by runs that began after {again['after']:.1f} s at most" if again["count"] else "their slots are to come"
    console.print(f"host-0 killed with {len(held)} runs under way; {row['left']} of their rows say running still")
    console.print(f"  the rows were ended within {row['after']:.1f} s")
    console.print(f"  {again['count']} of the {len(row['accounts'])} accounts were read again since,")
    console.print(f"  {after}")
    await _late(console, conn, killed)
