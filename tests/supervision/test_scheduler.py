"""The schedule as a part of the daemon: its changes, its end, its faults, and what APScheduler does for it."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from math import isnan
from zoneinfo import ZoneInfo

import pytest
import structlog

from emag_syncd.config import Scheduling
from emag_syncd.domain.runs import Operation
from emag_syncd.domain.schedules import parse_schedule
from emag_syncd.domain.slots import Slots
from emag_syncd.storage.database import Database
from emag_syncd.supervision.attempts import AT_ONCE
from emag_syncd.supervision.triggers import SlotTrigger
from emag_syncd.telemetry.series import SchedulerOutcome
from tests.support.engines import at_once, core_on, sample, settings_of, start, until_stopped
from tests.support.offers import Connection
from tests.support.schedules import built, counted, is_idle, scheduled, schedules, waited
from tests.support.waiting import until

RUNS = "SELECT * FROM emag_sync_logs ORDER BY started_at"


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


async def test_many_slots_at_once_wait_for_their_turn(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few are looked into at a time, however many accounts there are, and each gets its run."""
    accounts = [f"a{number}" for number in range(40)]
    own = {name: schedules("1d", account=name)[name] for name in accounts}
    looking = most = 0
    async with core_on(database, at_once, *accounts, own=own) as core:
        schedule = built(core)
        ask = schedule._prospects.now

        async def now() -> datetime:
            nonlocal looking, most
            looking, most = looking + 1, max(most, looking + 1)
            found = await ask()
            looking -= 1
            return found

        monkeypatch.setattr(schedule._prospects, "now", now)
        schedule.start()
        await until(partial(is_idle, schedule))
        await schedule.stop()
        assert most == AT_ONCE
        assert counted(core, SchedulerOutcome.STARTED) == len(accounts)


async def test_a_schedule_of_many_accounts_is_looked_at_once(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its longest gap takes milliseconds to find, during which a thousand accounts would hold up all else."""
    looked: list[Slots] = []
    gap = Slots.longest_gap

    def longest_gap(slots: Slots, now: datetime) -> timedelta | None:
        looked.append(slots)
        return gap(slots, now)

    monkeypatch.setattr(Slots, "longest_gap", longest_gap)
    accounts = [f"a{number}" for number in range(20)]
    own = {name: schedules("1d", "*/5 * * * *", account=name)[name] for name in accounts}
    async with core_on(database, at_once, *accounts, own=own) as core:
        built(core)._lay_out()
        assert len(looked) == 2
        for name in accounts:
            for operation, seconds in ((Operation.FULL, 86400), (Operation.INCREMENTAL, 300)):
                labels = {"account": name, "operation": operation}
                assert sample(core, "emag_sync_schedule_interval_seconds", **labels) == seconds


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
