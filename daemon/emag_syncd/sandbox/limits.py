"""The gateway's rate limit: fixed windows on the server's own clock, a second and a minute long."""

import time
from collections.abc import Callable
from email.utils import formatdate
from typing import Final, NamedTuple

_SECOND: Final = 1.0
_MINUTE: Final = 60.0


class Verdict(NamedTuple):
    """Whether a request may pass, whose fault it is if not, and the headers that say so."""

    allowed: bool
    own_fault: bool
    headers: dict[str, str]


class _Window:
    """What was spent in the current window of one length (seconds)."""

    def __init__(self, length: float) -> None:
        self.length = length
        self.spent = 0
        self.foreign = 0
        self._index = -1

    def roll(self, now: float) -> bool:
        """Forgets the past when a new window has begun; True if so."""
        index = int(now // self.length)
        if index == self._index:
            return False
        self._index, self.spent, self.foreign = index, 0, 0
        return True

    def left(self, now: float) -> float:
        """Seconds until the next window."""
        return self.length - now % self.length


class Limiter:
    """The limits of one account. Every knob can be turned while it works; None switches a window off.

    `foreign` is what the seller's other software spends at the start of each second, `retry_after` makes 429
    carry that header, in seconds (True) or as a date ("date") beside the gateway's own date, `suffix` ends the
    names of the `X-RateLimit-*` headers (None for none of them).
    """

    def __init__(
        self,
        per_second: int | None = 3,
        per_minute: int | None = 180,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.per_second = per_second
        self.per_minute = per_minute
        self.foreign = 0
        self.retry_after: bool | str = False
        self.suffix: str | None = "3second"
        self._clock = clock
        self._second = _Window(_SECOND)
        self._minute = _Window(_MINUTE)

    def off(self) -> None:
        """Lifts both limits."""
        self.per_second = self.per_minute = None

    def spend(self, requests: int) -> None:
        """Spends budget as other software of the seller does, in the windows of now."""
        self._roll(self._clock())
        self._spend_foreign(requests)

    def admit(self) -> Verdict:
        """Judges a request that arrives now, and spends for it. A refused one spends nothing."""
        now = self._clock()
        self._roll(now)
        full = [window for window, limit in self._limited() if window.spent + window.foreign >= limit]
        if full:
            own = any(window.spent >= limit for window, limit in self._limited())
            return Verdict(allowed=False, own_fault=own, headers=self._headers(max(w.left(now) for w in full)))
        for window in (self._second, self._minute):
            window.spent += 1
        return Verdict(allowed=True, own_fault=False, headers=self._headers())

    def _limited(self) -> list[tuple[_Window, int]]:
        pairs = ((self._second, self.per_second), (self._minute, self.per_minute))
        return [(window, limit) for window, limit in pairs if limit is not None]

    def _roll(self, now: float) -> None:
        self._minute.roll(now)
        if self._second.roll(now):
            self._spend_foreign(self.foreign)

    def _spend_foreign(self, requests: int) -> None:
        for window in (self._second, self._minute):
            window.foreign += requests

    def _headers(self, wait: float | None = None) -> dict[str, str]:
        headers: dict[str, str] = {}
        if self.suffix is not None and self.per_second is not None:
            left = max(0, self.per_second - self._second.spent - self._second.foreign)
            headers[f"X-RateLimit-Limit-{self.suffix}"] = str(self.per_second)
            headers[f"X-RateLimit-Remaining-{self.suffix}"] = str(left)
        if wait is not None and self.retry_after:
            headers["Retry-After"] = self._until(int(wait) + 1)
            headers["Date"] = formatdate(self._clock(), usegmt=True)
        return headers

    def _until(self, seconds: int) -> str:
        return formatdate(self._clock() + seconds, usegmt=True) if self.retry_after == "date" else str(seconds)
