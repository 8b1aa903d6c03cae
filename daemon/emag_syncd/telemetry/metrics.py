"""What Prometheus reads. Every series exists from the start; what is not known yet is NaN.

NaN and not 0: a time that reads 0 would look decades late to an alert, and a missing series can't be told
from a daemon that is away. A comparison with NaN is never true.
"""

import platform
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from math import nan
from time import monotonic, time

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder

from emag_syncd.config import Settings
from emag_syncd.domain.calls import ApiCall, CallOutcome
from emag_syncd.domain.runs import Counters, ErrorKind, Operation, Status
from emag_syncd.telemetry.series import (
    ENDED,
    OTHER,
    REFUSALS,
    RESOURCES,
    SCHEDULED,
    PoolState,
    ProductState,
    SchedulerOutcome,
    Series,
    SweptTable,
    WebhookOutcome,
    WebhookState,
)

LAG_WINDOW_SECONDS = 60

PART = 100
"""Accounts of a metric that are written at a time: a megabyte at most."""


class Metrics:
    """The daemon's metrics, on a registry of their own. An account that is not configured is ``(other)``."""

    def __init__(self, accounts: Iterable[str], version: str) -> None:
        """Create every series of ``accounts``."""
        self._accounts = dict.fromkeys(accounts)
        self.registry, self._others = CollectorRegistry(), CollectorRegistry()
        ProcessCollector(registry=self._others)
        PlatformCollector(registry=self._others)
        GCCollector(registry=self._others)
        self.registry.register(self._others)
        self._series = Series(self.registry, self._others, self._accounts)
        self._series.build.info({"version": version, "python": platform.python_version()})
        self._lags: deque[tuple[float, float]] = deque()

    def add_account(self, account: str) -> None:
        """Create every series of an account. Does nothing where they exist."""
        self._accounts.setdefault(account)

    def configured(self, settings: Settings) -> None:
        """Publish the limits that alerts refer to."""
        limits = {
            "sync.timeout_seconds": settings.sync.timeout_seconds,
            "sync.abandon_after_seconds": settings.sync.abandon_after_seconds,
            "sync.lease_seconds": settings.sync.lease_seconds,
            "watchdog.interval_seconds": settings.watchdog.interval_seconds,
            "watchdog.stale_after_seconds": settings.watchdog.stale_after_seconds,
            "shutdown_seconds": settings.shutdown_seconds,
        }
        for setting, seconds in limits.items():
            self._series.config.set(setting, value=seconds)
        for name, account in settings.accounts.items():
            self._series.timeout.set(self._known(name), value=account.timeout_seconds)

    def checked_by(self, look: Callable[[], Iterable[tuple[tuple[str, str], bool]]]) -> None:
        """Publish what ``look`` says of each probe's checks whenever it is asked for. It must only read memory."""
        self._series.checks.look = look

    def run_started(self, account: str) -> None:
        """Count a run as under way from now on."""
        account = self._known(account)
        self._series.in_progress.set(account, value=1)
        self._series.running_since.set(account, value=time())

    def run_finished(
        self,
        account: str,
        operation: Operation,
        status: Status,
        duration: float,
        errors: Iterable[ErrorKind] = (),
        *,
        run_id: str | None = None,
        whole: bool = True,
    ) -> None:
        """Count the run ``run_id`` that ended, after ``duration`` seconds, and its errors.

        One that did not read the ``whole`` of what there is proves nothing of how fresh the copy is.
        """
        account = self._known(account)
        self.run_lost(account)
        self._series.duration.observe(account, operation, status, value=duration, run_id=run_id)
        self._series.runs.add(account, operation, status)
        for kind in errors:
            self._series.errors.add(account, kind)
        self.last_run(account, operation, status)
        if status is Status.COMPLETED and whole:
            self.last_success(account, operation, time())

    def run_lost(self, account: str) -> None:
        """Count no run as under way any more, however it ended."""
        self._series.in_progress.set(self._known(account), value=0)
        self._series.running_since.set(self._known(account), value=nan)

    def last_run(self, account: str, operation: Operation, status: Status) -> None:
        """Publish how the last run ended; at start-up from the database."""
        for one in ENDED:
            self._series.last_status.set(self._known(account), operation, one, value=one is status)

    def last_success(self, account: str, operation: Operation, timestamp: float) -> None:
        """Publish when a run last completed, in seconds of the epoch; at start-up from the database."""
        self._series.last_success.set(self._known(account), operation, value=timestamp)

    def page(self, account: str, done: Counters) -> None:
        """Count what one page, or the reconciliation, did to products."""
        account = self._known(account)
        for action, items in (
            ("created", done.created_items),
            ("updated", done.updated_items),
            ("unchanged", done.unchanged_items),
            ("removed", done.removed_items),
            ("failed", done.failed_items),
        ):
            self._series.products.add(account, action, amount=items)

    def timeout(self, account: str) -> None:
        """Count a run that its deadline ended."""
        self._series.timeouts.add(self._known(account))

    def abandoned(self, account: str) -> None:
        """Count a run that did not stop when it was told to."""
        self._series.abandoned.add(self._known(account))

    def stale_runs(self, number: int) -> None:
        """Publish how many rows say ``running`` without a living process behind them."""
        self._series.stale_runs.set(value=number)

    def reaped(self, account: str, kind: ErrorKind) -> None:
        """Count a row that the watchdog ended."""
        self._series.reaped.add(self._known(account), kind)

    def watchdog_ran(self, timestamp: float) -> None:
        """Publish when the watchdog last looked, in seconds of the epoch."""
        self._series.watchdog_last_run.set(value=timestamp)

    def call(self, call: ApiCall, run_id: str | None = None) -> None:
        """Count a call of the marketplace, made by the run ``run_id``."""
        account = self._known(call.account)
        resource = call.resource if call.resource in RESOURCES else OTHER
        self._series.requests.add(account, resource, call.outcome)
        self._series.request_duration.observe(account, resource, value=call.duration, run_id=run_id)
        if call.outcome is CallOutcome.OK or call.outcome in REFUSALS:
            for reason in REFUSALS:
                self._series.refused.set(account, reason, value=call.outcome is reason)

    def rate_limited(self, account: str) -> None:
        """Count an answer of 429."""
        self._series.rate_limit_hits.add(self._known(account))

    def paced(self, account: str, seconds: float) -> None:
        """Count the time for which a request was held back to keep the marketplace's limits."""
        self._series.rate_limit_wait.add(self._known(account), amount=seconds)

    def stored(self, account: str, state: ProductState, number: int) -> None:
        """Publish how many products of an account are in a state."""
        self._series.stored.set(self._known(account), state, value=number)

    def scheduler(self, outcome: SchedulerOutcome) -> None:
        """Count a firing of the schedule."""
        self._series.scheduler_runs.add(outcome)

    def next_run(self, account: str, operation: Operation, timestamp: float | None) -> None:
        """Publish when the schedule fires next, in seconds of the epoch; None where it never does."""
        if operation in SCHEDULED:
            self._series.scheduler_next_run.set(
                self._known(account), operation, value=nan if timestamp is None else timestamp
            )

    def schedule_interval(self, account: str, operation: Operation, seconds: float | None) -> None:
        """Publish the longest time between two runs of a schedule; None where it is off."""
        if operation in SCHEDULED:
            self._series.schedule_interval.set(
                self._known(account), operation, value=nan if seconds is None else seconds
            )

    def loop_lag(self, seconds: float) -> None:
        """Publish the longest delay of the event loop within the last minute, of which this is the latest."""
        now = monotonic()
        while self._lags and self._lags[-1][1] <= seconds:
            self._lags.pop()  # it will never be the longest again
        self._lags.append((now, seconds))
        while self._lags[0][0] < now - LAG_WINDOW_SECONDS:
            self._lags.popleft()
        self._series.loop_lag.set(value=self._lags[0][1])

    def db_pool(self, state: PoolState, number: int) -> None:
        """Publish how many of the pool's connections are in a state."""
        self._series.db_pool.set(state, value=number)

    def webhook(self, outcome: WebhookOutcome, number: int = 1) -> None:
        """Count attempts to deliver a webhook, or messages that were given up."""
        self._series.webhooks.add(outcome, amount=number)

    def webhook_backlog(self, pending: int, dead: int, oldest_pending_seconds: float) -> None:
        """Publish how many webhooks wait, how many were given up, and how long the oldest has waited."""
        self._series.webhook_backlog.set(WebhookState.PENDING, value=pending)
        self._series.webhook_backlog.set(WebhookState.DEAD, value=dead)
        self._series.webhook_oldest.set(value=oldest_pending_seconds)

    def swept(self, table: SweptTable, rows: int) -> None:
        """Count rows that retention deleted."""
        self._series.swept.add(table, amount=rows)

    def scrape(self, accept: str = "") -> tuple[Iterator[bytes], str]:
        """Return all series in parts, and their content type: Prometheus text, or OpenMetrics if ``accept`` says so.

        With very many accounts they are tens of megabytes: ask for the parts on a thread. No series waits for anything.
        """
        encode, content_type = choose_encoder(accept)
        openmetrics = "openmetrics" in content_type
        closed = chain.from_iterable(metric.write(openmetrics=openmetrics) for metric in self._series.closed)

        def parts() -> Iterator[bytes]:
            while text := "".join(islice(closed, PART)):
                yield text.encode()
            # Last: where the format has an end, the library writes it.
            yield encode(self._others)

        return parts(), content_type

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """Return what ``scrape`` does, in one piece."""
        parts, content_type = self.scrape(accept)
        return b"".join(parts), content_type

    def _known(self, account: str) -> str:
        return account if account in self._accounts else OTHER
