"""The deadline holds whatever a run does: it is cancelled, and abandoned when that is no use."""

import asyncio
import threading

import pytest
import structlog

from emag_syncd.domain.errors import CredentialsError
from emag_syncd.domain.runs import ErrorKind, Outcome, Status
from emag_syncd.storage.database import Database
from emag_syncd.sync.context import RunContext
from tests.support.engines import (
    DONE,
    Deaf,
    at_once,
    by_account,
    core_on,
    engine_of,
    for_ever,
    sample,
    start,
    until_stopped,
)
from tests.support.offers import PROGRESS, creating, offer
from tests.support.syncing import ended
from tests.support.waiting import until

SHORT = {"timeout_seconds": 0.2, "abandon_after_seconds": 0.1}
UNHURRIED = {"timeout_seconds": 3}


@pytest.mark.parametrize(("seconds", "said"), [(0.2, "0.2"), (1.0, "1")])
async def test_a_run_past_its_deadline(database: Database, seconds: float, said: str) -> None:
    """It fails as a timeout, in the contract's words, and is counted as one."""
    async with core_on(database, for_ever, sync={"timeout_seconds": seconds}) as core:
        end = await ended(await start(core))
        assert (end.status, end.kinds) == ("failed", ["timeout"])
        assert end.said == f"Product sync timed out after {said} seconds"
        assert end["duration_seconds"] >= seconds
        assert sample(core, "emag_sync_timeouts_total", account="main") == 1
        assert sample(core, "emag_sync_abandoned_total", account="main") == 0
        assert sample(core, "emag_sync_in_progress", account="main") == 0
        assert sample(core, "emag_sync_errors_total", account="main", kind="timeout") == 1


async def test_what_was_written_before_a_timeout_stays(database: Database) -> None:
    """Counters of committed pages and of requests since then are kept with the run."""

    async def write_and_hang(context: RunContext) -> Outcome:
        batch = creating(offer(1), offer(2))
        await core.mirror.commit(context.lease, None, batch, PROGRESS, commits=0)
        context.unrecorded.api_requests_made += 3
        context.unrecorded.rate_limit_hits += 1
        return await for_ever(context)

    async with core_on(database, write_and_hang, sync=UNHURRIED) as core:
        end = await ended(await start(core))
        assert end.counted("processed", "created") == (2, 2)
        assert [end[name] for name in ("pages_processed", "api_requests_made", "rate_limit_hits")] == [1, 3, 1]


async def test_a_result_after_the_deadline_counts_for_nothing(database: Database) -> None:
    """A run that swallows its cancellation and comes back with a result timed out all the same."""
    deaf = Deaf()
    async with core_on(database, deaf, sync={**SHORT, "abandon_after_seconds": 60}) as core:
        handle = await start(core)
        await until(lambda: deaf.heard)
        deaf.released.set()
        assert (await ended(handle)).kinds == ["timeout"]
        assert not core.stop.is_set()


async def test_an_error_while_being_timed_out_is_a_timeout(database: Database) -> None:
    """What goes wrong in a run's clean-up does not hide that its time was up."""

    async def spoil(context: RunContext) -> Outcome:
        try:
            return await for_ever(context)
        finally:
            raise ValueError("the clean-up failed")

    async with core_on(database, spoil, sync=SHORT) as core:
        assert (await ended(await start(core))).kinds == ["timeout"]


async def test_a_time_limit_of_the_run_itself_is_not_the_deadline(database: Database) -> None:
    """TimeoutError long before the deadline is an error like any other, and no timeout is counted."""

    async def impatient(context: RunContext) -> Outcome:
        async with asyncio.timeout(0.01):
            return await for_ever(context)

    async with core_on(database, impatient) as core:
        assert (await ended(await start(core))).kinds == ["internal"]
        assert sample(core, "emag_sync_timeouts_total", account="main") == 0


async def test_a_run_that_never_comes_back_is_abandoned(database: Database) -> None:
    """Its row is ended, it is counted and logged with where it hangs, and the process is told to end."""
    deaf = Deaf()
    async with core_on(database, deaf, sync=SHORT) as core:
        with structlog.testing.capture_logs() as logged:
            end = await ended(await start(core))
        assert (end.status, end.kinds) == ("failed", ["timeout"])
        assert sample(core, "emag_sync_abandoned_total", account="main") == 1
        assert core.failed
        assert core.stop.is_set()
        assert deaf.heard >= 1
        assert not deaf.left.is_set()
        (line,) = [line for line in logged if line["action"] == "run_abandoned"]
        assert any("engines.py" in frame and "__call__" in frame for frame in line["where"])
        assert "wait" in line["where"][-1]


async def test_an_interrupted_run_that_never_comes_back_is_abandoned(database: Database) -> None:
    """Long before its deadline, and its end is what the interruption says."""
    deaf = Deaf()
    async with core_on(database, deaf, sync={"timeout_seconds": 3600, "abandon_after_seconds": 0.1}) as core:
        handle = await start(core)
        await until(lambda: f"run {handle.lease.run_id}" in {task.get_name() for task in asyncio.all_tasks()})
        handle.interrupt(Outcome.of(Status.CANCELLED, ErrorKind.SHUTDOWN, "The daemon was shut down"))
        end = await ended(handle)
        assert (end.status, end.kinds) == ("cancelled", ["shutdown"])
        assert sample(core, "emag_sync_abandoned_total", account="main") == 1
        assert deaf.heard >= 1
        deaf.released.set()


async def test_an_abandoned_run_blocks_nobody(database: Database) -> None:
    """Other accounts go on meanwhile, and its own account can be claimed again."""
    deaf = Deaf()
    patient = {"fbe": {"sync": {"timeout_seconds": 60}}}
    async with core_on(database, by_account(main=deaf, fbe=until_stopped), sync=SHORT, own=patient) as core:
        other, abandoned = await start(core, "fbe"), await start(core)
        assert (await ended(abandoned)).kinds == ["timeout"]
        engine_of(core).act = at_once
        assert (await ended(await start(core))).status == "completed"
        assert not other.finished.done()
        other.context.request_stop()
        assert (await ended(other)).kinds == ["shutdown"]
        deaf.released.set()


async def test_a_run_that_hangs_in_a_thread(database: Database) -> None:
    """Its thread can't be stopped, but the run ends in time."""
    freed = threading.Event()

    async def in_thread(_context: RunContext) -> Outcome:
        await asyncio.to_thread(freed.wait)
        return DONE

    async with core_on(database, in_thread, sync=SHORT) as core:
        assert (await ended(await start(core))).kinds == ["timeout"]
        assert not core.failed
        freed.set()


CRASHES = {
    "exit": (SystemExit("hunter2"), "failed", "internal"),
    "interrupt": (KeyboardInterrupt("hunter2"), "failed", "internal"),
    "generator": (GeneratorExit("hunter2"), "failed", "internal"),
    "value": (ValueError("the password is hunter2"), "failed", "internal"),
    "group": (BaseExceptionGroup("hunter2", [SystemExit(1)]), "failed", "internal"),
    "known": (CredentialsError("refused", remedy="correct it"), "failed", "credentials"),
    "cancel": (asyncio.CancelledError(), "cancelled", "cancelled"),
}


async def test_whatever_a_run_raises(database: Database) -> None:
    """It ends this run, under its kind and without what it says inside, and nothing but this run."""

    async def crash(context: RunContext) -> Outcome:
        if context.lease.account == "well":
            return await until_stopped(context)
        raise CRASHES[context.lease.account][0]

    async with core_on(database, crash, "well", *CRASHES) as core:
        other = await start(core, "well")
        for account, (_, status, kind) in CRASHES.items():
            end = await ended(await start(core, account))
            assert (end.status, end.kinds) == (status, [kind])
            assert "hunter2" not in end.said
            assert "Traceback" not in end.said
        assert not other.finished.done()
        assert not core.stop.is_set()
