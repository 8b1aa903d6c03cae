"""Keeps the metrics that are read off the database and the pool up to date, so that no scrape ever waits for SQL."""

from emag_syncd.service.core import Core
from emag_syncd.storage.outbox import Backlog
from emag_syncd.supervision.health import Check
from emag_syncd.supervision.loops import Loop
from emag_syncd.telemetry.series import PoolState

GAUGES_SECONDS = 30.0
LATE_WEBHOOK_SECONDS = 3600.0


class Gauges:
    """The numbers of products, connections and webhooks."""

    def __init__(self, core: Core) -> None:
        """Read them off ``core``."""
        self._core = core
        self._backlog = Backlog()
        self.loop = Loop("gauges", self._turn, every=lambda: GAUGES_SECONDS)

    async def _turn(self) -> None:
        metrics = self._core.metrics
        pool = self._core.database.pool_size()
        metrics.db_pool(PoolState.IN_USE, pool["used"])
        metrics.db_pool(PoolState.IDLE, pool["idle"])
        await self._core.counts.keep_up()
        backlog = await self._core.outbox.backlog()
        metrics.webhook_backlog(backlog.pending, backlog.dead, backlog.oldest_pending_seconds)
        self._backlog = backlog

    def webhooks(self) -> Check:
        """Return how webhooks fare, as it was lately. Whatever it is, the daemon does its job."""
        backlog = self._backlog
        late = backlog.dead > 0 or backlog.oldest_pending_seconds > LATE_WEBHOOK_SECONDS
        said = f"{backlog.pending} webhooks wait, {backlog.dead} were given up: see emag-syncd webhook test"
        return Check("webhooks", ok=True, age=backlog.oldest_pending_seconds, reason=said if late else "", late=late)
