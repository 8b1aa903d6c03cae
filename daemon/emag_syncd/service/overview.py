"""What runs, what ran, and how fresh the copy of each account is: read off the database, whoever did the work."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from emag_syncd.config import AccountSettings, Settings
from emag_syncd.domain.runs import Operation
from emag_syncd.domain.slots import Slots
from emag_syncd.service.databases import existing_database
from emag_syncd.storage.database import Database
from emag_syncd.storage.ledger import Ledger
from emag_syncd.storage.mirror import Mirror
from emag_syncd.supervision.freshness import late
from emag_syncd.supervision.worker import this_worker
from emag_syncd.telemetry.series import ProductState
from emag_syncd.web.views import run_views

RECENT = 10
SCHEDULED = (Operation.FULL, Operation.INCREMENTAL)


@asynccontextmanager
async def ledger_and_mirror(settings: Settings) -> AsyncIterator[tuple[Ledger, Mirror]]:
    """Give what is on record. Raises ConfigurationError or DatabaseError."""
    async with existing_database(settings) as database:
        yield _ledger(settings, database), Mirror(database, lease_seconds=settings.sync.lease_seconds)


async def overview(settings: Settings, ledger: Ledger, mirror: Mirror) -> dict[str, Any]:
    """Return the state of everything, in the words of the API's ``status``. Raises DatabaseError.

    Beyond those it has ``late``, the operations of an account that are overdue, and ``offers``, their numbers by state.
    """
    progress = await ledger.progress()
    running = run_views(await ledger.running(), progress)
    return {
        "is_running": bool(running),
        "current_sync": running[0] if running else None,
        "running_syncs": running,
        "recent_syncs": run_views(await ledger.history(limit=RECENT), progress),
        "accounts": await _accounts(settings, ledger, mirror, {run["account_type"]: run["id"] for run in running}),
    }


async def _accounts(
    settings: Settings, ledger: Ledger, mirror: Mirror, running: Mapping[str, UUID]
) -> list[dict[str, Any]]:
    successes = await ledger.last_successes()
    states = {row["account_type"]: row for row in await mirror.states()}
    return [
        {
            "name": account.name,
            "platform": account.platform,
            "is_running": account.name in running,
            "current_sync_id": running.get(account.name),
            **_times(settings, account, successes),
            "offers": {state: states[account.name][state] if account.name in states else 0 for state in ProductState},
        }
        for account in settings.accounts.values()
    ]


def _ledger(settings: Settings, database: Database) -> Ledger:
    return Ledger(database, worker_id=str(this_worker()), lease_seconds=settings.sync.lease_seconds)


def _times(
    settings: Settings, account: AccountSettings, successes: Mapping[tuple[str, Operation], datetime]
) -> dict[str, Any]:
    now = datetime.now(UTC)
    last = {one: successes[account.name, one] for one in SCHEDULED if (account.name, one) in successes}
    latest = max(last.values(), default=None)
    slots = {operation: _slots(settings, account, operation) for operation in SCHEDULED}
    planned = {operation: slot for operation, one in slots.items() if (slot := one.after(now))}
    return {
        "last_success_at": latest,
        "last_successes": last,
        "next_run_at": min(planned.values(), default=None),
        "next_runs": planned,
        "late": late(slots, last, now),
    }


def _slots(settings: Settings, account: AccountSettings, operation: Operation) -> Slots:
    return Slots(account.schedule(operation), key=f"{account.name}/{operation}", timezone=settings.schedule.timezone)
