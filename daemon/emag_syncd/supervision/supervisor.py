"""Runs syncs under a deadline that holds whatever a run does: it is cancelled, and abandoned when that is no use."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Any, TypeVar
from uuid import UUID

import structlog
from asyncpg import Record

from emag_syncd.domain.errors import DatabaseError, FencedError, SetBackError, ShuttingDownError, SyncdError
from emag_syncd.domain.runs import ErrorKind, Lease, Outcome, RunError, RunRequest, Status
from emag_syncd.storage.ledger import Ledger
from emag_syncd.supervision.accounts import Account, Accounts
from emag_syncd.supervision.recorder import Recorder, kinds_of
from emag_syncd.sync.context import RunContext
from emag_syncd.sync.engine import Engine
from emag_syncd.telemetry.stacks import where

log = structlog.get_logger(__name__)

T = TypeVar("T")

FINISH_WAITS = (0.2, 0.5, 1.0, 2.0, 5.0)
"""Seconds between tries to record the end of a run while the database is away; the last one repeats."""


@dataclass(frozen=True, slots=True)
class SupervisorSettings:
    """Times in seconds."""

    abandon_after_seconds: float
    stale_after_seconds: float


class _CrashedError(Exception):
    """A run raised what would have ended the process."""


class Handle:
    """One run in this process. ``finished`` gives the run's row once it ended; None when somebody else ended it."""

    def __init__(self, context: RunContext, timeout: float) -> None:
        """Begin not interrupted."""
        self.context = context
        self.timeout = timeout
        self.interruption: asyncio.Future[Outcome | None] = asyncio.get_running_loop().create_future()
        self.finished: asyncio.Future[Record | None] = asyncio.get_running_loop().create_future()

    @property
    def lease(self) -> Lease:
        """The run's lease."""
        return self.context.lease

    def interrupt(self, outcome: Outcome | None) -> None:
        """Cancel the run, to be recorded as ``outcome``; None when its end is recorded already."""
        if not self.interruption.done():
            self.interruption.set_result(outcome)


class Supervisor:
    """Starts runs and sees each of them to its end."""

    def __init__(
        self,
        accounts: Accounts,
        ledger: Ledger,
        engine: Engine,
        recorder: Recorder,
        settings: SupervisorSettings,
        *,
        on_abandon: Callable[[], None],
    ) -> None:
        """Record in ``ledger``; call ``on_abandon`` when a run would not stop and the process can't be trusted."""
        self.settings = settings
        self._accounts = accounts
        self._ledger = ledger
        self._engine = engine
        self._recorder = recorder
        self._on_abandon = on_abandon
        self._handles: dict[UUID, Handle] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._stopping = False

    async def start(self, request: RunRequest) -> Handle:
        """Begin a run and return at once.

        Raises ConfigurationError for an unknown account, BusyError, SlotTakenError, ShuttingDownError and
        DatabaseError.
        """
        account = self._accounts.get(request.account)
        if self._stopping:
            raise ShuttingDownError
        # Whoever asked may go away, but a run that is recorded as begun has begun.
        begun = self._keep(self._begin(request, account))
        begun.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody may be left to ask for it
        return await asyncio.shield(begun)

    def handles(self) -> list[Handle]:
        """Return the runs of this process, the oldest first."""
        return list(self._handles.values())

    def lost(self, run_id: UUID) -> None:
        """Stop a run that somebody else ended: it may write nothing any more."""
        handle = self._handles.get(run_id)
        if handle is not None:
            handle.interrupt(None)

    async def cancel(self, run_id: UUID, error: str = "Cancelled on request") -> bool:
        """End a run, in this process or another; whether it was running. Raises DatabaseError."""
        ended = await self._ledger.end([run_id], Status.CANCELLED, RunError(ErrorKind.CANCELLED, error))
        self.ended_elsewhere(ended)
        return bool(ended)

    def ended_elsewhere(self, rows: Iterable[Record]) -> None:
        """Take note of runs that were ended in the ledger: those of this process stop at once."""
        for row in rows:
            self._recorder.ended(row)
            self.lost(row["id"])

    def reaped(self, rows: Iterable[Record], kind: ErrorKind = ErrorKind.STALE) -> None:
        """Take note of runs that were ended in the ledger because no living process stood behind them."""
        for row in rows:
            self._recorder.reaped(row, kind)
            self.ended_elsewhere([row])

    async def stop(self) -> None:
        """Let every run stop at its next page boundary, and return when all are recorded."""
        self._stopping = True
        for handle in self.handles():
            handle.context.request_stop()
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _keep(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _begin(self, request: RunRequest, account: Account) -> Handle:
        lease = await self._ledger.claim(
            request, stale_after_seconds=self.settings.stale_after_seconds, on_reaped=self.reaped
        )
        handle = Handle(RunContext(lease, request, self._recorder), account.settings.timeout_seconds)
        self._handles[lease.run_id] = handle
        self._keep(self._see_through(handle, account)).set_name(f"sync {lease.account}")
        if self._stopping:
            handle.context.request_stop()
        return handle

    async def _see_through(self, handle: Handle, account: Account) -> None:
        try:
            await self._supervise(handle, account)
        except Exception:
            # Without heartbeats the watchdog ends the row: better late than a row that lies.
            log.exception("supervision failed", action="supervision_failed", run_id=str(handle.lease.run_id))
            self._gone(handle)
        finally:
            del self._handles[handle.lease.run_id]
            if not handle.finished.done():
                handle.finished.set_result(None)

    async def _supervise(self, handle: Handle, account: Account) -> None:
        structlog.contextvars.bind_contextvars(run_id=str(handle.lease.run_id), account=account.name)
        self._recorder.started(handle.lease, handle.context.request)
        run = asyncio.create_task(self._guarded(handle, account), name=f"run {handle.lease.run_id}")
        abandoned = not await self._ends(handle, run)
        outcome = self._outcome(handle, run)
        if abandoned:
            self._recorder.abandoned(handle.lease)
            log.critical("run abandoned", action="run_abandoned", where=where(run))
        row = await self._finish(handle, outcome) if outcome else None
        if row is None:
            self._lost(handle)
        else:
            self._recorder.ended(row)
        handle.finished.set_result(row)
        if abandoned:
            self._on_abandon()

    async def _ends(self, handle: Handle, run: asyncio.Task[Outcome]) -> bool:
        """Return whether the run ended: by itself, by its deadline or by an interruption."""
        deadline = asyncio.create_task(asyncio.wait_for(run, handle.timeout))
        deadline.add_done_callback(lambda done: done.cancelled() or done.exception())  # it is the run that is judged
        waited_for: set[asyncio.Future[Any]] = {deadline, handle.interruption}
        # Nobody relies on wait_for coming back: it waits for a run that swallows its cancellation.
        await asyncio.wait(
            waited_for,
            timeout=handle.timeout + self.settings.abandon_after_seconds,
            return_when=asyncio.FIRST_COMPLETED,
        )
        if not run.done():
            run.cancel()
            if handle.interruption.done():
                await asyncio.wait({run}, timeout=self.settings.abandon_after_seconds)
        return run.done()

    async def _guarded(self, handle: Handle, account: Account) -> Outcome:
        try:
            return await self._engine.run(handle.context, account.link, account.run_settings)
        except (SystemExit, KeyboardInterrupt) as crash:
            # asyncio would let these end the loop, and every other run with it.
            raise _CrashedError(repr(crash)) from crash

    def _outcome(self, handle: Handle, run: asyncio.Task[Outcome]) -> Outcome | None:
        """Return how the run ended, or None when somebody else has recorded that."""
        if handle.interruption.done():
            return run.result() if _ended_well(run) else handle.interruption.result()
        if run.cancelling():
            # The deadline struck, whatever the run made of it: another exception, or even a result.
            self._recorder.timed_out(handle.lease)
            return Outcome.of(
                Status.FAILED,
                ErrorKind.TIMEOUT,
                f"Product sync timed out after {handle.timeout:g} seconds",
            )
        if run.cancelled():
            return Outcome.of(Status.CANCELLED, ErrorKind.CANCELLED, "The run was cancelled")
        match run.exception():
            case None:
                return run.result()
            case FencedError():
                return None
            case SyncdError() as error:
                return _failed(error)
            case error:
                log.error("run failed", action="run_failed", kind=ErrorKind.INTERNAL, exc_info=error)
                return Outcome.of(
                    Status.FAILED,
                    ErrorKind.INTERNAL,
                    f"An error inside emag-syncd ended the run ({type(error).__name__}); its log has the details",
                )

    async def _finish(self, handle: Handle, outcome: Outcome) -> Record | None:
        """Record the end of a run, however long the database is away; its lease is renewed until then.

        Raises DatabaseError for what can't be recorded: without heartbeats the watchdog ends the row.
        """
        counters = handle.context.take_unrecorded()
        # Only what says that all is there has to have all of it.
        commits = handle.context.commits if outcome.status is Status.COMPLETED else None
        for tries, wait in enumerate(chain(FINISH_WAITS, repeat(FINISH_WAITS[-1]))):
            try:
                row = await self._ledger.finish(handle.lease, outcome, counters, commits=commits)
                if row is None and tries:
                    # An earlier try may have gone through although its answer was lost.
                    row = _ours(await self._ledger.ended_as(handle.lease.run_id, outcome.status), outcome)
            except SetBackError as error:
                outcome, commits = _failed(error), None
            except DatabaseError as error:
                if not error.may_pass:
                    raise
                log.warning("run not recorded yet", action="run_unrecorded", wait_seconds=wait, error=str(error))
                await asyncio.sleep(wait)
            else:
                return row
        raise AssertionError("repeat() does not end")

    def _lost(self, handle: Handle) -> None:
        log.warning("run was ended by somebody else", action="run_lost")
        self._gone(handle)

    def _gone(self, handle: Handle) -> None:
        """Tell that a run is gone whose end nobody here can tell of, unless its account has another one by now."""
        account = handle.lease.account
        if all(other is handle or other.lease.account != account for other in self._handles.values()):
            self._recorder.lost(handle.lease)


def _failed(error: SyncdError) -> Outcome:
    log.error("run failed", action="run_failed", kind=error.kind, error=str(error))
    return Outcome.of(Status.FAILED, error.kind, str(error))


def _ended_well(run: asyncio.Task[Outcome]) -> bool:
    """Whether the run was done before it could be interrupted; what the ledger makes of that is up to the fence."""
    return run.done() and not run.cancelled() and run.exception() is None


def _ours(row: Record | None, outcome: Outcome) -> Record | None:
    """Return the row of an ended run if it ended as ``outcome`` says, and not as somebody else had it."""
    if row is None or not {error.kind for error in outcome.errors} <= set(kinds_of(row)):
        return None
    return row
