"""The history of runs, and everything about one of them."""

from http import HTTPStatus
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from aiohttp import web
from asyncpg import Record
from pydantic import BeforeValidator

from emag_syncd.domain.runs import Operation, Status
from emag_syncd.storage.history import Mark, RunFilter
from emag_syncd.web.answers import ProblemError
from emag_syncd.web.console.entries import changes_of
from emag_syncd.web.console.pages import Pages
from emag_syncd.web.console.troubles import errors_of, warnings_of
from emag_syncd.web.parameters import AccountName, Moment, Parameters, read_moment, read_query
from emag_syncd.web.parts import WebParts
from emag_syncd.web.views import run_view

ON_A_PAGE = 25
IN_THE_CHART = 400
CALLS = 50
CHANGES = 20
REJECTS = 20


def _mark(text: Any) -> Mark:
    moment, _, run_id = str(text).partition("_")
    return Mark(read_moment(moment), UUID(run_id))


class RunsParameters(Parameters):
    """Which runs to show; ``before`` is the last one of the page before."""

    account: AccountName | None = None
    operation: Operation | None = None
    status: Status | None = None
    since: Moment | None = None
    before: Annotated[Mark, BeforeValidator(_mark)] | None = None


class RunParameters(Parameters):
    """Which calls of a run to show."""

    calls: Literal["all", "failed"] = "all"
    calls_before: Moment | None = None


class RunPages:
    """The runs, and one of them."""

    def __init__(self, pages: Pages, parts: WebParts) -> None:
        """Show what ``parts`` know of runs."""
        self._pages = pages
        self._accounts = parts.accounts
        self._ledger = parts.ledger
        self._history = parts.history

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [web.get("/runs", self._list), web.get("/runs/{run_id}", self._show)]

    async def _list(self, request: web.Request) -> web.Response:
        wanted = read_query(request, RunsParameters)
        only = RunFilter(wanted.account, wanted.operation, wanted.status, wanted.since)
        rows = await self._history.runs(only, limit=ON_A_PAGE + 1, after=wanted.before)
        shown = rows[:ON_A_PAGE]
        return self._pages.page(
            request,
            "runs.html",
            accounts=self._accounts.names,
            runs=shown,
            filtered=any((wanted.account, wanted.operation, wanted.status, wanted.since)),
            older=_address(request, shown[-1]) if len(rows) > len(shown) else None,
            newest=_address(request, None) if wanted.before else None,
            ended=[_point(row) for row in await self._history.durations(only, limit=IN_THE_CHART)],
        )

    async def _show(self, request: web.Request) -> web.Response:
        run = await self._run(request.match_info["run_id"])
        wanted = read_query(request, RunParameters)
        errors_only = wanted.calls == "failed"
        calls = await self._history.calls(run, limit=CALLS + 1, before=wanted.calls_before, errors_only=errors_only)
        progress = await self._ledger.progress() if run["status"] == Status.RUNNING else []
        return self._pages.page(
            request,
            "run.html",
            run=run_view(run, next((row for row in progress if row["sync_log_id"] == run["id"]), None)),
            errors=errors_of(run),
            warnings=warnings_of(run),
            parameters=msgspec.json.decode(run["sync_params"]),
            scan=await self._history.scan(run["scan_id"]) if run["scan_id"] else None,
            calls=[_call(call) for call in calls[:CALLS]],
            older_calls=calls[CALLS - 1]["called_at"] if len(calls) > CALLS else None,
            errors_only=errors_only,
            changes=[{**row, "changes": changes_of(row)} for row in await self._history.changes(run, limit=CHANGES)],
            rejects=await self._history.rejects(run["id"], limit=REJECTS),
        )

    async def _run(self, text: str) -> Record:
        try:
            run = await self._ledger.get(UUID(text))
        except ValueError:
            run = None
        if run is None:
            raise ProblemError(HTTPStatus.NOT_FOUND, "There is no such run: old ones are deleted after a while.")
        return run


def _address(request: web.Request, last: Record | None) -> str:
    """Return where the list goes on after ``last``; from its beginning for None."""
    query = {name: value for name, value in request.query.items() if name != "before" and value}
    if last is not None:
        query["before"] = f"{last['started_at'].isoformat()}_{last['id']}"
    return str(request.rel_url.with_query(query))


def _point(row: Record) -> dict[str, Any]:
    return {"at": row["started_at"].timestamp(), "seconds": row["duration_seconds"], "status": row["status"]}


def _call(row: Record) -> dict[str, Any]:
    """Return a call as it is shown: its parameters and messages as what they are."""
    decoded = {name: msgspec.json.decode(row[name]) for name in ("params", "messages")}
    return {**row, **decoded}
