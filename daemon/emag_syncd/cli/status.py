"""``emag-syncd status``: for people as tables, for programs as the JSON that the API has."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from rich.table import Table

from emag_syncd.cli.endings import ExitCode
from emag_syncd.cli.logs import log_in_foreground
from emag_syncd.cli.loops import run_loop
from emag_syncd.cli.printing import say
from emag_syncd.cli.tables import draw, table
from emag_syncd.config import Settings, load
from emag_syncd.domain.runs import Operation
from emag_syncd.domain.schedules import format_duration
from emag_syncd.service.overview import ledger_and_mirror, overview

NEVER = "never"


def status(config: Path | None, *, as_json: bool) -> int:
    """Print how everything stands. Raises ConfigurationError."""
    settings = load(config)
    log_in_foreground(settings)
    return run_loop(_status(settings, as_json=as_json))


async def _status(settings: Settings, *, as_json: bool) -> int:
    async with ledger_and_mirror(settings) as (ledger, mirror):
        found = await overview(settings, ledger, mirror)
    if as_json:
        say(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
    else:
        draw(_accounts(found["accounts"]), _running(found["running_syncs"]), _recent(found["recent_syncs"]))
    return ExitCode.DONE


def _accounts(accounts: Iterable[Mapping[str, Any]]) -> Table:
    columns = ("account", "state", "last full", "last incremental", "next run", "active#", "removed#")
    made = table(*columns, title="Accounts")
    for account in accounts:
        last, offers = account["last_successes"], account["offers"]
        made.add_row(
            account["name"],
            _freshness(account),
            _ago(last.get(Operation.FULL)),
            _ago(last.get(Operation.INCREMENTAL)),
            _ahead(account["next_run_at"]),
            str(offers["active"]),
            str(offers["removed"]),
        )
    return made


def _freshness(account: Mapping[str, Any]) -> str:
    if account["last_success_at"] is None:
        return "never synced"
    if account["late"]:
        return f"late: {', '.join(operation.mode for operation in account['late'])}"
    return "fresh"


def _running(runs: Iterable[Mapping[str, Any]]) -> Table:
    made = table("account", "mode", "since", "by", "offers", "page", "pace", "run", title="Running")
    for run in runs:
        progress = run["progress"] or {}
        made.add_row(
            run["account_type"],
            Operation(run["operation"]).mode,
            _ago(run["started_at"]),
            run["triggered_by"],
            f"{progress.get('processed_items', 0)} of {progress.get('total_items', '?')}",
            f"{progress.get('current_page', 0)} of {progress.get('total_pages', '?')}",
            f"{progress.get('items_per_second') or 0:.0f}/s",
            str(run["id"]),
        )
    return made


def _recent(runs: Iterable[Mapping[str, Any]]) -> Table:
    numbers = ("seconds#", "offers#", "created#", "updated#", "removed#")
    made = table("account", "mode", "status", "began", *numbers, "why", title="Last runs")
    for run in runs:
        made.add_row(
            run["account_type"],
            Operation(run["operation"]).mode,
            run["status"],
            _ago(run["started_at"]),
            f"{run['duration_seconds'] or 0:.1f}",
            *(str(run[f"{name}_items"]) for name in ("processed", "created", "updated", "removed")),
            _why(run["errors"]),
        )
    return made


def _why(errors: msgspec.Raw) -> str:
    """Return the kinds of a run's errors. A row that was written by hand may hold anything."""
    decoded = msgspec.json.decode(errors)
    entries = decoded if isinstance(decoded, list) else [decoded]
    return ", ".join(str(entry.get("kind") if isinstance(entry, dict) else entry) for entry in entries)


def _ago(moment: datetime | None) -> str:
    return NEVER if moment is None else f"{format_duration(datetime.now(UTC) - moment)} ago"


def _ahead(moment: datetime | None) -> str:
    return NEVER if moment is None else f"in {format_duration(moment - datetime.now(UTC))}"
