"""Keeps an account's requests inside the marketplace's limits, and close to them while there is work."""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable

SPACING_MARGIN = 1.02
"""How much further apart requests are than the limit asks: what jitter on the way may take away."""

WINDOW_MARGIN = 1.01
"""How much longer than the marketplace's own a window is held, when catching up after a late wake-up."""

LONGEST_SLEEP = 1.0
"""Seconds after which a sleeper looks again, so that new limits count at once."""


class _Window:
    """No more than ``count`` requests in any stretch of ``seconds``."""

    def __init__(self, rate: float, seconds: float, sent: deque[float]) -> None:
        self.count = max(1, int(rate))
        self.seconds = seconds * self.count / rate * WINDOW_MARGIN
        self._sent = sent

    def opens(self) -> float:
        """Return from when on the window has room for one more."""
        return self._sent[-self.count] + self.seconds if len(self._sent) >= self.count else 0.0


class Pacer:
    """Gives out the right to send, one request at a time, first come first served.

    The marketplace counts in fixed windows of unknown phase: only what keeps to the limit in every window of
    that length keeps to it in theirs. So requests are spaced evenly, a late wake-up is made good by at most
    one spacing, and a pacer that was idle has saved nothing up.
    """

    def __init__(
        self,
        requests_per_second: float | None,
        requests_per_minute: float | None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """Start with no request sent. None is no limit."""
        self._clock = clock
        self._sleep = sleep
        self._turn = asyncio.Lock()
        self._sent: deque[float] = deque()
        self._next = self._resume = 0.0
        self.reconfigure(requests_per_second, requests_per_minute)

    def reconfigure(self, requests_per_second: float | None, requests_per_minute: float | None) -> None:
        """Keep other limits from now on; what was sent still counts."""
        limits = [(rate, span) for rate, span in ((requests_per_second, 1.0), (requests_per_minute, 60.0)) if rate]
        self._spacing = max((span / rate for rate, span in limits), default=0.0) * SPACING_MARGIN
        longest = max((int(rate) for rate, _ in limits), default=0)
        self._sent = deque(self._sent, maxlen=max(1, longest))
        self._next = self._sent[-1] + self._spacing if self._sent else 0.0
        self._windows = [_Window(rate, span, self._sent) for rate, span in limits]

    def pause(self, seconds: float) -> None:
        """Send nothing for so long from now: the marketplace asked for it."""
        self._resume = max(self._resume, self._clock() + seconds)

    async def acquire(self) -> float:
        """Wait until a request may be sent, and return the seconds waited."""
        arrived = self._clock()
        async with self._turn:
            while (wait := self._due() - self._clock()) > 0:
                await self._sleep(min(wait, LONGEST_SLEEP))
            now = self._clock()
            # Counted from when it was due, so that late wake-ups don't add up; never from before it was
            # wanted, so that idle time isn't saved up; and never so that the next follows at its heels.
            due = max(self._next, self._resume, arrived, now - self._spacing)
            self._next = max(due + self._spacing, now + self._spacing / 2)
            self._sent.append(now)
        return now - arrived

    def _due(self) -> float:
        return max(self._next, self._resume, *(window.opens() for window in self._windows))
