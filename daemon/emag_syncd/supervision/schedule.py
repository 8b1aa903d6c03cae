"""Starts runs when their slots come. APScheduler only triggers: whether and when a run begins is decided here."""

import asyncio
import random
from collections.abc import Coroutine
from contextvars import Context
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import structlog
from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_MAX_INSTANCES, EVENT_JOB_MISSED, JobEvent
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.interval import IntervalTrigger

from emag_syncd.config import Scheduling, Settings
from emag_syncd.domain.errors import DatabaseError
from emag_syncd.domain.runs import Operation, RunRequest, Trigger
from emag_syncd.domain.schedules import Off
from emag_syncd.domain.schedules import Schedule as AnySchedule
from emag_syncd.domain.slots import Slots
from emag_syncd.supervision.accounts import Accounts
from emag_syncd.supervision.attempts import WAITS, Attempts
from emag_syncd.supervision.loops import Pulse
from emag_syncd.supervision.prospects import Prospects
from emag_syncd.supervision.room import Room
from emag_syncd.supervision.supervisor import Supervisor
from emag_syncd.supervision.triggers import SlotTrigger
from emag_syncd.telemetry.metrics import Metrics
from emag_syncd.telemetry.series import SCHEDULED, SchedulerOutcome

log = structlog.get_logger(__name__)

TICK_SECONDS = 5.0

SET_BACK_SECONDS = 1.0
"""How far this host's clock must have been set back for the schedules to be laid out anew. Smaller steps only delay."""

LONGEST_SLEEP = 60.0
"""Seconds after which the time of the database is asked for again."""

Key: TypeAlias = tuple[str, Operation]
_chance = random.SystemRandom()


class Schedule:
    """The schedules of all accounts."""

    def __init__(
        self,
        accounts: Accounts,
        supervisor: Supervisor,
        prospects: Prospects,
        metrics: Metrics,
        settings: Scheduling,
        room: Room | None = None,
    ) -> None:
        """Start runs with ``supervisor`` where ``prospects`` allows it and there is ``room``."""
        self.pulse = Pulse("scheduler", every=TICK_SECONDS)
        self._accounts = accounts
        self._prospects = prospects
        self._metrics = metrics
        self._settings = settings
        self._slots: dict[Key, Slots] = {}
        self._fired: dict[Key, datetime] = {}
        self._tasks: dict[object, asyncio.Task[None]] = {}
        self._again: set[object] = set()
        self._attempts = Attempts(supervisor, prospects, room or Room())
        self._scheduler = AsyncIOScheduler(
            timezone=UTC, job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1}
        )
        self._scheduler.add_listener(self._odd_event, EVENT_JOB_ERROR | EVENT_JOB_MAX_INSTANCES | EVENT_JOB_MISSED)

    def start(self) -> None:
        """Begin: with what is due since the last run of each schedule, and with scans that were cut short."""
        self._lay_out()
        self._scheduler.start()
        for key in self._slots:
            self._serve_later(key)
        for account in self._accounts.names:
            self.consider_continuing(account)

    def reconfigure(self, settings: Settings) -> None:
        """Take over changed schedules. What is waiting to start, starts."""
        self._settings = settings.schedule
        self._prospects.resume_within_seconds = settings.sync.resume_within_seconds
        self._lay_out_anew()

    async def follow_clock(self) -> None:
        """Go on when this host's clock is set back: APScheduler would sleep until it shows the old time again."""
        while True:
            await asyncio.sleep(TICK_SECONDS)
            tick = self._scheduler.get_job("tick")
            back = tick.next_run_time - datetime.now(UTC) - timedelta(seconds=TICK_SECONDS) if tick else timedelta()
            if back.total_seconds() > SET_BACK_SECONDS:
                log.warning("the clock was set back", action="clock_set_back", seconds=round(back.total_seconds()))
                self._lay_out_anew()

    async def stop(self) -> None:
        """Start nothing more."""
        self._slots = {}
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)
            # It stops at the loop's next turn; what it fires until then finds no slots.
            await asyncio.sleep(0)
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def next_runs(self) -> dict[Key, datetime]:
        """Return when each schedule fires next; a schedule that is off is left out."""
        now = datetime.now(UTC)
        found = {key: slots.after(now) for key, slots in self._slots.items()}
        return {key: slot for key, slot in found.items() if slot is not None}

    def slots(self, account: str) -> dict[Operation, Slots]:
        """Return the slots of an account's schedules; one that is off is left out."""
        return {key[1]: self._slots[key] for key in self._keys(account)}

    def consider_continuing(self, account: str) -> None:
        """Take up the account's full scan if it was cut short, in its own good time."""
        if (account, Operation.FULL) in self._slots:
            self._spawn(("continue", account), self._continue(account))

    def serve_again(self, account: str) -> None:
        """Look again whether the account's slots had their runs: one that began may be gone without a trace."""
        for key in self._keys(account):
            # A task that is about to see the run begun would not look once more.
            self._again |= {key} & self._tasks.keys()
            self._serve_later(key)

    def _keys(self, account: str) -> list[Key]:
        return [(account, operation) for operation in SCHEDULED if (account, operation) in self._slots]

    def _lay_out_anew(self) -> None:
        self._scheduler.remove_all_jobs()
        for key in self._slots:
            self._metrics.next_run(*key, None)
            self._metrics.schedule_interval(*key, None)
        self._lay_out()
        for key in self._slots:
            self._serve_later(key)

    def _lay_out(self) -> None:
        self._fired = {}
        self._slots = {
            (account.name, operation): Slots(
                account.settings.schedule(operation),
                key=f"{account.name}/{operation}",
                timezone=self._settings.timezone,
            )
            for account in self._accounts
            for operation in SCHEDULED
            if account.settings.schedule(operation) != Off()
        }
        now, gaps = datetime.now(UTC), dict[AnySchedule, timedelta | None]()
        for key, slots in self._slots.items():
            # Looking ahead takes a while, and a thousand accounts have few schedules.
            schedule = self._accounts.get(key[0]).settings.schedule(key[1])
            gap = gaps[schedule] = gaps[schedule] if schedule in gaps else slots.longest_gap(now)
            self._metrics.schedule_interval(*key, gap.total_seconds() if gap else None)
            self._scheduler.add_job(self._fire, SlotTrigger(slots), args=[key], id="/".join(key))
            self._show_next(key)
        self._scheduler.add_job(self._tick, IntervalTrigger(seconds=int(TICK_SECONDS), timezone=UTC), id="tick")

    async def _tick(self) -> None:
        self.pulse.beat()

    async def _fire(self, key: Key) -> None:
        if slots := self._slots.get(key):
            if fired := slots.latest(datetime.now(UTC)):
                self._fired[key] = fired
            self._serve_later(key)
            self._show_next(key)

    def _show_next(self, key: Key) -> None:
        account, operation = key
        slot = self._slots[key].after(datetime.now(UTC))
        self._metrics.next_run(account, operation, slot.timestamp() if slot else None)

    def _serve_later(self, key: Key) -> None:
        self._spawn(key, self._serve(key))

    def _spawn(self, name: object, work: Coroutine[Any, Any, None]) -> None:
        """Do ``work`` on a task, unless the one of this name still waits for its turn: it looks again anyway."""
        if name in self._tasks:
            work.close()
            return
        # Of its own context: it may be a run that asks for it, whose name its lines in the log would bear.
        task = asyncio.create_task(work, name=f"schedule {name}", context=Context())
        self._tasks[name] = task
        task.add_done_callback(lambda done: self._served(name, done))

    def _served(self, name: object, task: asyncio.Task[None]) -> None:
        self._tasks.pop(name, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._metrics.scheduler(SchedulerOutcome.FAILED)
            log.error("schedule failed", action="schedule_failed", schedule=str(name), exc_info=error)
        for key in self._slots.keys() & self._again & {name}:
            self._again.discard(key)
            self._serve_later(key)

    async def _serve(self, key: Key) -> None:
        """See that the latest slot gets its run: now, or as soon as what keeps it waiting is over."""
        account, operation = key
        await asyncio.sleep(_chance.uniform(0, self._settings.jitter_seconds))
        served: tuple[datetime | None, SchedulerOutcome | None] = (None, None)
        request: RunRequest | None = None
        while key in self._slots:
            try:
                slot = await self._latest(key)
            except DatabaseError as error:
                slot, outcome, reason = None, SchedulerOutcome.FAILED, str(error)
            else:
                if slot is None or (slot == served[0] and served[1] not in WAITS):
                    return
                if request is None or request.scheduled_for != slot:
                    request = RunRequest(account, operation, Trigger.SCHEDULE, scheduled_for=slot)
                outcome, reason = await self._attempts.make(request)
            if served != (slot, outcome):
                served = slot, outcome
                self._metrics.scheduler(outcome)
                log.info("slot", action=f"slot_{outcome}", account=account, operation=operation, reason=reason)
            # Where nothing keeps the slot waiting, another one may have come meanwhile.
            await self._attempts.wait(account, outcome)

    async def _latest(self, key: Key) -> datetime | None:
        """Return the latest slot by the database's clock, that of all daemons; raises DatabaseError.

        Where this host's is ahead, and its slot is about to come, that is waited for.
        """
        now = await self._attempts.now()
        while (slots := self._slots.get(key)) and (coming := slots.after(now)) and coming == self._fired.get(key):
            await asyncio.sleep(min(LONGEST_SLEEP, (coming - now).total_seconds()))
            now = await self._attempts.now()
        return slots.latest(now) if slots else None

    async def _continue(self, account: str) -> None:
        """Take up a full scan that was cut short, after a wait that grows while that happens again and again."""
        while (account, Operation.FULL) in self._slots:
            try:
                wait = await self._attempts.continues_in(account)
            except DatabaseError:
                wait = WAITS[SchedulerOutcome.FAILED]
            if wait is None:
                return
            if wait > 0:
                await asyncio.sleep(wait)
                continue
            outcome, _ = await self._attempts.make(RunRequest(account, Operation.FULL, Trigger.SCHEDULE))
            if outcome not in WAITS:
                return
            await self._attempts.wait(account, outcome)

    def _odd_event(self, event: JobEvent) -> None:
        self._metrics.scheduler(SchedulerOutcome.FAILED)
        log.error(
            "scheduler event",
            action="scheduler_event",
            job=event.job_id,
            error=str(getattr(event, "exception", "")),
        )
