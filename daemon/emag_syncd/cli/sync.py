"""``emag-syncd sync``: runs in the foreground."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asyncpg import Record

from emag_syncd.cli.endings import ExitCode, UsageError, code_of
from emag_syncd.cli.logs import log_in_foreground
from emag_syncd.cli.loops import run_loop
from emag_syncd.cli.printing import complain, say
from emag_syncd.cli.progress import shown
from emag_syncd.config import Settings, load
from emag_syncd.domain.runs import Operation, RunRequest, Status, Trigger
from emag_syncd.service.core import Core
from emag_syncd.service.foreground import Ended, foreground, run_all
from emag_syncd.service.signals import stop_on_signals
from emag_syncd.web.views import run_errors

ALL = "all"
SELECTING = "--id, --part-number, --part-number-key, --status or --max-stock"
SIGNAL_BASE = 128


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line asks for. ``filters`` are the marketplace's own."""

    accounts: Sequence[str]
    mode: str
    filters: Mapping[str, Any]
    max_pages: int | None


def sync(config: Path | None, wanted: Wanted) -> int:
    """Run what is wanted and say how it ended. Raises UsageError, ConfigurationError."""
    _refuse_nonsense(wanted)
    settings = load(config)
    requests = _requests(settings, wanted)
    log_in_foreground(settings)
    return run_loop(_sync(settings, requests))


async def watched(core: Core, requests: Sequence[RunRequest]) -> list[Ended]:
    """Run ``requests`` while showing how far they are."""
    with shown(core.recorder) as display:
        return await run_all(core, requests, display.began)


def tell(ended: Ended) -> None:
    """Say how a run ended: the figures on standard output, what went wrong on the error stream."""
    if ended.row is not None:
        say(f"{ended.account}: {_figures(ended.row)}")
        for error in run_errors(ended.row):
            complain(f"{ended.account}: {error['error'] if isinstance(error, dict) and 'error' in error else error}")
    if ended.error is not None:
        complain(ended.error)


def exit_code(results: Sequence[Ended]) -> int:
    """Return the exit code for runs: a failure counts more than an account that was busy."""
    codes = {_code(ended) for ended in results}
    return ExitCode.FAILED if ExitCode.FAILED in codes else max(codes, default=ExitCode.DONE)


async def _sync(settings: Settings, requests: Sequence[RunRequest]) -> int:
    stop = asyncio.Event()
    signals = stop_on_signals(stop)
    async with foreground(settings, stop) as core:
        results = await watched(core, requests)
    for ended in results:
        tell(ended)
    return SIGNAL_BASE + signals[0] if signals else exit_code(results)


def _refuse_nonsense(wanted: Wanted) -> None:
    is_selective = Operation.of_mode(wanted.mode) is Operation.SELECTIVE
    if is_selective and not wanted.filters:
        raise UsageError("a selective sync needs to know what to select", remedy=f"add {SELECTING}")
    if wanted.filters and not is_selective:
        raise UsageError(
            "only a selective sync selects offers", remedy=f"add --mode selective, or leave out {SELECTING}"
        )


def _requests(settings: Settings, wanted: Wanted) -> list[RunRequest]:
    configured = settings.require_accounts()
    names = configured if ALL in wanted.accounts else dict.fromkeys(wanted.accounts)
    if unknown := [name for name in names if name not in configured]:
        raise UsageError(
            f"no account is called {', '.join(unknown)}", remedy=f"configured are: {', '.join(configured)}"
        )
    operation = Operation.of_mode(wanted.mode)
    return [
        RunRequest(name, operation, Trigger.CLI, filters=wanted.filters, max_pages=wanted.max_pages) for name in names
    ]


def _figures(row: Record) -> str:
    return (
        f"{row['status']}, {row['processed_items']} offers in {row['duration_seconds'] or 0:.1f} s:"
        f" {row['created_items']} created, {row['updated_items']} updated, {row['unchanged_items']} unchanged,"
        f" {row['removed_items']} removed, {row['failed_items']} failed;"
        f" {row['pages_processed']} pages, {row['api_requests_made']} requests"
    )


def _code(ended: Ended) -> ExitCode:
    if ended.error is not None:
        return code_of(ended.error)
    completed = ended.row is not None and ended.row["status"] == Status.COMPLETED
    return ExitCode.DONE if completed else ExitCode.FAILED
