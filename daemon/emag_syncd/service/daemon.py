"""The daemon: starts everything in order, runs until it is told to stop, and stops everything in reverse."""

import asyncio
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack
from operator import attrgetter
from typing import Any

import structlog

from emag_syncd.config import Settings
from emag_syncd.domain.errors import ConfigurationError
from emag_syncd.domain.runs import Operation, Status
from emag_syncd.notify.systemd import Notifier, watchdog_interval
from emag_syncd.service.background import Background
from emag_syncd.service.core import Core
from emag_syncd.service.databases import database_address, open_database, prepare_schema, require_schema
from emag_syncd.service.gauges import Gauges
from emag_syncd.service.signals import stop_on_signals
from emag_syncd.supervision.health import Health
from emag_syncd.supervision.loops import LagProbe, Loop
from emag_syncd.supervision.prospects import Prospects
from emag_syncd.supervision.room import Room
from emag_syncd.supervision.schedule import Schedule
from emag_syncd.telemetry.stacks import threads_shown_when_late
from emag_syncd.web.server import WebParts, WebServer

log = structlog.get_logger(__name__)

STATUS_SECONDS = 5.0
WEBHOOKS_SECONDS = 1.0

LONGEST_STOP = 0.9
"""Of the time for the shutdown: after that the process ends whatever is left to do; that takes another second."""

STOP_MARGIN_SECONDS = 5.0
"""What systemd is asked to wait beyond the time for the shutdown before it kills what is left."""

NEED_RESTART = ("database", "http", "log", "sync.lease_seconds")
"""Settings that stay as they were when the configuration is read anew."""


class Daemon:
    """One daemon process. ``run`` is its whole life.

    ``reload`` reads the configuration anew and raises ConfigurationError when it is bad; ``on_ready`` is called
    with the address of the pages once everything works.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        reload: Callable[[], Settings] | None = None,
        on_ready: Callable[[str], None] | None = None,
    ) -> None:
        """Build nothing yet."""
        self._settings = settings
        self._reload = reload
        self._on_ready = on_ready
        self._notifier = Notifier()
        self._core: Core | None = None
        self._schedule: Schedule | None = None
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """Ask the daemon to end, as SIGTERM does."""
        self._stop.set()

    async def run(self) -> int:
        """Run until stopped; return the exit code. Raises ConfigurationError or DatabaseError if it can't start."""
        stop_on_signals(self._stop)
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._reconfigure)
        life = asyncio.create_task(self._live(), name="daemon")
        stopped = asyncio.create_task(self._stop.wait(), name="stop")
        await asyncio.wait({life, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        settings = self._core.settings if self._core else self._settings
        self._notifier.stopping(settings.shutdown_seconds + STOP_MARGIN_SECONDS)
        starting = self._core is None and not life.done()
        if starting:
            # There is nothing yet that had to be brought to a good end.
            life.cancel()
        await asyncio.wait({life}, timeout=settings.shutdown_seconds * LONGEST_STOP)
        if not life.done():
            log.critical("the shutdown took too long; what is left is dropped", action="stop_overdue")
            return 1
        return 0 if starting else life.result()

    async def _live(self) -> int:
        async with AsyncExitStack() as stack:
            dsn = await stack.enter_async_context(database_address(self._settings, may_join=False))
            if self._settings.database.url is None:
                log.warning(
                    "the embedded PostgreSQL is for a first look; production wants a server of its own",
                    action="embedded",
                    remedy="set database.url",
                )
            await prepare_schema(self._settings, dsn)
            database = await stack.enter_async_context(open_database(self._settings, dsn))
            await require_schema(database)
            core = Core(self._settings, database, self._stop)
            stack.push_async_callback(core.close)
            await _restore_metrics(core)
            # Before anything ends, for its receivers to be told.
            await core.webhooks.register()
            await core.watchdog.recover()
            await self._serve(core, stack)
        return 1 if core.failed else 0

    async def _serve(self, core: Core, stack: AsyncExitStack) -> None:
        prospects = Prospects(
            core.new_ledger(), core.scans, resume_within_seconds=self._settings.sync.resume_within_seconds
        )
        schedule = Schedule(
            core.accounts,
            core.supervisor,
            prospects,
            core.metrics,
            self._settings.schedule,
            Room(lambda: core.database.is_exhausted),
        )
        lag = LagProbe(core.metrics.loop_lag)
        gauges = Gauges(core)
        webhooks = Loop("webhooks", core.webhooks.turn, every=lambda: WEBHOOKS_SECONDS)
        vital, others = core.loops(), [gauges.loop, webhooks, core.retention.loop]
        loops = [*vital, *others]
        pulses = [schedule.pulse, lag.pulse, *(loop.pulse for loop in others)]
        health = Health(core.database.dedicated(), pulses, [gauges.webhooks], loops=vital)
        core.metrics.checked_by(health.verdicts)
        # Before anybody can ask, or is told that all is ready.
        await health.probe()
        web = WebServer(self._settings.http, self._web_parts(core, schedule, health))
        await web.start()
        stack.push_async_callback(web.close)
        async with Background(on_failure=core.fail) as background:
            for loop in (*loops, health.loop):
                background.start(loop.pulse.name, loop.run())
            background.start(lag.pulse.name, lag.run())
            background.start("clock", schedule.follow_clock())
            background.start("systemd", self._tell_systemd(core, health))
            stop_following = core.recorder.subscribe(_following(schedule))
            schedule.start()
            self._core, self._schedule = core, schedule
            self._notifier.ready()
            if self._on_ready:
                self._on_ready(web.address)
            log.info("ready", action="ready", address=web.address, accounts=core.accounts.names)
            await self._stop.wait()
            health.shutting_down = True
            stop_following()
            await schedule.stop()
            await core.drain()

    @staticmethod
    def _web_parts(core: Core, schedule: Schedule, health: Health) -> WebParts:
        return WebParts(
            accounts=core.accounts,
            ledger=core.new_ledger(),
            supervisor=core.supervisor,
            schedule=schedule,
            recorder=core.recorder,
            metrics=core.metrics,
            health=health,
            outbox=core.outbox,
            counts=core.counts,
            history=core.history,
            settings=lambda: core.settings,
            pool=core.database.pool_size,
            catalogue=core.catalogue,
        )

    async def _tell_systemd(self, core: Core, health: Health) -> None:
        """Say what runs, and that all is well only while every loop turns."""
        interval = watchdog_interval()
        pause = min(STATUS_SECONDS, interval / 3) if interval else STATUS_SECONDS
        with threads_shown_when_late() as put_off:
            while True:
                # First: a loop that hangs right after it said that all is well has its threads shown, too.
                if interval:
                    put_off(interval)
                if health.alive:
                    self._notifier.watchdog()
                else:
                    dead = [check.name for check in health.live() if not check.ok]
                    log.warning("loops do not turn", action="loops_dead", loops=dead)
                running = [handle.lease.account for handle in core.supervisor.handles()]
                doing = f"syncing {', '.join(running)}" if running else "idle"
                count = len(core.accounts.names)
                self._notifier.status(f"{count} account{'' if count == 1 else 's'}, {doing}")
                await asyncio.sleep(pause)

    def _reconfigure(self) -> None:
        """Take over a changed configuration; a bad one is refused and the old one stays in force."""
        if self._reload is None or self._core is None or self._schedule is None:
            return
        try:
            settings = self._reload()
        except ConfigurationError as error:
            log.warning("configuration refused; the old one stays in force", action="reload_refused", error=str(error))
            return
        self._core.reconfigure(settings)
        self._schedule.reconfigure(settings)
        fixed = [name for name in NEED_RESTART if attrgetter(name)(settings) != attrgetter(name)(self._settings)]
        log.info("configuration reloaded", action="reloaded", needs_restart=fixed)


def _following(schedule: Schedule) -> Callable[[str, dict[str, Any]], None]:
    """Return a listener that takes up full scans that were cut short, and slots whose runs are gone."""

    def listen(event: str, data: dict[str, Any]) -> None:
        if event == "ended":
            schedule.consider_continuing(data["account_type"])
        elif event == "lost":
            # As after a failover that knows nothing of the run: its slot is as free as if it had never been served.
            schedule.serve_again(data["account_type"])

    return listen


async def _restore_metrics(core: Core) -> None:
    """Let the metrics begin with what is on record: an alert must not take a restart for a success or a failure."""
    for (account, operation), when in (await core.ledger.last_successes()).items():
        core.metrics.last_success(account, operation, when.timestamp())
    for row in await core.ledger.last_runs():
        core.metrics.last_run(row["account_type"], Operation(row["operation"]), Status(row["status"]))
