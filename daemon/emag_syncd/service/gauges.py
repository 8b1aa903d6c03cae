"""Keeps the metrics that are read off the database and the pool up to date, so that no scrape ever waits for SQL."""

from emag_syncd.service.core import Core
from emag_syncd.supervision.loops import Loop
from emag_syncd.telemetry.series import PoolState, ProductState

GAUGES_SECONDS = 30.0


class Gauges:
    """The numbers of products and connections."""

    def __init__(self, core: Core) -> None:
        """Read them off ``core``."""
        self._core = core
        self.loop = Loop("gauges", self._turn, every=lambda: GAUGES_SECONDS)

    async def _turn(self) -> None:
        metrics = self._core.metrics
        pool = self._core.database.pool_size()
        metrics.db_pool(PoolState.IN_USE, pool["used"])
        metrics.db_pool(PoolState.IDLE, pool["idle"])
        for row in await self._core.mirror.states():
            for state in ProductState:
                metrics.stored(row["account_type"], state, row[state])
