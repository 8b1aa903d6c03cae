"""Schedules as the daemon builds them, on a core whose runs do what a test wants."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from emag_syncd.domain.runs import Operation
from emag_syncd.domain.slots import Slots
from emag_syncd.service.core import Core
from emag_syncd.service.daemon import _following
from emag_syncd.supervision.prospects import Prospects
from emag_syncd.supervision.schedule import Schedule
from emag_syncd.telemetry.series import SchedulerOutcome
from tests.support.engines import sample


def schedules(full: str = "off", incremental: str = "off", account: str = "main") -> dict[str, Any]:
    """Return the schedules of an account, as ``own`` of ``core_on``."""
    return {account: {"schedule": {"full": full, "incremental": incremental}}}


def built(core: Core) -> Schedule:
    """Return a schedule as the daemon builds it."""
    prospects = Prospects(core.ledger, core.scans, resume_within_seconds=3600)
    schedule = Schedule(core.accounts, core.supervisor, prospects, core.metrics, core.settings.schedule)
    core.recorder.subscribe(_following(schedule))
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
