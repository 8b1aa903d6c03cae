"""How many offers each account has, by state: counted in one place for the pages, the API and the metrics."""

import asyncio
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import structlog
from asyncpg import Record

from emag_syncd.storage.mirror import Mirror
from emag_syncd.telemetry.metrics import Metrics
from emag_syncd.telemetry.series import ProductState

log = structlog.get_logger(__name__)

PATIENCE_SECONDS = 0.05
"""What who asks for the first count is kept waiting for it, so that an empty page is not what is seen first."""

CHEAP_SECONDS = 0.2
RESTS = 20
"""How many times as long as a count took nobody counts just to be up to date, unless it is cheap: where there are
millions of offers the server would do nothing else."""

Counts = Mapping[str, int]
"""Numbers by ``ProductState``, and ``offers``: all that are not removed."""


class OfferCounts:
    """The latest count of each account's offers. Counting takes as long as there are offers: one goes on at a time."""

    def __init__(self, mirror: Mirror, metrics: Metrics) -> None:
        """Count nothing yet."""
        self._mirror = mirror
        self._metrics = metrics
        self._counts: Mapping[str, Counts] = {}
        self._counted_at = -math.inf
        self._took = 0.0
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
        """Count, or wait for the count that is under way. Raises DatabaseError."""
        # Whoever gives up waiting leaves it to the others.
        await asyncio.shield(self._under_way())

    async def recent(self, *, max_age_seconds: float) -> Mapping[str, Counts]:
        """Return counts that began up to ``max_age_seconds`` ago, and since the last run ended. Raises DatabaseError.

        A run that ends while they are counted is left to the next who asks.
        """
        if self._counting is not None:
            await self.count()
        if self._outdated or time.monotonic() - self._counted_at > max_age_seconds:
            await self.count()
        return self._counts

    async def keep_up(self) -> None:
        """Count, unless it is too soon for what it takes. Raises DatabaseError."""
        if self._is_rested():
            await self.count()

    async def latest(self) -> Mapping[str, Counts]:
        """Return the latest counts, at once. Where they are outdated a new one begins in its time, and is told of."""
        counting = self._under_way() if self._outdated and self._is_rested() else self._counting
        if counting is not None and not self._counts:
            await asyncio.wait({counting}, timeout=PATIENCE_SECONDS)
        return self._counts

    async def close(self) -> None:
        """Give up what is under way."""
        if self._counting is not None:
            self._counting.cancel()
            await asyncio.wait({self._counting})

    def _is_rested(self) -> bool:
        rest = RESTS * self._took if self._took > CHEAP_SECONDS else 0.0
        return time.monotonic() - self._counted_at >= rest + self._took

    def _under_way(self) -> asyncio.Task[None]:
        if self._counting is None:
            self._outdated = False
            self._counting = asyncio.create_task(self._count(), name="counts")
            self._counting.add_done_callback(self._done)
        return self._counting

    def _done(self, counting: asyncio.Task[None]) -> None:
        self._counting = None
        if not counting.cancelled() and (error := counting.exception()) is not None:
            self._outdated = True
            log.debug("offers not counted", action="count_failed", error=str(error))

    async def _count(self) -> None:
        began = time.monotonic()
        try:
            states = await self._mirror.states()
        finally:
            # One that the server gave up has cost it as much.
            self._took, self._counted_at = time.monotonic() - began, began
        counts = {row["account_type"]: _numbers(row) for row in states}
        for account, numbers in counts.items():
            for state in ProductState:
                self._metrics.stored(account, state, numbers[state])
        differs, self._counts = counts != self._counts, counts
        if differs:
            for listener in tuple(self._listeners):
                listener()


def _numbers(row: Record) -> Counts:
    return {name: int(number) for name, number in row.items() if name != "account_type"}
