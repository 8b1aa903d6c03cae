"""The run ledger: who may write, since when, and how it ended. Every time in it is PostgreSQL's."""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from asyncpg import Record

from emag_syncd.domain.errors import BusyError, DatabaseError, SetBackError, SlotTakenError
from emag_syncd.domain.runs import (
    PRODUCTS,
    Counters,
    ErrorKind,
    Lease,
    Operation,
    Outcome,
    RunError,
    RunRequest,
    Status,
)
from emag_syncd.storage.codecs import jsonb
from emag_syncd.storage.connections import Connection, Connections
from emag_syncd.storage.queries import ledger as sql
from emag_syncd.storage.queries import mirror


def error_rows(errors: Iterable[RunError]) -> bytes:
    """Return errors as the ``errors`` column keeps them."""
    now = datetime.now(UTC).isoformat()
    # An error may quote the marketplace, and jsonb takes no NUL.
    return jsonb([{"error": e.error.replace("\x00", "\ufffd"), "kind": e.kind, "timestamp": now} for e in errors])


class Ledger:
    """The runs in ``emag_sync_logs``.

    Takes ``connections`` of its own, apart from the pool of the runs, where a heartbeat must not wait for them.
    Every method raises DatabaseError when PostgreSQL does not answer.
    """

    def __init__(self, connections: Connections, *, worker_id: str, lease_seconds: float) -> None:
        """Record runs as those of ``worker_id``, each held for ``lease_seconds`` at a time."""
        self._connections = connections
        self.worker_id = worker_id
        self.lease_seconds = lease_seconds

    async def claim(
        self,
        request: RunRequest,
        *,
        stale_after_seconds: float,
        on_reaped: Callable[[list[Record]], None] | None = None,
    ) -> Lease:
        """Begin a run and hold its lease.

        A stale run of the account is ended first, so that a dead process never blocks its successor; ``on_reaped``
        gets its row. A request whose answer was lost may be tried again: it is one run all the same.

        Raises BusyError when another run is under way, SlotTakenError when the slot has had its run.
        """
        async with self._connections.use() as conn:
            if part := await sql.missing_part(conn):
                raise DatabaseError(
                    f"the database is not whole: {part} is missing",
                    remedy="let it be restored to the end; where nobody restores it, restore it from a backup",
                )
            reap = sql.reap(conn, account=request.account, stale_after_seconds=stale_after_seconds)
            if (reaped := await self._fetch(reap)) and on_reaped is not None:
                on_reaped(reaped)
            if request.scheduled_for is not None:
                await sql.free_slots_to_come(conn, account=request.account, sync_type=PRODUCTS)
            while (lease := await self._try_claim(conn, request)) is None:
                await self._refuse(conn, request)
            return lease

    async def _try_claim(self, conn: Connection, request: RunRequest) -> Lease | None:
        row = await sql.claim(
            conn,
            run_id=request.run_id,
            sync_type=PRODUCTS,
            account=request.account,
            operation=request.operation,
            triggered_by=request.trigger,
            sync_params=jsonb(request.params()),
            scheduled_for=request.scheduled_for,
            worker_id=self.worker_id,
            lease_seconds=self.lease_seconds,
        )
        if row is None:
            row = await sql.claimed(conn, run_id=request.run_id, worker_id=self.worker_id)
        return row and Lease(row["id"], row["lease_token"], request.account, request.operation)

    async def _refuse(self, conn: Connection, request: RunRequest) -> None:
        """Raise what stands in the way of the request; return when that has ended meanwhile."""
        if request.scheduled_for is not None and await sql.slot_taken(
            conn,
            account=request.account,
            sync_type=PRODUCTS,
            operation=request.operation,
            scheduled_for=request.scheduled_for,
            run_id=request.run_id,
        ):
            raise SlotTakenError(request.account, request.scheduled_for)
        blocking = await sql.running_of(conn, account=request.account, sync_type=PRODUCTS)
        if blocking is not None:
            raise BusyError(request.account, blocking["id"])

    async def beat(self, leases: Sequence[Lease]) -> set[UUID]:
        """Renew the leases and return the runs that are still ours."""
        async with self._connections.use() as conn:
            rows = await self._fetch(
                sql.beat(
                    conn,
                    ids=[lease.run_id for lease in leases],
                    tokens=[lease.token for lease in leases],
                    lease_seconds=self.lease_seconds,
                )
            )
        return {row["id"] for row in rows}

    async def finish(
        self, lease: Lease, outcome: Outcome, counters: Counters, warnings: Any = None, *, commits: int | None = None
    ) -> Record | None:
        """End the run as ``outcome`` says; None when somebody else ended it before.

        Raises SetBackError when the run made ``commits`` commits and the database has another number of them.
        """
        async with self._connections.use() as conn:
            row: Record | None = await sql.finish(
                conn,
                run_id=lease.run_id,
                token=lease.token,
                status=outcome.status,
                errors=error_rows(outcome.errors),
                warnings=None if warnings is None else jsonb(warnings),
                api_requests_made=counters.api_requests_made,
                rate_limit_hits=counters.rate_limit_hits,
                scan_done=outcome.scan_done,
                commits=commits,
            )
            if row is None and commits is not None:
                recorded = await mirror.commits_of(conn, run_id=lease.run_id, token=lease.token)
                if recorded is not None:
                    raise SetBackError(lease.run_id, made=commits, recorded=recorded)
        return row

    async def reap(self, *, stale_after_seconds: float) -> list[Record]:
        """End the runs that no live process holds, and return their rows."""
        async with self._connections.use() as conn:
            await self._fetch(sql.end_stalled(conn))
            return await self._fetch(sql.reap(conn, account=None, stale_after_seconds=stale_after_seconds))

    async def held_by(self, prefix: str) -> list[tuple[UUID, str]]:
        """Return the running runs of the workers whose id begins with ``prefix``, with those ids."""
        async with self._connections.use() as conn:
            rows = await self._fetch(sql.held_by_workers(conn, prefix=prefix))
        return [(row["id"], row["worker_id"]) for row in rows]

    async def end(self, ids: Iterable[UUID], status: Status, error: RunError) -> list[Record]:
        """End these runs, whoever holds them, and return the rows of those that were running."""
        async with self._connections.use() as conn:
            return await self._fetch(sql.end_runs(conn, ids=list(ids), status=status, errors=error_rows([error])))

    async def end_free(self, ids: Iterable[UUID], status: Status, error: RunError) -> list[Record]:
        """End those of these runs whose rows nobody has locked, without waiting, and return their rows."""
        async with self._connections.use() as conn:
            return await self._fetch(sql.end_free_runs(conn, ids=list(ids), status=status, errors=error_rows([error])))

    async def clean_up(self, older_than_minutes: float) -> list[Record]:
        """End every run that has been running for longer, and return their rows."""
        async with self._connections.use() as conn:
            rows = await self._fetch(sql.older_than(conn, seconds=older_than_minutes * 60))
        error = RunError(
            ErrorKind.STALE, f"Cleaned up: it had been running for more than {older_than_minutes:g} minutes"
        )
        return await self.end([row["id"] for row in rows], Status.FAILED, error)

    async def get(self, run_id: UUID) -> Record | None:
        """Return the run's row."""
        async with self._connections.use() as conn:
            row: Record | None = await sql.by_id(conn, run_id=run_id)
        return row

    async def ended_as(self, run_id: UUID, status: Status) -> Record | None:
        """Return the run's row if it ended with this status."""
        row = await self.get(run_id)
        return row if row is not None and row["status"] == status else None

    async def running(self) -> list[Record]:
        """Return the rows of the runs under way, in this process or another, oldest first."""
        async with self._connections.use() as conn:
            return await self._fetch(sql.running_runs(conn))

    async def stale_count(self, *, stale_after_seconds: float) -> int:
        """Return how many running rows no live process holds."""
        async with self._connections.use() as conn:
            return int(await sql.stale_count(conn, stale_after_seconds=stale_after_seconds))

    async def history(
        self,
        *,
        limit: int,
        account: str | None = None,
        status: Status | None = None,
        before: datetime | None = None,
    ) -> list[Record]:
        """Return the latest runs, newest first, those begun before ``before``."""
        async with self._connections.use() as conn:
            return await self._fetch(sql.history(conn, limit=limit, account=account, status=status, before=before))

    async def last_successes(self) -> dict[tuple[str, Operation], datetime]:
        """Return when each account's operations last completed."""
        async with self._connections.use() as conn:
            rows = await self._fetch(sql.last_successes(conn))
        return {(row["account_type"], Operation(row["operation"])): row["completed_at"] for row in rows}

    async def last_runs(self) -> list[Record]:
        """Return how each account's operations last ended."""
        async with self._connections.use() as conn:
            return await self._fetch(sql.last_runs(conn))

    async def outcomes(self, account: str, limit: int) -> list[Record]:
        """Return how the account's latest runs ended, newest first."""
        async with self._connections.use() as conn:
            return await self._fetch(sql.outcomes(conn, account=account, sync_type=PRODUCTS, limit=limit))

    async def slot_covered(
        self, account: str, operation: Operation, slot: datetime, *, other_than: UUID | None = None
    ) -> bool:
        """Whether the slot needs no run any more; the run ``other_than`` does not count."""
        async with self._connections.use() as conn:
            return bool(
                await sql.slot_covered(
                    conn,
                    account=account,
                    sync_type=PRODUCTS,
                    operation=operation,
                    slot=slot,
                    other_than=other_than,
                )
            )

    async def now(self) -> datetime:
        """Return the time that counts for every daemon on this database."""
        async with self._connections.use() as conn:
            moment: datetime = await sql.now(conn)
        return moment

    async def progress(self) -> list[Record]:
        """Return the progress of the runs under way."""
        async with self._connections.use() as conn:
            return await self._fetch(sql.progress_of(conn))

    @staticmethod
    async def _fetch(rows: Any) -> list[Record]:
        return [row async for row in rows]
