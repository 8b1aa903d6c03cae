"""Runs the other tools on the same work, beside ours: ``make bench-peers ARGS="--offers 100000"``."""

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from emag_syncd.config import Log
from emag_syncd.telemetry.logging import configure_logging
from tests.bench import results
from tests.bench.__main__ import OUTPUT
from tests.bench.database import Observer, database, describe, server
from tests.bench.loads import one_round
from tests.bench.machine import about, command
from tests.bench.measuring import Figures
from tests.bench.peers.environments import HERE, PEERS, NotInstalledError, installed, version
from tests.bench.peers.offers import STREAM
from tests.bench.processes import UNTHROTTLED, Marketplace, login, marketplace
from tests.bench.report import markdown

LOADS = ("first", "unchanged")
LOOKED_EVERY = 0.05
LONGEST_SECONDS = 1800
LINES_SHOWN = 3

SILENT = {"DO_NOT_TRACK": "1", "RUNTIME__DLTHUB_TELEMETRY": "false", "AIRBYTE_OFFLINE_MODE": "1"}
"""The tools tell their makers of each use otherwise, and ask them for lists of connectors."""


class FailedError(Exception):
    """A tool did not load what it should; the message says why."""


async def measure(server_dsn: str, offers: int, peers: Sequence[str]) -> AsyncGenerator[dict[str, Figures], None]:
    """Measure ours, the bare loops and each tool: a first load and the same again, each in a database of its own.

    Gives what is known so far after each of them.
    """
    async with marketplace(offers, *UNTHROTTLED) as market:
        await market.serve_alone()
        ours = await one_round(server_dsn, market, LOADS, number=1)
        found: dict[str, Figures] = {
            "ours": {load: _plain(ours[load]["ours"], offers) for load in LOADS},
            "bare loops": {load: _plain(ours[load]["bare"], offers) for load in LOADS},
        }
        yield found
        for name in peers:
            found[name] = {"version": version(name)}
            try:
                found[name] |= await _loads(server_dsn, market, name, await installed(name))
            except NotInstalledError as error:
                found[name]["error"] = f"can't be installed here: {error}"
            except FailedError as error:
                found[name]["error"] = str(error)
            yield found


def _plain(figures: Figures, offers: int) -> Figures:
    return {
        "seconds": figures["seconds"],
        "rows_per_second": figures["rows_per_second"],
        "peak_mb": figures["peak_mb"],
        "wal_bytes": figures["wal_bytes_per_offer"] * offers,
    }


async def _loads(server_dsn: str, market: Marketplace, name: str, programs: Path) -> Figures:
    found: Figures = {}
    with tempfile.TemporaryDirectory() as state:
        async with database(server_dsn) as dsn, Observer.of(dsn) as observer:
            _write_targets(Path(state), dsn)
            for load in LOADS:
                figures: Figures = {}
                async with observer.watched(figures):
                    figures |= await _load(market, name, programs, dsn, state)
                if (stored := await _stored(observer)) != market.offers:
                    raise FailedError(f"stored {stored:,} of {market.offers:,} offers")
                found[load] = figures
    return found


async def _load(market: Marketplace, name: str, programs: Path, dsn: str, state: str) -> Figures:
    """Let a tool load everything; it begins with the first request and ends with its last process."""
    account = market.accounts[0]
    await market.control(account, "reset_stats")
    user, password = login(account)
    given = {"URL": market.base_url, "USER": user, "PASSWORD": password, "DSN": dsn, "STATE": state}
    environ = {**os.environ, **SILENT, **{f"BENCH_{key}": value for key, value in given.items()}}
    log = Path(state) / f"{name}.log"
    with log.open("wb") as stream:
        process = await asyncio.create_subprocess_exec(
            *("bash", "-c", f"set -o pipefail; {PEERS[name].command}"),
            env={**environ, "BIN": str(programs), "HERE": str(HERE), "STATE": state},
            cwd=state,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
        try:
            peak = await asyncio.wait_for(_watched(process), LONGEST_SECONDS)
        except TimeoutError:
            raise FailedError(f"not done within {LONGEST_SECONDS} seconds") from None
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
    ended = time.time()
    if process.returncode:
        lines = log.read_text("utf-8", "replace").strip().splitlines()[-LINES_SHOWN:]
        raise FailedError(f"exit code {process.returncode}: {' '.join(lines)}")
    began = (await market.control(account, "exchanges"))[0]["at"]
    return {"seconds": ended - began, "rows_per_second": market.offers / (ended - began), "peak_mb": peak}


async def _watched(process: asyncio.subprocess.Process) -> float:
    """Wait for a process and all that it started; return their peak memory together, in MB."""
    peak = 0.0
    while process.returncode is None:
        peak = max(peak, await asyncio.to_thread(_memory_mb, process.pid))
        await asyncio.sleep(LOOKED_EVERY)
    return peak


def _memory_mb(pid: int) -> float:
    """Return what the processes below ``pid`` have in memory: the shell itself is none of theirs."""
    total = 0
    try:
        for child in psutil.Process(pid).children(recursive=True) or [psutil.Process(pid)]:
            total += child.memory_info().rss
    except psutil.NoSuchProcess:
        return 0.0
    return total / 2**20


async def _stored(observer: Observer) -> int:
    """Return how many offers the tool has stored, in whichever schema."""
    tables = await observer.conn.fetch(
        "SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables"
        " WHERE tablename = $1 AND schemaname NOT LIKE '%staging%'",
        STREAM,
    )
    counts = [await observer.conn.fetchval(f"SELECT count(*) FROM {table['name']}") for table in tables]
    return max(counts, default=0)


def _write_targets(state: Path, dsn: str) -> None:
    """Write the configurations of the Singer targets."""
    parts = urlsplit(dsn)
    common = {
        "host": parts.hostname,
        "port": parts.port or 5432,
        "user": parts.username,
        "password": parts.password or "none",
        "default_target_schema": "bench",
    }
    name = parts.path.removeprefix("/")
    (state / "pipelinewise.json").write_text(json.dumps({**common, "dbname": name, "primary_key_required": True}))
    (state / "meltanolabs.json").write_text(json.dumps({**common, "database": name, "use_copy": True}))


async def main(arguments: Sequence[str]) -> None:
    """Measure and print."""
    configure_logging(Log(level="error"))
    parser = argparse.ArgumentParser(prog="python -m tests.bench.peers", description=__doc__)
    parser.add_argument("--offers", type=int, default=20_000, help="offers of the catalogue")
    parser.add_argument(
        "--rounds", type=int, default=3, help="how often each tool is measured; what counts is the median"
    )
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS), help="which tools")
    parser.add_argument("--postgres", type=Path, help="folder of the programs of the PostgreSQL to start")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="the file of the results, in JSON")
    options = parser.parse_args(arguments)
    found = results.read(options.output)
    rounds: list[dict[str, Figures]] = []
    async with server(options.postgres, on_network=True) as dsn:
        said = about(command("tests.bench.peers", arguments), await describe(dsn))
        for _ in range(options.rounds):
            async with aclosing(measure(dsn, options.offers, options.peers)) as known:
                async for measured in known:
                    seen = [*rounds, measured]
                    part = {"about": said, "rounds": len(seen), "found": results.middle(seen)}
                    results.put(found, results.PEERS, str(options.offers), part)
                    results.write(options.output, found)
            rounds.append(measured)
    size = str(options.offers)
    sys.stdout.write(markdown({results.PEERS: {size: found[results.PEERS][size]}}))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
