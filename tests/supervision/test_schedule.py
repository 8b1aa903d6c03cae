"""Runs begin when their slots come: each slot once, none lost, whatever is in the way."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
import structlog
from asyncpg import Record

from emag_syncd.domain.errors import DatabaseError
from emag_syncd.domain.runs import ErrorKind, Operation, Outcome, Status
from emag_syncd.storage.database import Database
from emag_syncd.telemetry.series import SchedulerOutcome
from tests.support.engines import at_once, core_on, engine_of, start, until_stopped
from tests.support.offers import Connection, by_hand
from tests.support.schedules import built, counted, is_idle, scheduled, schedules, slot_of, waited
from tests.support.waiting import until

SECOND = timedelta(seconds=1)
RUNS = "SELECT * FROM emag_sync_logs ORDER BY started_at"


def assert_no_slot_left_out(runs: Sequence[Record]) -> None:
    """Assert that each slot of every second had one run: its own, or one that began late and does for it too."""
    slots = [run["scheduled_for"] for run in runs]
    assert slots == sorted(set(slots))
    passed = (slots[0] + n * SECOND for n in range((slots[-1] - slots[0]) // SECOND))
    assert all(any(run["scheduled_for"] <= slot <= run["started_at"] for run in runs) for slot in passed)


async def test_runs_begin_at_their_slots(database: Database, sql: Connection) -> None:
    """One after the other, none left out, none early, and with the slot in their row."""
    async with core_on(database, at_once, own=schedules("1s")) as core, scheduled(core):
        await until(lambda: (counted(core, SchedulerOutcome.STARTED) or 0) >= 3)
        runs = await sql.fetch(RUNS)
        assert_no_slot_left_out(runs)
        assert (runs[0]["scheduled_for"] - slot_of(core, Operation.FULL)) % SECOND == timedelta()
        assert all(run["started_at"] >= run["scheduled_for"] for run in runs)
        assert {(run["triggered_by"], run["operation"]) for run in runs} == {("schedule", "full_sync")}
        assert [counted(core, outcome) for outcome in (SchedulerOutcome.MISSED, SchedulerOutcome.FAILED)] == [0, 0]


async def test_each_slot_once_in_the_fleet(database: Database, sql: Connection) -> None:
    """Two daemons with the same schedule share its slots, and leave none out."""
    own = schedules("1s")
    async with core_on(database, at_once, own=own) as here, core_on(database, at_once, own=own) as there:
        async with scheduled(here), scheduled(there):
            await until(
                lambda: (
                    sum(counted(core, SchedulerOutcome.STARTED) or 0 for core in (here, there)) >= 3
                    and sum(counted(core, SchedulerOutcome.TAKEN) or 0 for core in (here, there)) >= 3
                )
            )
        assert_no_slot_left_out(await sql.fetch(RUNS))


async def test_what_is_due_at_the_start(database: Database, sql: Connection) -> None:
    """A first start syncs both ways at once, a second one has nothing to do."""
    async with core_on(database, at_once, own=schedules("1d", "15m")) as core:
        async with scheduled(core) as schedule:
            await until(partial(is_idle, schedule))
        runs = {run["operation"]: run["scheduled_for"] for run in await sql.fetch(RUNS)}
        assert runs["full_sync"] == slot_of(core, Operation.FULL)
        async with scheduled(core) as schedule:
            await until(partial(is_idle, schedule))
        # The incremental one is not needed where the full one began first.
        assert await sql.fetchval("SELECT count(*) FROM emag_sync_logs") == len(runs)


async def test_missed_slots_are_one_run(database: Database, sql: Connection) -> None:
    """However many came while nobody lived, a cron schedule's too."""
    async with core_on(database, at_once, own=schedules("1h", "* * * * *")) as core:
        for operation, period in ((Operation.FULL, 3600), (Operation.INCREMENTAL, 60)):
            slot = slot_of(core, operation) - timedelta(seconds=10 * period)
            await by_hand(sql, operation=operation, status="completed", started_at=slot, scheduled_for=slot)
        latest = {slot_of(core, Operation.FULL)}
        async with scheduled(core) as schedule:
            await until(partial(is_idle, schedule))
        latest.add(slot_of(core, Operation.FULL))
        made = await sql.fetch(f"{RUNS} OFFSET 2")
        assert {run["scheduled_for"] for run in made if run["operation"] == "full_sync"} <= latest
        assert sum(run["operation"] == "full_sync" for run in made) == 1
        # It had one, or needs none any more; a minute may have ended meanwhile.
        assert all(run["scheduled_for"].second == 0 for run in made if run["operation"] != "full_sync")


async def test_a_slot_waits_for_a_busy_account(database: Database, sql: Connection) -> None:
    """It runs as soon as the run in its way has ended, in this process or another."""
    own = schedules(incremental="1d")
    async with core_on(database, until_stopped) as other, core_on(database, at_once, own=own) as core:
        for busy, blocking in enumerate((other, core), start=1):
            engine_of(core).act = until_stopped
            handle = await start(blocking, operation=Operation.SELECTIVE)
            async with scheduled(core) as schedule:
                await until(partial(waited, core, busy))
                engine_of(core).act = at_once
                handle.context.request_stop()
                await until(partial(is_idle, schedule))
            runs = await sql.fetch(f"{RUNS} OFFSET 1")
            assert [run["scheduled_for"] for run in runs] == [slot_of(core, Operation.INCREMENTAL)]
            await sql.execute("DELETE FROM emag_sync_logs")


async def test_a_full_run_covers_incremental_slots(database: Database, sql: Connection) -> None:
    """What began after the slot and read everything is all that the slot is for."""
    async with core_on(database, at_once, own=schedules(incremental="1d")) as core:
        await (await start(core)).finished
        async with scheduled(core) as schedule:
            await until(partial(is_idle, schedule))
        assert counted(core, SchedulerOutcome.TAKEN) == 1
        assert await sql.fetchval("SELECT count(*) FROM emag_sync_logs") == 1


async def test_a_paused_account_is_not_asked(database: Database, sql: Connection) -> None:
    """Its slot waits for the end of the pause, and runs then: a day's full sync is not lost for it."""

    async def refused(_context: object) -> Outcome:
        return Outcome.of(Status.FAILED, ErrorKind.CREDENTIALS, "refused")

    async with core_on(database, refused, own=schedules("1d")) as core:
        await (await start(core, operation=Operation.INCREMENTAL)).finished
        async with scheduled(core):
            await until(lambda: counted(core, SchedulerOutcome.PAUSED))
            assert await sql.fetchval("SELECT count(*) FROM emag_sync_logs") == 1
            engine_of(core).act = at_once
            await sql.execute("UPDATE emag_sync_logs SET completed_at = now() - interval '16 minutes'")
            await until(lambda: counted(core, SchedulerOutcome.STARTED))
        assert [counted(core, one) for one in (SchedulerOutcome.PAUSED, SchedulerOutcome.STARTED)] == [1, 1]


async def test_a_slot_outlasts_an_outage(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is tried until the database is back, and said once."""
    async with core_on(database, at_once, own=schedules("1d")) as core:
        schedule, away = built(core), 3
        asked = schedule._prospects.covered

        async def covered(account: str, operation: Operation, slot: datetime, **_: Any) -> bool:
            nonlocal away
            away -= 1
            if away >= 0:
                raise DatabaseError("PostgreSQL is away")
            return await asked(account, operation, slot, **_)

        monkeypatch.setattr(schedule._prospects, "covered", covered)
        with structlog.testing.capture_logs() as logged:
            schedule.start()
            await until(lambda: counted(core, SchedulerOutcome.STARTED))
        assert counted(core, SchedulerOutcome.FAILED) == 1
        assert [line["reason"] for line in logged if line["event"] == "slot"] == ["PostgreSQL is away", ""]
        await schedule.stop()


async def test_a_slot_that_comes_while_another_is_tried(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is served too, although its firing found the schedule at work."""
    async with core_on(database, at_once, own=schedules("2s")) as core:
        schedule = built(core)
        tried: list[datetime] = []

        async def covered(_account: str, operation: Operation, slot: datetime, **_: Any) -> bool:
            tried.append(slot)
            if len(tried) == 1:
                await until(lambda: slot_of(core, operation) > slot)
                # From here on no firing tells of it.
                schedule._scheduler.remove_all_jobs()
            return True

        monkeypatch.setattr(schedule._prospects, "covered", covered)
        schedule.start()
        await until(partial(is_idle, schedule))
        assert tried[1] - tried[0] == 2 * SECOND
        await schedule.stop()


async def test_a_slot_whose_run_is_gone_is_served_again(database: Database, sql: Connection) -> None:
    """A row that is not there any more, as after a failover, leaves its slot free; one that was ended does not."""
    async with core_on(database, until_stopped, own=schedules("1d")) as core, scheduled(core) as schedule:
        (first,) = await until(core.supervisor.handles)
        await sql.execute("DELETE FROM emag_sync_logs")
        core.supervisor.lost(first.lease.run_id)
        await until(lambda: first.finished.done() and core.supervisor.handles())
        (again,) = core.supervisor.handles()
        assert again.context.request.scheduled_for == first.context.request.scheduled_for
        await until(partial(is_idle, schedule))
        await sql.execute("UPDATE emag_sync_logs SET status = 'failed'")
        core.supervisor.lost(again.lease.run_id)
        await until(lambda: counted(core, SchedulerOutcome.TAKEN))
        assert [row["id"] for row in await sql.fetch(RUNS)] == [again.lease.run_id]


async def test_a_scan_that_was_cut_short_goes_on(database: Database, sql: Connection) -> None:
    """At the start, and again each time it is cut short, until it completes; not where full syncs are off."""
    left = 2

    async def cut_short(_context: object) -> Outcome:
        nonlocal left
        left -= 1
        await sql.execute("UPDATE emag_sync_logs SET pages_processed = 5 WHERE status = 'running'")
        return Outcome.of(Status.FAILED, ErrorKind.TIMEOUT, "cut short") if left else Outcome(Status.COMPLETED)

    own = schedules("1d") | schedules("off", "1d", account="fbe")
    async with core_on(database, cut_short, own=own) as core:
        for account in ("main", "fbe"):
            for operation in (Operation.FULL, Operation.INCREMENTAL):
                slot = slot_of(core, Operation.INCREMENTAL if account == "fbe" else Operation.FULL, account)
                row = {"status": "failed", "pages_processed": 5, "scheduled_for": slot, "operation": operation}
                await by_hand(sql, account, started_at=slot, **row)
        await sql.execute('UPDATE emag_sync_logs SET errors = \'[{"kind": "interrupted", "error": "killed"}]\'')
        scan = "INSERT INTO emag_sync_scans (account_type, operation) VALUES ($1, 'full_sync')"
        await sql.executemany(scan, [("main",), ("fbe",)])
        async with scheduled(core) as schedule:
            await until(lambda: not left and not core.supervisor.handles() and not schedule._tasks)
        made = await sql.fetch(f"{RUNS} OFFSET 4")
        assert [run["status"] for run in made] == ["failed", "completed"]
        assert {(run["account_type"], run["operation"], run["scheduled_for"]) for run in made} == {
            ("main", "full_sync", None)
        }
