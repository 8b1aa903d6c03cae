"""What runs syncs: everything of the daemon but its schedule, its pages and its manners towards systemd."""

import asyncio
from dataclasses import replace

import structlog

from emag_syncd import __version__
from emag_syncd.config import Settings
from emag_syncd.domain.errors import DatabaseError
from emag_syncd.domain.runs import ErrorKind, Outcome, Status
from emag_syncd.notify.webhooks import CLAIM_SECONDS, Deliverer
from emag_syncd.storage.budgets import Budgets
from emag_syncd.storage.calls import CallLog
from emag_syncd.storage.catalogue import Catalogue
from emag_syncd.storage.database import Database
from emag_syncd.storage.history import History
from emag_syncd.storage.ledger import Ledger
from emag_syncd.storage.mirror import Mirror
from emag_syncd.storage.outbox import Outbox
from emag_syncd.storage.retention import Sweeper
from emag_syncd.storage.scans import Scans
from emag_syncd.supervision.accounts import Accounts
from emag_syncd.supervision.counts import OfferCounts
from emag_syncd.supervision.loops import Loop
from emag_syncd.supervision.recorder import Recorder
from emag_syncd.supervision.retention import Retention
from emag_syncd.supervision.supervisor import Supervisor, SupervisorSettings
from emag_syncd.supervision.watchdog import Heartbeat, Watchdog
from emag_syncd.supervision.worker import this_worker
from emag_syncd.sync.engine import Engine
from emag_syncd.telemetry.metrics import Metrics

CALL_LOG_SECONDS = 1.0
FLUSH_SECONDS = 2.0

DRAIN_SHARE = 0.7
"""Of the time for the shutdown: what the runs get to reach their next page boundary."""

CANCEL_SHARE = 0.1
"""Of the time for the shutdown: what runs that did not reach it get to be cancelled and recorded."""

log = structlog.get_logger(__name__)


class Core:
    """The parts, built but not started.

    ``stop`` is set when the process is to end, with ``failed`` when that is for something that went wrong.
    """

    def __init__(self, settings: Settings, database: Database, stop: asyncio.Event) -> None:
        """Build every part on ``database``."""
        self.settings = settings
        self.database = database
        self.stop = stop
        self.failed = False
        self.metrics = Metrics(settings.accounts, __version__)
        self.metrics.configured(settings)
        self.call_log = CallLog(database)
        self.recorder = Recorder(self.metrics, self.call_log)
        self.worker = this_worker()
        # On a connection of its own: the pace must not wait for pages that are being written.
        self.accounts = Accounts(settings, Budgets(database.dedicated(), holder=str(self.worker)))
        self.ledger = self.new_ledger()
        self.mirror = Mirror(database, lease_seconds=settings.sync.lease_seconds)
        self.counts = OfferCounts(self.mirror, self.metrics)
        self.recorder.subscribe(self.counts.heard)
        self.history = History(database)
        self.scans = Scans(database)
        self.catalogue = Catalogue(database)
        self.outbox = Outbox(database, claim_seconds=CLAIM_SECONDS)
        self.webhooks = Deliverer(self.outbox, self.metrics, settings.webhooks)
        self.retention = Retention(Sweeper(database), self.metrics, lambda: self.settings)
        self.supervisor = Supervisor(
            self.accounts,
            self.ledger,
            Engine(self.mirror, self.scans),
            self.recorder,
            _limits(settings),
            on_abandon=self.fail,
        )
        self.heartbeat = Heartbeat(self.new_ledger(), self.supervisor)
        self.watchdog = Watchdog(self.new_ledger(), self.supervisor, self.metrics, self.worker)

    def new_ledger(self) -> Ledger:
        """Return a way to the ledger on a connection of its own: no run and no page can keep it from the others."""
        return Ledger(
            self.database.dedicated(),
            worker_id=str(self.worker),
            lease_seconds=self.settings.sync.lease_seconds,
        )

    def loops(self) -> list[Loop]:
        """Return the loops that must turn while runs are under way."""
        return [
            Loop(
                "heartbeat",
                self.heartbeat.turn,
                every=lambda: self.settings.sync.heartbeat_seconds,
                within=self.settings.sync.lease_seconds / 3,
            ),
            Loop("watchdog", self.watchdog.turn, every=lambda: self.settings.watchdog.interval_seconds),
            Loop("call_log", self.call_log.flush, every=lambda: CALL_LOG_SECONDS),
        ]

    def fail(self) -> None:
        """End the process because it can't be trusted any more."""
        self.failed = True
        self.stop.set()

    def reconfigure(self, settings: Settings) -> None:
        """Take over changed settings. Leases stay as they were: runs are held by them."""
        lease = {"lease_seconds": self.settings.sync.lease_seconds}
        settings = replace(settings, sync=settings.sync.model_copy(update=lease))
        self.settings = settings
        self.accounts.reconfigure(settings)
        self.supervisor.settings = _limits(settings)
        self.webhooks.reconfigure(settings.webhooks)
        for account in settings.accounts:
            self.metrics.add_account(account)
        self.metrics.configured(settings)

    async def drain(self) -> None:
        """Let the runs stop at a page boundary; those that don't get there in time are cancelled."""
        seconds = self.settings.shutdown_seconds
        drained = asyncio.ensure_future(self.supervisor.stop())
        await asyncio.wait({drained}, timeout=seconds * DRAIN_SHARE)
        if drained.done():
            return
        # A run that does not heed even this is given up in time for its end to be recorded.
        within, limits = seconds * CANCEL_SHARE, self.supervisor.settings
        grace = min(limits.abandon_after_seconds, within / 2)
        self.supervisor.settings = replace(limits, abandon_after_seconds=grace)
        outcome = Outcome.of(Status.CANCELLED, ErrorKind.SHUTDOWN, "The daemon was shut down in the middle of a page")
        for handle in self.supervisor.handles():
            handle.interrupt(outcome)
        await asyncio.wait({drained}, timeout=within)
        drained.cancel()
        for handle in self.supervisor.handles():
            log.error("run left unrecorded", action="run_unrecorded", run_id=str(handle.lease.run_id))

    async def close(self) -> None:
        """Write what the call log still holds, if the database is there to take it, and leave the marketplace."""
        try:
            await asyncio.wait_for(self.call_log.flush(), FLUSH_SECONDS)
        except (DatabaseError, TimeoutError) as error:
            log.warning("calls not logged", action="call_log_lost", error=str(error))
        await self.counts.close()
        await self.webhooks.close()
        await self.accounts.close()


def _limits(settings: Settings) -> SupervisorSettings:
    return SupervisorSettings(settings.sync.abandon_after_seconds, settings.watchdog.stale_after_seconds)
