"""The slots of a schedule: points in time that every daemon computes alike, so that each runs once in the fleet."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

from cronsim import CronSim

from emag_syncd.domain.schedules import Cron, Every, Off, Schedule

GAPS_LOOKED_AT = 50
"""A cron expression has no period: so many of its slots tell how far apart they may be."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TICK = timedelta(microseconds=1)


class Slots:
    """The slots of one account's operation.

    A duration counts from the epoch plus an offset drawn from ``key``: the same everywhere, and spread off the
    round times at which everybody else calls the marketplace. A cron expression is taken at its word.
    """

    def __init__(self, schedule: Schedule, *, key: str, timezone: ZoneInfo) -> None:
        """Compute the slots of ``schedule``; cron expressions are read in ``timezone``."""
        self._schedule = schedule
        self._timezone = timezone
        self._offset = _offset(schedule, key)

    def latest(self, now: datetime) -> datetime | None:
        """Return the last slot that is not after ``now``."""
        match self._schedule:
            case Every(period=period):
                return now - (now - _EPOCH - self._offset) % period
            case Cron(expression=expression):
                start = _behind_repeated_hour((now.astimezone(UTC) + _TICK).astimezone(self._timezone))
                return _first(CronSim(expression, start, reverse=True), lambda slot: slot <= now)
            case Off():
                return None

    def longest_gap(self, now: datetime) -> timedelta | None:
        """Return the longest time between two of the next slots; None when there are no two."""
        slots = islice(self._from(now), GAPS_LOOKED_AT)
        return max((later - slot for slot, later in pairwise(slots)), default=None)

    def _from(self, moment: datetime) -> Iterator[datetime]:
        while (slot := self.after(moment)) is not None:
            yield slot
            moment = slot

    def after(self, moment: datetime) -> datetime | None:
        """Return the first slot after ``moment``."""
        match self._schedule:
            case Every(period=period):
                latest = self.latest(moment)
                return latest + period if latest is not None else None
            case Cron(expression=expression):
                start = moment.astimezone(self._timezone)
                return _first(CronSim(expression, start), lambda slot: slot > moment)
            case Off():
                return None


def _behind_repeated_hour(local: datetime) -> datetime:
    """Return ``local``, or, in the hour that the end of summer time repeats, what is surely behind it.

    There cronsim takes the clock's second turn for its first, and would miss the slots in between.
    """
    first, second = local.replace(fold=0).utcoffset(), local.utcoffset()
    return local + (first - second) if first and second else local


def _first(slots: Iterable[datetime], wanted: Callable[[datetime], bool]) -> datetime | None:
    return next(filter(wanted, (slot.astimezone(UTC) for slot in slots)), None)


def _offset(schedule: Schedule, key: str) -> timedelta:
    if not isinstance(schedule, Every):
        return timedelta()
    drawn = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64
    return timedelta(seconds=int(drawn * schedule.period.total_seconds()))
