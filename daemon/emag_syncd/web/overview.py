"""What runs now, what ran before, and how fresh each account is."""

from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Literal, TypedDict
from uuid import UUID

from aiohttp import web

from emag_syncd.domain.runs import Operation
from emag_syncd.storage.outbox import Backlog
from emag_syncd.web.answers import answer
from emag_syncd.web.openapi import operation
from emag_syncd.web.parameters import ALL, HistoryParameters, read_query
from emag_syncd.web.parts import API, WebParts
from emag_syncd.web.views import Moment, RunView, run_view, run_views

RECENT = 10


class AccountView(TypedDict):
    """How fresh an account is, and what comes next."""

    name: str
    platform: str
    is_running: bool
    current_sync_id: UUID | None
    last_success_at: Moment | None
    last_successes: dict[Operation, Moment]
    next_run_at: Moment | None
    next_runs: dict[Operation, Moment]


class State(TypedDict):
    """What runs, what ran, and how fresh each account is."""

    is_running: bool
    current_sync: RunView | None
    running_syncs: list[RunView]
    recent_syncs: list[RunView]
    accounts: list[AccountView]
    webhooks: Backlog


class HistoryPage(TypedDict):
    """Runs, the latest first."""

    syncs: list[RunView]
    count: int


class HistoryView(TypedDict):
    """A part of the history."""

    status: Literal["success"]
    data: HistoryPage


class Overview:
    """The state of the daemon's work."""

    def __init__(self, parts: WebParts) -> None:
        """Look into ``parts``."""
        self._accounts = parts.accounts
        self._ledger = parts.ledger
        self._schedule = parts.schedule
        self._outbox = parts.outbox

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [web.get(f"{API}/status", self._status), web.get(f"{API}/history", self._history)]

    @operation("What runs, what ran, and how fresh each account is", answers={HTTPStatus.OK: State})
    async def _status(self, _request: web.Request) -> web.Response:
        return answer(await self.state())

    async def state(self) -> State:
        """Return what runs, what ran and how fresh each account is. Raises DatabaseError."""
        running = await self._ledger.running()
        progress = await self._ledger.progress()
        recent = await self._ledger.history(limit=RECENT)
        successes = await self._ledger.last_successes()
        views = run_views(running, progress)
        return {
            "is_running": bool(views),
            "current_sync": views[0] if views else None,
            "running_syncs": views,
            "recent_syncs": run_views(recent, progress),
            "accounts": self._account_views({row["account_type"]: row["id"] for row in running}, successes),
            "webhooks": await self._outbox.backlog(),
        }

    def _account_views(
        self, running: Mapping[str, UUID], successes: Mapping[tuple[str, Operation], datetime]
    ) -> list[AccountView]:
        planned = self._schedule.next_runs()
        views: list[AccountView] = []
        for account in self._accounts:
            succeeded = _of_account(successes, account.name)
            comes = _of_account(planned, account.name)
            views.append(
                {
                    "name": account.name,
                    "platform": account.settings.platform,
                    "is_running": account.name in running,
                    "current_sync_id": running.get(account.name),
                    "last_success_at": max(succeeded.values(), default=None),
                    "last_successes": succeeded,
                    "next_run_at": min(comes.values(), default=None),
                    "next_runs": comes,
                }
            )
        return views

    @operation("Runs, the latest first", query=HistoryParameters, answers={HTTPStatus.OK: HistoryView})
    async def _history(self, request: web.Request) -> web.Response:
        wanted = read_query(request, HistoryParameters)
        rows = await self._ledger.history(
            limit=wanted.limit,
            account=None if wanted.account_type in ALL else wanted.account_type,
            status=wanted.status,
            before=wanted.before,
        )
        content: HistoryView = {
            "status": "success",
            "data": {"syncs": [run_view(row) for row in rows], "count": len(rows)},
        }
        return answer(content)


def _of_account(times: Mapping[tuple[str, Operation], datetime], name: str) -> dict[Operation, datetime]:
    """Return the times of the two operations that keep an account fresh, as far as there are any."""
    return {
        operation: times[name, operation]
        for operation in (Operation.FULL, Operation.INCREMENTAL)
        if (name, operation) in times
    }
