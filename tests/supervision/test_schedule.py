"""Runs begin when their slots come: each slot once, none lost, whatever is in the way."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from math import isnan
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import structlog

from emag_syncd.config import Scheduling
from emag_syncd.domain.errors import DatabaseError
from emag_syncd.domain.runs import ErrorKind, Operation, Outcome, Status
from emag_syncd.domain.schedules import parse_schedule
from emag_syncd.domain.slots import Slots
from emag_syncd.service.core import Core
from emag_syncd.service.daemon import _continuing
from emag_syncd.storage.database import Database
from emag_syncd.supervision.prospects import Prospects
from emag_syncd.supervision.schedule import WAITS, Schedule, SlotTrigger
from emag_syncd.telemetry.series import SchedulerOutcome
from tests.support.engines import at_once, core_on, engine_of, sample, settings_of, start, until_stopped
from tests.support.offers import Connection, by_hand
from tests.support.waiting import until

SECOND = timedelta(seconds=1)
RUNS = "SELECT * FROM emag_sync_logs ORDER BY started_at"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again soon."""
    for outcome in WAITS:
        monkeypatch.setitem(WAITS, outcome, 0.1)


def schedules(full: str = "off", incremental: str = "off", account: str = "main") -> dict[str, Any]:
    """Return the schedules of an account, as ``own`` of ``core_on``."""
    return {account: {"schedule": {"full": full, "incremental": incremental}}}


def built(core: Core) -> Schedule:
    """Return a schedule as the daemon builds it."""
    prospects = Prospects(core.ledger, core.scans, resume_within_seconds=3600)
    schedule = Schedule(core.accounts, core.supervisor, prospects, core.metrics, core.settings.schedule)
    core.recorder.subscribe(_continuing(schedule))
    return schedule


@asynccontextmanager
async def scheduled(core: Core) -> AsyncIterator[Schedule]:
    """Give a schedule that has begun."""
    schedule = built(core)
    schedule.start()
    try:
        yield schedule
    finally:
        await schedule.stop()


def counted(core: Core, outcome: SchedulerOutcome) -> float | None:
    """Return how many slots came to this."""
    return sample(core, "emag_scheduler_runs_total", outcome=outcome)


def waited(core: Core, slots: int) -> bool:
    """Whether so many slots found their account busy."""
    return counted(core, SchedulerOutcome.BUSY) == slots


def is_idle(schedule: Schedule) -> bool:
    """Whether no slot waits for its run."""
    return not schedule._tasks


def slot_of(core: Core, operation: Operation, account: str = "main") -> datetime:
    """Return the latest slot."""
    slots = Slots(
        core.accounts.get(account).settings.schedule(operation), key=f"{account}/{operation}", timezone=ZoneInfo("UTC")
    )
    latest = slots.latest(datetime.now(UTC))
    assert latest is not None
    return latest


async def test_runs_begin_at_their_slots(database: Database, sql: Connection) -> None:
    """One after the other, none left out, none early, and with the slot in their row."""
    async with core_on(database, at_once, own=schedules("1s")) as core, scheduled(core):
        await until(lambda: (counted(core, SchedulerOutcome.STARTED) or 0) >= 3)
        runs = await sql.fetch(RUNS)
        slots = [run["scheduled_for"] for run in runs]
        assert slots == [slots[0] + n * SECOND for n in range(len(slots))]
        assert (slots[0] - slot_of(core, Operation.FULL)) % SECOND == timedelta()
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
        slots = [run["scheduled_for"] for run in await sql.fetch(RUNS)]
        assert slots == [slots[0] + n * SECOND for n in range(len(slots))]


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

        async def covered(account: str, operation: Operation, slot: datetime) -> bool:
            nonlocal away
            away -= 1
            if away >= 0:
                raise DatabaseError("PostgreSQL is away")
            return await asked(account, operation, slot)

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

        async def covered(_account: str, operation: Operation, slot: datetime) -> bool:
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


async def test_changed_schedules_hold_at_once(database: Database, sql: Connection) -> None:
    """A new account and a new schedule begin, one that is off ends, and the metrics say so."""
    next_run, interval = "emag_scheduler_next_run_timestamp_seconds", "emag_sync_schedule_interval_seconds"
    labels = {"account": "main", "operation": "full_sync"}
    async with core_on(database, at_once, "main", own=schedules("1d")) as core, scheduled(core) as schedule:
        await until(lambda: counted(core, SchedulerOutcome.STARTED) == 1)
        assert sample(core, interval, **labels) == 86400
        changed = settings_of("main", "fbe", own=schedules("off", "1d") | schedules("1d", account="fbe"))
        core.reconfigure(changed)
        schedule.reconfigure(changed)
        assert schedule.next_runs().keys() == {("main", Operation.INCREMENTAL), ("fbe", Operation.FULL)}
        await until(partial(is_idle, schedule))
        made = {(run["account_type"], run["operation"]) for run in await sql.fetch(RUNS)}
        assert made >= {("main", "full_sync"), ("fbe", "full_sync")}
        for metric in (next_run, interval):
            assert isnan(sample(core, metric, **labels) or 0)
            assert (sample(core, metric, account="fbe", operation="full_sync") or 0) > 0
        assert {job.id for job in schedule._scheduler.get_jobs()} == {
            "main/incremental_sync",
            "fbe/full_sync",
            "tick",
        }


async def test_the_next_runs_are_known(database: Database) -> None:
    """Each schedule's next slot lies ahead by a period at most."""
    async with core_on(database, at_once, own=schedules("1h", "0 3 * * *")) as core:
        schedule = built(core)
        schedule._lay_out()
        now = datetime.now(UTC)
        found = schedule.next_runs()
        assert now < found["main", Operation.FULL] <= now + timedelta(hours=1, seconds=5)
        assert (found["main", Operation.INCREMENTAL].hour, found["main", Operation.INCREMENTAL].minute) == (3, 0)
        assert len(found) == 2


async def test_nothing_is_left_after_the_stop(database: Database) -> None:
    """No task, no job, no start: whether slots wait for their time or for a run, or the schedule just fires."""
    before = asyncio.all_tasks()
    own = schedules("1s", "1s") | schedules("1d", account="fbe")
    async with core_on(database, until_stopped, own=own) as core:
        await start(core)
        async with scheduled(core) as schedule:
            await until(partial(waited, core, 2))
            core.reconfigure(settings_of("main", "new", own=schedules("1d", account="new")))
            schedule.reconfigure(replace(core.settings, schedule=Scheduling(jitter_seconds=3600)))
            assert not is_idle(schedule)
        assert schedule.next_runs() == {}
        assert {task.get_name() for task in asyncio.all_tasks() if "schedule" in task.get_name()} == set()
        await core.drain()
        assert not schedule._scheduler.running
    assert asyncio.all_tasks() == before


async def test_a_stop_without_schedules(database: Database) -> None:
    """There is nothing to wait for, and APScheduler has ended all the same."""
    async with core_on(database, at_once) as core, scheduled(core) as schedule:
        assert schedule._scheduler.running
        await schedule.stop()
        assert not schedule._scheduler.running


async def test_no_runs_while_shutting_down(database: Database, sql: Connection) -> None:
    """A slot that comes after the end has begun is left to the next start."""
    async with core_on(database, at_once, own=schedules("1d")) as core:
        await core.supervisor.stop()
        async with scheduled(core):
            await until(lambda: counted(core, SchedulerOutcome.MISSED))
        assert await sql.fetchval("SELECT count(*) FROM emag_sync_logs") == 0


async def test_a_fault_in_a_schedule_is_not_silent(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is counted and logged, both in our own work and in APScheduler's, and the next slot is served."""
    async with core_on(database, at_once, own=schedules("1s")) as core:
        schedule = built(core)
        monkeypatch.setattr(schedule._prospects, "covered", None)
        with structlog.testing.capture_logs() as logged:
            schedule.start()
            await until(lambda: counted(core, SchedulerOutcome.FAILED))
            monkeypatch.undo()
            await until(lambda: counted(core, SchedulerOutcome.STARTED))
            schedule._scheduler.add_job(lambda: 1 / 0, id="faulty")
            await until(lambda: "scheduler_event" in [line["action"] for line in logged])
        assert "schedule_failed" in [line["action"] for line in logged]
        await schedule.stop()


async def test_the_scheduler_shows_that_it_ticks(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its pulse comes out of APScheduler itself: a scheduler that sleeps on is seen."""
    monkeypatch.setattr("emag_syncd.supervision.schedule.TICK_SECONDS", 1.0)
    async with core_on(database, at_once) as core, scheduled(core) as schedule:
        schedule.pulse._last -= 1000
        assert not schedule.pulse.alive
        await until(lambda: schedule.pulse.alive)


async def test_apscheduler_only_triggers(database: Database) -> None:
    """No firing is dropped for being late, none is made up for one by one, and all times are UTC."""
    async with core_on(database, at_once, own=schedules("1s", "* * * * *")) as core, scheduled(core) as schedule:
        assert schedule._scheduler.timezone is UTC
        for job in schedule._scheduler.get_jobs():
            assert (job.misfire_grace_time, job.coalesce, job.max_instances) == (None, True, 1)
            if job.id != "tick":
                # As after a jump of the clock by three years.
                job.next_run_time = datetime.now(UTC) - timedelta(days=1000)
                assert len(job._get_run_times(datetime.now(UTC))) == 1


@pytest.mark.parametrize("schedule", ["1s", "15m", "* * * * *", "30 3 * * *"])
def test_the_trigger_never_looks_back(schedule: str) -> None:
    """It fires at the next slot after now, or after the last one where the clock was set back."""
    slots = Slots(parse_schedule(schedule), key="main/full_sync", timezone=ZoneInfo("Europe/Bucharest"))
    trigger, now = SlotTrigger(slots), datetime(2026, 3, 28, 12, 34, 56, tzinfo=UTC)
    following = slots.after(now)
    assert following is not None
    assert trigger.get_next_fire_time(None, now) == following
    assert trigger.get_next_fire_time(now - timedelta(days=3000), now) == following
    assert trigger.get_next_fire_time(following, now - timedelta(days=1)) == slots.after(following)
