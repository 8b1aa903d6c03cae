"""``emag-syncd demo``: a database, a marketplace and the daemon, in one process and with nothing to configure."""

import asyncio
import faulthandler
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from emag_syncd.cli.browser import is_watched, open_console
from emag_syncd.cli.endings import ExitCode, UsageError
from emag_syncd.cli.logs import log_in_foreground
from emag_syncd.cli.loops import run_loop
from emag_syncd.cli.printing import note, say
from emag_syncd.cli.sync import exit_code, tell, watched
from emag_syncd.cli.tables import draw, table
from emag_syncd.config import Http, Log, Settings
from emag_syncd.config.sources import state_directory
from emag_syncd.domain.errors import ConfigurationError
from emag_syncd.domain.runs import Operation, RunRequest, Trigger
from emag_syncd.sandbox import AccountSpec, Oddities, Sandbox
from emag_syncd.service.daemon import Daemon
from emag_syncd.service.foreground import Ended, foreground
from emag_syncd.service.signals import stop_on_signals
from emag_syncd.storage.embedded import EmbeddedPostgres
from emag_syncd.telemetry.logging import configure_logging

ACCOUNTS = ("main", "fbe")
SEED = "demo"
HOST = "127.0.0.1"
ODDITIES = Oddities(odd=0.2, unfit=0.02)
LATENCY = (0.3, 1.0)
CHANGES_PER_SECOND = 0.5
OFFERS_PER_SECOND = 300
"""What eMAG's limits permit an account: three pages of a hundred."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the command line asks for."""

    offers: int
    data_dir: Path | None
    port: int | None
    once: bool
    browser: bool = True


def demo(config: Path | None, wishes: Wishes) -> int:
    """Run until stopped, or once. Raises UsageError."""
    if config is not None:
        raise UsageError("the demo has nothing to configure", remedy="leave --config out, or use emag-syncd run")
    faulthandler.enable()
    return run_loop(_demo(wishes))


async def _demo(wishes: Wishes) -> int:
    # A catalogue of another size is another catalogue: the daemon would take it for a marketplace gone mad.
    folder = (wishes.data_dir or state_directory(os.environ) / "demo").absolute() / f"{wishes.offers}-offers"
    configure_logging(Log(level="warning"))
    async with EmbeddedPostgres(folder / "postgres") as server, _marketplace(wishes.offers) as sandbox:
        settings = Settings.of(_configuration(server.dsn, sandbox, wishes), folder)
        if wishes.once:
            log_in_foreground(settings)
            return await _once(settings)
        configure_logging(settings.log, settings.secrets())

        def ready(address: str) -> None:
            _welcome(address, server.dsn, folder)
            if wishes.browser and is_watched():
                open_console(f"{address}/")

        return await Daemon(settings, on_ready=ready).run()


@asynccontextmanager
async def _marketplace(offers: int) -> AsyncIterator[Sandbox]:
    """Give a marketplace that is the same at each start, and whose prices and stocks move from then on."""
    spec = AccountSpec(offers=offers, seed=SEED, oddities=ODDITIES)
    async with Sandbox(dict.fromkeys(ACCOUNTS, spec)) as sandbox:
        for account in sandbox.accounts.values():
            account.latency.low, account.latency.high = LATENCY
            account.moving = CHANGES_PER_SECOND
        yield sandbox


def _configuration(dsn: str, sandbox: Sandbox, wishes: Wishes) -> dict[str, Any]:
    return {
        "database": {"url": dsn},
        "http": {"host": HOST, "port": 0 if wishes.once else _port(wishes.port)},
        "sync": {"timeout_seconds": max(600, 2 * wishes.offers / OFFERS_PER_SECOND)},
        "schedule": {"jitter_seconds": 1},
        "accounts": {
            name: {
                "base_url": sandbox.base_url,
                "username": account.username,
                "password": account.password,
                "schedule": {"full": "1d", "incremental": "1m"},
            }
            for name, account in sandbox.accounts.items()
        },
    }


def _port(wanted: int | None) -> int:
    """Return the port for the pages: the one that is wanted, else the usual one, else 0 for a free one."""
    if wanted is not None:
        if not _is_free(wanted):
            raise ConfigurationError(f"port {wanted} is in use", remedy="stop what listens there, or choose another")
        return wanted
    usual = Http().port
    if _is_free(usual):
        return usual
    note(f"port {usual} is in use; the pages move to a free one")
    return 0


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _welcome(address: str, dsn: str, folder: Path) -> None:
    say(
        f"The demo runs at {address}/ with the accounts {' and '.join(ACCOUNTS)} of a simulated marketplace.\n"
        f"  health    {address}/healthz\n"
        f"  metrics   {address}/metrics\n"
        f"  status    {address}/api/v1/emag/products/status\n"
        f"  database  {dsn}\n"
        f"Ctrl-C ends it. What it stored stays in {folder}, and the next demo goes on from there."
    )


async def _once(settings: Settings) -> int:
    stop = asyncio.Event()
    stop_on_signals(stop)
    async with foreground(settings, stop) as core:
        results = await watched(core, [RunRequest(name, Operation.FULL, Trigger.CLI) for name in ACCOUNTS])
    for ended in results:
        if ended.error is not None or exit_code([ended]) != ExitCode.DONE:
            tell(ended)
    draw(_summary(results))
    return exit_code(results)


def _summary(results: list[Ended]) -> Table:
    numbers = ("offers#", "created#", "updated#", "unchanged#", "pages#", "seconds#", "requests/s#")
    made = table("account", *numbers, "status")
    for row in (ended.row for ended in results if ended.row is not None):
        seconds = row["duration_seconds"] or 0
        made.add_row(
            row["account_type"],
            *(str(row[name]) for name in ("processed_items", "created_items", "updated_items", "unchanged_items")),
            str(row["pages_processed"]),
            f"{seconds:.1f}",
            f"{row['api_requests_made'] / seconds:.1f}" if seconds else "",
            row["status"],
        )
    return made
