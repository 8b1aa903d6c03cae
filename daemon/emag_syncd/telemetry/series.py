"""The names, labels and help texts of the metrics. Every label has a closed set of values."""

from collections.abc import Collection
from enum import StrEnum
from math import nan
from typing import TypeVar

from prometheus_client import CollectorRegistry, Info

from emag_syncd.domain.calls import CallOutcome
from emag_syncd.domain.runs import ErrorKind, Operation, Status
from emag_syncd.telemetry.closed import Axes, Checks, Counter, Gauge, Histogram

M = TypeVar("M", Counter, Gauge, Histogram)

OTHER = "(other)"
"""The label value of what is not in a closed set. No account can be called that."""

RESOURCES = ("product_offer/read", "product_offer/count", "vat/read")
ENDED = (Status.COMPLETED, Status.PARTIAL, Status.FAILED, Status.CANCELLED)
SCHEDULED = (Operation.FULL, Operation.INCREMENTAL)
REFUSALS = (CallOutcome.CREDENTIALS, CallOutcome.IP_NOT_ALLOWED)
ACTIONS = ("created", "updated", "unchanged", "removed", "failed")
LIMITS = (
    "sync.timeout_seconds",
    "sync.abandon_after_seconds",
    "sync.lease_seconds",
    "watchdog.interval_seconds",
    "watchdog.stale_after_seconds",
    "shutdown_seconds",
)

# Around the deadline of 600 s, to tell what came close to it from what was ended by it.
RUN_BUCKETS = (5, 15, 60, 180, 300, 480, 590, 630, 1800)
# eMAG's pages take 0.3 to 8 s, and up to 156 s have been seen.
CALL_BUCKETS = (0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60, 90, 180)


class ProductState(StrEnum):
    """What a stored product is. The first four are all there are."""

    ACTIVE = "active"
    INACTIVE = "inactive"
    END_OF_LIFE = "end_of_life"
    REMOVED = "removed"
    SELLABLE = "sellable"
    OUT_OF_STOCK = "out_of_stock"
    BUY_BUTTON_LOST = "buy_button_lost"
    REJECTED = "rejected"


class SchedulerOutcome(StrEnum):
    """What came of a firing of the schedule."""

    STARTED = "started"
    BUSY = "busy"
    TAKEN = "taken"
    PAUSED = "paused"
    MISSED = "missed"
    FAILED = "failed"


class PoolState(StrEnum):
    """What a connection of the pool does."""

    IDLE = "idle"
    IN_USE = "in_use"


class WebhookOutcome(StrEnum):
    """What came of an attempt to deliver a webhook. ``failed`` is tried again, ``dead`` was given up."""

    DELIVERED = "delivered"
    FAILED = "failed"
    DEAD = "dead"


class WebhookState(StrEnum):
    """What a webhook in the outbox is."""

    PENDING = "pending"
    DEAD = "dead"


class SweptTable(StrEnum):
    """A table of which retention deletes what is old."""

    CHANGES = "emag_product_changes"
    RUNS = "emag_sync_logs"
    API_CALLS = "emag_api_calls"
    REJECTS = "emag_sync_rejects"
    SCANS = "emag_sync_scans"
    OUTBOX = "emag_webhook_outbox"
    ENDPOINTS = "emag_webhook_endpoints"


class Series:
    """The metric objects. ``closed`` are those with labels."""

    def __init__(self, registry: CollectorRegistry, others: CollectorRegistry, accounts: Collection[str]) -> None:
        """Register every metric, those that the library writes with ``others``. ``accounts`` may grow later."""
        self.closed: list[Counter | Gauge | Histogram] = []
        self._registry = registry
        self._accounts = accounts
        self.build = Info("emag_syncd_build", "The version of the daemon and of Python.", registry=others)
        self.checks = Checks(
            others,
            "emag_syncd_check_ok",
            "1 for each check of livez and readyz that passes, 0 for one that fails.",
            ("probe", "check"),
        )
        self._runs()
        self._schedules()
        self._watchdog()
        self._marketplace()
        self._webhooks()
        self._process()

    def _runs(self) -> None:
        run = self._per_account(operation=tuple(Operation), status=ENDED)
        account = self._per_account()
        self.duration = self._histogram("emag_sync_duration_seconds", "How long runs took.", run, RUN_BUCKETS)
        self.runs = self._counter("emag_sync_runs_total", "Runs that ended.", run)
        self.last_status = self._gauge(
            "emag_sync_last_run_status", "1 for the status with which the last run ended, else 0.", run
        )
        self.products = self._counter(
            "emag_sync_products_total",
            "Products read, by what became of them.",
            self._per_account(action=ACTIONS),
        )
        self.errors = self._counter(
            "emag_sync_errors_total", "Errors of runs, by kind.", self._per_account(kind=tuple(ErrorKind))
        )
        self.in_progress = self._gauge("emag_sync_in_progress", "1 while a run is under way.", account)
        self.running_since = self._gauge(
            "emag_sync_running_since_timestamp_seconds",
            "When the run under way started; NaN while there is none.",
            account,
            unset=nan,
        )
        self.timeout = self._gauge(
            "emag_sync_timeout_seconds", "The time limit of a run; NaN before it is known.", account, unset=nan
        )
        self.last_success = self._gauge(
            "emag_sync_last_success_timestamp_seconds",
            "When a run last completed; NaN while none is known.",
            self._per_account(operation=tuple(Operation)),
            unset=nan,
        )
        self.timeouts = self._counter("emag_sync_timeouts_total", "Runs that their time limit ended.", account)
        self.abandoned = self._counter(
            "emag_sync_abandoned_total", "Runs that did not stop when told to and were given up.", account
        )
        self.stored = self._gauge(
            "emag_products",
            "Products in the database; sellable, out of stock and without the buy button are among the active ones.",
            self._per_account(state=tuple(ProductState)),
        )

    def _schedules(self) -> None:
        scheduled = self._per_account(operation=SCHEDULED)
        self.scheduler_runs = self._counter(
            "emag_scheduler_runs_total",
            "Firings of schedules, by what came of them.",
            Axes(outcome=tuple(SchedulerOutcome)),
        )
        self.scheduler_next_run = self._gauge(
            "emag_scheduler_next_run_timestamp_seconds",
            "When the schedule fires next; NaN where it is off.",
            scheduled,
            unset=nan,
        )
        self.schedule_interval = self._gauge(
            "emag_sync_schedule_interval_seconds",
            "The longest time between two scheduled runs; NaN where the schedule is off.",
            scheduled,
            unset=nan,
        )

    def _watchdog(self) -> None:
        self.stale_runs = self._gauge(
            "emag_sync_stale_runs", "Rows that say running without a living process behind them.", Axes()
        )
        self.reaped = self._counter(
            "emag_watchdog_reaped_total",
            "Runs that the watchdog ended, by kind.",
            self._per_account(kind=tuple(ErrorKind)),
        )
        self.watchdog_last_run = self._gauge(
            "emag_watchdog_last_run_timestamp_seconds",
            "When the watchdog last looked; NaN before it did.",
            Axes(),
            unset=nan,
        )

    def _marketplace(self) -> None:
        self.requests = self._counter(
            "emag_api_requests_total",
            "Calls of the marketplace.",
            self._per_account(resource=RESOURCES, outcome=tuple(CallOutcome)),
        )
        self.request_duration = self._histogram(
            "emag_api_request_duration_seconds",
            "How long the marketplace took to answer, without our own waiting.",
            self._per_account(resource=RESOURCES),
            CALL_BUCKETS,
        )
        self.refused = self._gauge(
            "emag_api_refused",
            "1 from an answer that refuses the account, by its reason, to the next one that does not; else 0.",
            self._per_account(reason=REFUSALS),
        )
        self.rate_limit_hits = self._counter("emag_api_rate_limit_hits_total", "Answers of 429.", self._per_account())
        self.rate_limit_wait = self._counter(
            "emag_api_rate_limit_wait_seconds_total",
            "Time for which requests were held back to keep the marketplace's limits.",
            self._per_account(),
        )

    def _webhooks(self) -> None:
        self.webhooks = self._counter(
            "emag_webhook_deliveries_total",
            "Attempts to deliver webhooks; of dead ones, the messages that were given up.",
            Axes(outcome=tuple(WebhookOutcome)),
        )
        self.webhook_backlog = self._gauge(
            "emag_webhook_backlog",
            "Webhooks that wait to be delivered, and those that were given up.",
            Axes(state=tuple(WebhookState)),
        )
        self.webhook_oldest = self._gauge(
            "emag_webhook_oldest_pending_seconds",
            "How long the oldest webhook has waited to be delivered; 0 while none waits.",
            Axes(),
        )

    def _process(self) -> None:
        self.loop_lag = self._gauge(
            "emag_event_loop_lag_seconds",
            "The longest delay of the event loop within the last minute.",
            Axes(),
        )
        self.db_pool = self._gauge("emag_db_pool_connections", "Connections of the pool.", Axes(state=tuple(PoolState)))
        self.swept = self._counter(
            "emag_retention_deleted_total", "Rows that retention deleted.", Axes(table=tuple(SweptTable))
        )
        self.config = self._gauge(
            "emag_syncd_config_seconds",
            "Limits of the configuration that alerts refer to.",
            Axes(setting=LIMITS),
            unset=nan,
        )

    def _per_account(self, **axes: Collection[str]) -> Axes:
        return Axes(account=self._accounts, **axes)

    def _counter(self, name: str, text: str, axes: Axes) -> Counter:
        return self._closed(Counter(self._registry, name, text, axes))

    def _gauge(self, name: str, text: str, axes: Axes, *, unset: float = 0) -> Gauge:
        return self._closed(Gauge(self._registry, name, text, axes, unset=unset))

    def _histogram(self, name: str, text: str, axes: Axes, bounds: tuple[float, ...]) -> Histogram:
        return self._closed(Histogram(self._registry, name, text, axes, bounds))

    def _closed(self, metric: M) -> M:
        self.closed.append(metric)
        return metric
