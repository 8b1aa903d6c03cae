"""How many offers each account has, by state. Counting takes as long as there are offers: nobody ever waits for it."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import structlog

from emag_syncd.domain.errors import DatabaseError
from emag_syncd.storage.mirror import Mirror
from emag_syncd.telemetry.metrics import Metrics
from emag_syncd.telemetry.series import ProductState

log = structlog.get_logger(__name__)

PATIENCE_SECONDS = 0.05
"""What somebody who asks is kept waiting for a count that is under way: as long as nobody notices."""

Counts = Mapping[ProductState, int]


class OfferCounts:
    """The latest count of each account's offers. Also feeds the metrics."""

    def __init__(self, mirror: Mirror, metrics: Metrics) -> None:
        """Count nothing yet."""
        self._mirror = mirror
        self._metrics = metrics
        self._counts: dict[str, Counts] = {}
        self._outdated = True
        self._counting: asyncio.Task[None] | None = None
        self._listeners: list[Callable[[], None]] = []

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Let ``listener`` know when a count differs from the one before; the returned function ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def heard(self, event: str, _data: Mapping[str, Any]) -> None:
        """Take note of what a run does: once it is over, its account is to be counted anew."""
        self._outdated = self._outdated or event in {"ended", "lost"}

    async def count(self) -> None:
        """Count. Raises DatabaseError."""
        self._outdated = False
        counts = {row["account_type"]: {state: row[state] for state in ProductState} for row in await self._states()}
        for account, states in counts.items():
            for state, number in states.items():
                self._metrics.stored(account, state, number)
        changed, self._counts = counts != self._counts, dict(counts)
        if changed:
            for listener in tuple(self._listeners):
                listener()

    async def latest(self) -> Mapping[str, Counts]:
        """Return the latest count of each account. Where it is outdated a new one begins, and is told of."""
        if self._outdated and self._counting is None:
            self._counting = asyncio.create_task(self._count_quietly(), name="counts")
        if self._counting is not None:
            await asyncio.wait({self._counting}, timeout=PATIENCE_SECONDS)
        return self._counts

    async def close(self) -> None:
        """Give up what is under way."""
        if self._counting is not None:
            self._counting.cancel()
            await asyncio.wait({self._counting})

    async def _states(self) -> list[Any]:
        try:
            return await self._mirror.states()
        except DatabaseError:
            self._outdated = True
            raise

    async def _count_quietly(self) -> None:
        try:
            await self.count()
        except DatabaseError as error:
            log.debug("offers not counted", action="count_failed", error=str(error))
        finally:
            self._counting = None
