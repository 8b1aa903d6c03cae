"""The first page: is each account right, as of when, what runs now, what comes next."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from aiohttp import web
from asyncpg import Record

from emag_syncd.domain.runs import Operation, Status
from emag_syncd.supervision.freshness import late
from emag_syncd.web.console.pages import Pages, address
from emag_syncd.web.console.troubles import errors_of
from emag_syncd.web.overview import Overview
from emag_syncd.web.parameters import OverviewParameters, read_query
from emag_syncd.web.parts import WebParts

UNWELL = {Status.FAILED, Status.PARTIAL}

CARDS = 30
"""Accounts on a page: to draw a thousand takes more than half a second, in which nothing else is done."""


class OverviewPage:
    """The state of every account at a glance."""

    def __init__(self, pages: Pages, overview: Overview, parts: WebParts) -> None:
        """Show what ``overview`` says, and what else ``parts`` know of the accounts."""
        self._pages = pages
        self._overview = overview
        self._schedule = parts.schedule
        self._history = parts.history
        self._counts = parts.counts

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [web.get("/", self._show)]

    async def _show(self, request: web.Request) -> web.Response:
        state = await self._overview.state()
        ended = await self._history.last_ended([account["name"] for account in state["accounts"]])
        counts = await self._counts.latest()
        running = {run["account_type"]: run for run in state["running_syncs"]}
        accounts = [
            account
            | {"run": running.get(account["name"]), "counts": counts.get(account["name"])}
            | self._verdict(account, ended.get(account["name"]))
            for account in state["accounts"]
        ]
        shown: dict[str, Any] = {
            **state,
            "names": [account["name"] for account in accounts],
            **_cards(request, accounts),
        }
        return self._pages.page(request, "overview.html", **shown)

    def _verdict(self, account: Mapping[str, Any], ended: Record | None) -> dict[str, Any]:
        """Return how far the copy can be relied on, and what stands in its way."""
        successes: Mapping[Operation, datetime] = account["last_successes"]
        overdue = late(self._schedule.slots(account["name"]), successes, datetime.now(UTC))
        unwell = ended is not None and ended["status"] in UNWELL
        never = account["last_success_at"] is None
        verdict = "never" if never else "late" if overdue else "fine"
        return {
            "verdict": verdict,
            "full_at": successes.get(Operation.FULL),
            "ended": ended if unwell else None,
            "errors": errors_of(ended) if ended is not None and unwell else [],
        }


def _cards(request: web.Request, accounts: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the accounts of a page. Where there are more than it holds, those that need a look come first."""
    wanted = read_query(request, OverviewParameters)
    unwell = [account for account in accounts if account["verdict"] != "fine" or account["ended"]]
    if len(accounts) > CARDS:
        names = {account["name"] for account in unwell}
        # What runs, next: it is what moves.
        accounts = sorted(accounts, key=lambda one: (one["name"] not in names, one["run"] is None))
    start = (wanted.page - 1) * CARDS
    return {
        "accounts": accounts[start : start + CARDS],
        "number": len(accounts),
        "unwell": len(unwell),
        "beginning": address(request, page=None) if start else None,
        "following": address(request, page=wanted.page + 1) if start + CARDS < len(accounts) else None,
    }
