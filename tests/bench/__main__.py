"""Measures, prints, and writes what was found: ``make bench ARGS="--offers 1000000 --rounds 1"``."""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

from rich.console import Console

from emag_syncd.config import Log
from emag_syncd.telemetry.logging import configure_logging
from tests.bench import budgets, loads, results
from tests.bench.catalogue import fill, show_export, show_search
from tests.bench.console import show_console
from tests.bench.database import database, describe, server
from tests.bench.machine import about, command
from tests.bench.report import markdown
from tests.bench.year import show_year

OUTPUT = Path(".bench") / "results.json"
SHOWN = ("year", "search", "export", "console")
"""What is only printed, and only when it is asked for."""

MEASURED = (results.LOADS, results.BUDGETS)


def parser() -> argparse.ArgumentParser:
    """Return what understands the command line."""
    made = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    made.add_argument("--offers", type=int, nargs="+", default=[10_000, 100_000], help="catalogues of the loads")
    made.add_argument("--rounds", type=int, default=3, help="how often each load is done")
    made.add_argument("--loads", nargs="+", choices=loads.ALL_LOADS, default=loads.ALL_LOADS, help="which loads")
    made.add_argument("--cases", nargs="+", choices=budgets.CASES, default=budgets.CASES, help="which cases of budgets")
    made.add_argument("--alone", action="store_true", help="leave the bare loops out")
    made.add_argument("--only", nargs="+", choices=(*MEASURED, *SHOWN), default=MEASURED, help="the figures to measure")
    made.add_argument("--products", type=int, default=1_000_000, help="catalogue of the searches, exports and pages")
    made.add_argument("--postgres", type=Path, help="folder of the programs of the PostgreSQL to start")
    made.add_argument("--output", type=Path, default=OUTPUT, help="the file of the results, in JSON")
    made.add_argument("--add", action="store_true", help="add the rounds to those that the file has")
    return made


async def measure(arguments: Sequence[str]) -> results.Results:
    """Measure what the command line asks for; return all that the file has then."""
    options = parser().parse_args(arguments)
    found = results.read(options.output)
    async with server(options.postgres) as dsn:
        said = about(command("tests.bench", arguments), await describe(dsn))
        if results.LOADS in options.only:
            for offers in options.offers:
                await _loads(dsn, offers, options, found, said)
        if results.BUDGETS in options.only:
            cases = {name: budgets.CASES[name] for name in options.cases}
            for name, of_case in (await budgets.measure(dsn, cases)).items():
                results.put(found, results.BUDGETS, name, {"about": said, "found": of_case})
            results.write(options.output, found)
        await _show(dsn, options)
    return found


async def _loads(
    dsn: str, offers: int, options: argparse.Namespace, found: results.Results, said: dict[str, Any]
) -> None:
    """Measure the loads of one catalogue; each round is written as soon as it is done."""
    before = found.get(results.LOADS, {}).get(str(offers), {}).get("rounds", []) if options.add else []
    numbers = range(len(before), len(before) + options.rounds)
    rounds = loads.measure(dsn, offers, options.loads, numbers, ours_alone=options.alone)
    add = options.add
    async with aclosing(rounds):
        async for measured in rounds:
            results.put(found, results.LOADS, str(offers), {"about": said, **measured}, add=add)
            add = True
            results.write(options.output, found)


async def _show(dsn: str, options: argparse.Namespace) -> None:
    console = Console()
    if "year" in options.only:
        async with database(dsn) as fresh:
            await show_year(console, fresh)
    if {"search", "export", "console"} & set(options.only):
        async with database(dsn) as fresh:
            await fill(fresh, options.products)
            if "search" in options.only:
                await show_search(console, fresh)
            if "export" in options.only:
                await show_export(console, fresh)
            if "console" in options.only:
                await show_console(console, fresh)


def main(arguments: Sequence[str]) -> None:
    """Measure, and print the tables."""
    configure_logging(Log(level="error"))
    sys.stdout.write(markdown(asyncio.run(measure(arguments))))


if __name__ == "__main__":
    main(sys.argv[1:])
