"""The daemon's own loops. Each says when it last turned: that, and not an open port, is what life means here."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog

from emag_syncd.domain.errors import DatabaseError

log = structlog.get_logger(__name__)

GRACE_SECONDS = 30.0
"""How much later than its interval a turn may come before it counts as missing."""

LONGEST_TURN = 20.0
"""Seconds a turn may take, whatever the database does: well below the grace, so that its outage is not our death."""

FIRST_RETRY = 1.0
"""Seconds after which a turn that failed is tried again, where the next one is not due sooner; then twice as long."""


class Pulse:
    """When something last showed that it lives. Seconds of the monotonic clock: a stepped clock changes nothing."""

    def __init__(self, name: str, *, every: float) -> None:
        """Expect a beat ``every`` so many seconds; start with one."""
        self.name = name
        self.limit = every + GRACE_SECONDS
        self._last = time.monotonic()

    def beat(self) -> None:
        """Show that it lives."""
        self._last = time.monotonic()

    @property
    def age(self) -> float:
        """Seconds since the last beat."""
        return time.monotonic() - self._last

    @property
    def alive(self) -> bool:
        """Whether the last beat is recent enough."""
        return self.age <= self.limit


class Loop:
    """Something done again and again. A database that is away is no reason to end; any other failure is."""

    def __init__(
        self,
        name: str,
        work: Callable[[], Awaitable[None]],
        *,
        every: Callable[[], float],
        within: float = LONGEST_TURN,
    ) -> None:
        """Do ``work`` for ``within`` seconds at most, then wait ``every()`` seconds, and so on."""
        self.pulse = Pulse(name, every=every())
        self._work = work
        self._every = every
        self._within = within
        self._failures = 0
        self.trouble = ""
        """Why the last turns failed; empty when the last one did not. One alone says little: connections may end."""

    async def run(self) -> None:
        """Turn until cancelled. Raises what ``work`` raises, but for DatabaseError."""
        while True:
            self.pulse.beat()
            try:
                async with asyncio.timeout(self._within):
                    await self._work()
            except DatabaseError as error:
                self._failed(str(error))
            except TimeoutError:
                self._failed(f"not done within {self._within:g} seconds")
            else:
                self._failures, self.trouble = 0, ""
            self.pulse.beat()
            every = self._every()
            self.pulse.limit = every + GRACE_SECONDS
            await asyncio.sleep(min(every, FIRST_RETRY * 2 ** min(self._failures - 1, 10)) if self._failures else every)

    def _failed(self, error: str) -> None:
        """Say so the first time, and then less and less often."""
        self._failures += 1
        self.trouble = error if self._failures > 1 else ""
        if self._failures & (self._failures - 1) == 0:
            log.warning("turn failed", action="turn_failed", loop=self.pulse.name, failures=self._failures, error=error)


class LagProbe:
    """Measures how late the event loop is."""

    def __init__(self, observe: Callable[[float], None], *, interval: float = 0.25) -> None:
        """Tell ``observe`` each lag, in seconds, every ``interval`` seconds."""
        self.pulse = Pulse("event_loop", every=interval)
        self._observe = observe
        self._interval = interval

    async def run(self) -> None:
        """Measure until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + self._interval
            await asyncio.sleep(self._interval)
            self._observe(max(0.0, loop.time() - due))
            self.pulse.beat()
