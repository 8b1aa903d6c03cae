"""Runs over HTTP: ask for one, look at it, cancel it, end those that are stuck."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Literal, NoReturn, NotRequired, TypedDict, cast
from uuid import UUID

from aiohttp import web
from asyncpg import Record

from emag_syncd.domain.errors import BusyError, SyncdError
from emag_syncd.domain.runs import RunRequest, Status, Trigger
from emag_syncd.supervision.supervisor import Handle
from emag_syncd.web.answers import ProblemError, answer
from emag_syncd.web.openapi import operation
from emag_syncd.web.parameters import ALL, CleanUpParameters, SyncParameters, read_body, read_either
from emag_syncd.web.parts import API, WebParts
from emag_syncd.web.views import RunView, run_errors, run_view, run_views

WORST_LAST = (Status.COMPLETED, Status.PARTIAL, Status.CANCELLED, Status.FAILED)

TOTALS = {
    "total_processed": "processed_items",
    "created": "created_items",
    "updated": "updated_items",
    "unchanged": "unchanged_items",
    "removed": "removed_items",
    "failed": "failed_items",
}


@dataclass(frozen=True, slots=True)
class Skipped:
    """An account whose run did not start; ``sync_id`` is the run that is in the way, if that is why."""

    account_type: str
    reason: str
    sync_id: UUID | None = None


class RunOfAccount(TypedDict):
    """Which run is whose, and how it ended."""

    sync_id: UUID
    account_type: str
    status: NotRequired[Status]


class StartedRuns(TypedDict):
    """The runs that started, and the accounts that were left out."""

    sync_ids: list[UUID]
    syncs: list[RunOfAccount]
    skipped: Sequence[Skipped]


class SyncStarted(TypedDict):
    """Runs have started."""

    status: Literal["accepted"]
    message: str
    sync_id: UUID
    data: StartedRuns


class RunTotals(TypedDict):
    """What the runs did together."""

    total_processed: int
    created: int
    updated: int
    unchanged: int
    removed: int
    failed: int


class EndedRuns(RunTotals, StartedRuns):
    """What the runs did, and what went wrong."""

    errors: list[Any]


class SyncEnded(TypedDict):
    """Runs have ended; the status is the worst of theirs."""

    status: Status
    message: str
    sync_id: UUID
    data: EndedRuns


class CleanedUp(TypedDict):
    """Which runs were ended."""

    cleaned_count: int
    timeout_minutes: int
    sync_ids: list[UUID]


class CleanUp(TypedDict):
    """Runs that had been running for too long were ended."""

    status: Literal["success"]
    message: str
    data: CleanedUp


NO_SUCH_SYNC = "There is no sync of this id"


class Syncs:
    """The runs."""

    def __init__(self, parts: WebParts) -> None:
        """Start runs and look them up with ``parts``."""
        self._accounts = parts.accounts
        self._ledger = parts.ledger
        self._supervisor = parts.supervisor

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [
            web.post(f"{API}/sync", self._start),
            web.get(f"{API}/sync/{{sync_id}}", self._show),
            web.delete(f"{API}/sync/{{sync_id}}", self._cancel),
            web.post(f"{API}/cleanup-stuck-syncs", self._clean_up),
        ]

    @operation(
        "Start runs, and wait for them unless run_async is set",
        body=SyncParameters,
        answers={HTTPStatus.OK: SyncEnded, HTTPStatus.ACCEPTED: SyncStarted},
        problems={HTTPStatus.CONFLICT: "Every account is busy; sync_id is the run of the first"},
    )
    async def _start(self, request: web.Request) -> web.Response:
        wanted = await read_body(request, SyncParameters)
        handles, skipped = await self.start(wanted, Trigger.API)
        if wanted.run_async:
            return _accepted(handles, skipped)
        # Not awaited itself: when this request is cancelled, at shutdown, what others wait for must not be.
        await asyncio.wait({handle.finished for handle in handles})
        return _ended([await self._row(handle) for handle in handles], skipped)

    async def start(self, wanted: SyncParameters, trigger: Trigger) -> tuple[list[Handle], list[Skipped]]:
        """Start the runs that are asked for, and say which accounts were left out.

        Raises BusyError when none is free, ProblemError and SyncdError for what else keeps all of them from starting.
        """
        return await self._start_each([wanted.run(name, trigger) for name in self._names(wanted.account_type)])

    def _names(self, account_type: str) -> list[str]:
        if account_type not in ALL:
            return [self._accounts.get(account_type).name]
        if not self._accounts.names:
            raise ProblemError(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                "no account is configured: set accounts.NAME.username and accounts.NAME.password",
            )
        return self._accounts.names

    async def _start_each(self, wanted: Sequence[RunRequest]) -> tuple[list[Handle], list[Skipped]]:
        """Start what is free. Raises BusyError when nothing is, and what else is wrong if nothing started yet."""
        handles: list[Handle] = []
        skipped: list[Skipped] = []
        busy: BusyError | None = None
        for index, one in enumerate(wanted):
            try:
                handles.append(await self._supervisor.start(one))
            except BusyError as error:
                busy = busy or error
                skipped.append(Skipped(one.account, str(error), error.run_id))
            except SyncdError as error:
                if not handles:
                    raise
                skipped.extend(Skipped(left.account, str(error)) for left in wanted[index:])
                break
        if busy is not None and not handles:
            raise busy
        return handles, skipped

    async def _row(self, handle: Handle) -> Record:
        row = handle.finished.result() or await self._ledger.get(handle.lease.run_id)
        return row or _missing()

    @operation("One run", answers={HTTPStatus.OK: RunView}, problems={HTTPStatus.NOT_FOUND: NO_SUCH_SYNC})
    async def _show(self, request: web.Request) -> web.Response:
        row = await self._ledger.get(_sync_id(request.match_info["sync_id"])) or _missing()
        progress = await self._ledger.progress() if row["status"] == Status.RUNNING else []
        return answer(run_views([row], progress)[0])

    @operation(
        "Cancel a run",
        answers={HTTPStatus.OK: RunView},
        problems={HTTPStatus.NOT_FOUND: NO_SUCH_SYNC, HTTPStatus.CONFLICT: "It is not running any more"},
    )
    async def _cancel(self, request: web.Request) -> web.Response:
        return answer(run_view(await self.cancel(request.match_info["sync_id"])))

    async def cancel(self, text: str) -> Record:
        """Cancel the run of this id and return its row. Raises ProblemError when it is not running, or is none."""
        sync_id = _sync_id(text)
        was_running = await self._supervisor.cancel(sync_id)
        row = await self._ledger.get(sync_id) or _missing()
        if not was_running:
            raise ProblemError(
                HTTPStatus.CONFLICT,
                f"sync {sync_id} is not running any more: it is {row['status']}",
                sync_id=sync_id,
                sync_status=row["status"],
            )
        return row

    @operation(
        "End every run that has been running for longer",
        query=CleanUpParameters,
        body=CleanUpParameters,
        answers={HTTPStatus.OK: CleanUp},
    )
    async def _clean_up(self, request: web.Request) -> web.Response:
        minutes = (await read_either(request, CleanUpParameters)).timeout_minutes
        rows = await self.clean_up(minutes)
        content: CleanUp = {
            "status": "success",
            "message": f"ended all syncs that had been running for more than {minutes} minutes: {len(rows)}",
            "data": {
                "cleaned_count": len(rows),
                "timeout_minutes": minutes,
                "sync_ids": [row["id"] for row in rows],
            },
        }
        return answer(content)

    async def clean_up(self, minutes: int) -> list[Record]:
        """End every run that has been running for longer, and return their rows. Raises DatabaseError."""
        rows = await self._ledger.clean_up(minutes)
        self._supervisor.ended_elsewhere(rows)
        return rows


def _sync_id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        _missing()


def _accepted(handles: Iterable[Handle], skipped: Sequence[Skipped]) -> web.Response:
    leases = [handle.lease for handle in handles]
    message = ", ".join(f"sync of account {lease.account} started" for lease in leases)
    content: SyncStarted = {
        "status": "accepted",
        "message": _with_skipped(message, skipped),
        "sync_id": leases[0].run_id,
        "data": {
            "sync_ids": [lease.run_id for lease in leases],
            "syncs": [{"sync_id": lease.run_id, "account_type": lease.account} for lease in leases],
            "skipped": skipped,
        },
    }
    return answer(content, status=HTTPStatus.ACCEPTED)


def _ended(rows: Sequence[Record], skipped: Sequence[Skipped]) -> web.Response:
    message = ", ".join(
        f"sync of account {row['account_type']} {row['status']} with {row['processed_items']} offers" for row in rows
    )
    totals = cast("RunTotals", {name: sum(row[column] for row in rows) for name, column in TOTALS.items()})
    content: SyncEnded = {
        "status": max((Status(row["status"]) for row in rows), key=WORST_LAST.index),
        "message": _with_skipped(message, skipped),
        "sync_id": rows[0]["id"],
        "data": {
            **totals,
            "errors": [error for row in rows for error in run_errors(row)],
            "sync_ids": [row["id"] for row in rows],
            "syncs": [
                {"sync_id": row["id"], "account_type": row["account_type"], "status": Status(row["status"])}
                for row in rows
            ],
            "skipped": skipped,
        },
    }
    return answer(content)


def _with_skipped(message: str, skipped: Iterable[Skipped]) -> str:
    return "; ".join([message, *(f"account {one.account_type} was left out: {one.reason}" for one in skipped)])


def _missing() -> NoReturn:
    raise ProblemError(HTTPStatus.NOT_FOUND, f"there is no sync of this id: see {API}/history for those there are")
