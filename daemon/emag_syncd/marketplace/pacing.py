"""Keeps an account's requests inside the marketplace's limits, and close to them while there is work."""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeAlias

SPACING_MARGIN = 1.02
"""How much further apart requests are than the limit asks: what jitter on the way may take away."""

WINDOW_MARGIN = 1.01
"""How much longer than the marketplace's own a window is held, when catching up after a late wake-up."""

LONGEST_SLEEP = 1.0
"""Seconds after which a sleeper looks again, so that new limits count at once."""

SHORTEST_GRANT = 0.5
LONGEST_GRANT = 10.0
"""Seconds of the budget that are reserved at a time: a process that dies leaves what it had reserved unused."""

LONGEST_DELAY = 30.0
"""Seconds ahead that are reserved at most: what lies behind them is reserved when it is near."""

GAP = 2
"""How many requests' time lies between two processes: one for the wake-up of the first that came late, one for
the spacing that it may have made good."""

Patience: TypeAlias = Callable[[Callable[[], Awaitable[float]]], Awaitable[float]]
"""Does what it is given, again where that is of use while the shared budget can't be asked."""


class SharedBudget(Protocol):
    """Where all processes that ask for an account agree on who sends when."""

    async def reserve(self, span: float, *, gap: float, delay: float) -> float:
        """Set the next free ``span`` seconds apart for the caller; return in how many seconds they begin.

        That is in ``delay`` seconds at the earliest, and ``gap`` seconds after what another process reserved.
        """


@dataclass(slots=True)
class _Grant:
    """The right to send so many requests within a time, in seconds of the pacer's clock."""

    opens: float = 0.0
    closes: float = 0.0
    left: int = 0


@dataclass(frozen=True, slots=True)
class Turn:
    """The right to send one request, after ``waited`` seconds. Call ``left`` when it is on its way."""

    waited: float
    left: Callable[[], None]


async def at_once(work: Callable[[], Awaitable[float]]) -> float:
    """Do it once."""
    return await work()


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
    one spacing, and a pacer that was idle has saved nothing up. A request that has to connect first leaves later than
    one that finds a connection: the windows count from when it left, as long as that takes less than a second.

    With a shared budget each request also needs its share of that: what other processes send counts too.
    """

    def __init__(
        self,
        requests_per_second: float | None,
        requests_per_minute: float | None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        budget: SharedBudget | None = None,
    ) -> None:
        """Start with no request sent. None is no limit; without a ``budget`` nobody else sends."""
        self._clock = clock
        self._budget = budget
        self._grant = _Grant()
        self._trip = 0.0
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

    def sent_within(self, seconds: float) -> int:
        """Return how many requests were sent lately: at most as many as the longer window permits."""
        since = self._clock() - seconds
        return sum(1 for sent in self._sent if sent >= since)

    async def acquire(self, patience: Patience = at_once) -> Turn:
        """Wait until a request may be sent.

        Raises what the shared budget raises and ``patience`` does not bear.
        """
        arrived = self._clock()
        async with self._turn:
            while (wait := await self._opens(patience) - self._clock()) > 0:
                await self._sleep(min(wait, LONGEST_SLEEP))
            now = self._clock()
            # Counted from when it was due, so that late wake-ups don't add up; never from before it was
            # wanted, so that idle time isn't saved up; and never so that the next follows at its heels.
            due = max(self._next, self._resume, arrived, now - self._spacing)
            self._next = max(due + self._spacing, now + self._spacing / 2)
            self._sent.append(now)
            self._grant.left -= 1
        return Turn(now - arrived, partial(self._left, now))

    def _left(self, granted: float) -> None:
        """Count the request that was granted then from now on."""
        for place in range(len(self._sent) - 1, -1, -1):
            if self._sent[place] <= granted:
                if self._sent[place] == granted:
                    del self._sent[place]
                    self._sent.append(self._clock())
                return

    async def _opens(self, patience: Patience) -> float:
        """Return from when on the next request may be sent, with a grant of the shared budget that covers it."""
        budget = self._budget
        # A grant that ran out while this process did not run is worth nothing: others may send by now.
        if budget and self._spacing and (self._grant.left <= 0 or self._clock() > self._grant.closes):
            self._grant = await self._reserve(budget, patience)
        return max(self._due(), self._grant.opens)

    def _due(self) -> float:
        return max(self._next, self._resume, *(window.opens() for window in self._windows))

    async def _reserve(self, budget: SharedBudget, patience: Patience) -> _Grant:
        # So much that asking takes no time away, and no more: it is lost when this process dies.
        length = min(max(SHORTEST_GRANT, 2 * self._trip), LONGEST_GRANT)
        requests = max(1, int(length / self._spacing))
        span = requests * self._spacing
        asked = 0.0

        async def ask() -> float:
            nonlocal asked
            asked = self._clock()
            delay = min(max(0.0, self._resume - asked), LONGEST_DELAY)
            return await budget.reserve(span, gap=GAP * self._spacing, delay=delay)

        begins_in = await patience(ask)
        answered = self._clock()
        self._trip = answered - asked
        # When the answer was made, between asking and hearing it, is not known: take the later start, the earlier end.
        return _Grant(answered + begins_in, asked + begins_in + span, requests)
