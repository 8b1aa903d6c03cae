"""Scenarios of scale: ``python -m tests.bench.scale accounts|fleet|offers``; ``--help`` names their options."""

import argparse
import asyncio

from rich.console import Console

from emag_syncd.config import Log
from emag_syncd.telemetry.logging import configure_logging
from tests.bench.scale import accounts, fleet, offers

SCENARIOS = {"accounts": accounts, "fleet": fleet, "offers": offers}


def main() -> None:
    """Run one scenario, which prints what it measured."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.scale", description=__doc__)
    commands = parser.add_subparsers(dest="scenario", required=True)
    for name, module in SCENARIOS.items():
        module.options(commands.add_parser(name, help=(module.__doc__ or "").strip()))
    wanted = parser.parse_args()
    configure_logging(Log(level="error"))
    asyncio.run(SCENARIOS[wanted.scenario].main(Console(width=200), wanted))


if __name__ == "__main__":
    main()
