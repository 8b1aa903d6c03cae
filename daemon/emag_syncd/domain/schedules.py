"""What a schedule may be: a duration, a cron expression, or off; how it is read and written."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from cronsim import CronSim, CronSimError

UNITS = {"w": "weeks", "d": "days", "h": "hours", "m": "minutes", "s": "seconds"}
SHORTEST = timedelta(seconds=1)
LONGEST = timedelta(days=366)

_DURATION = re.compile(r"\s*".join(rf"(?:(?P<{unit}>[0-9]{{1,9}}){unit})?" for unit in UNITS))
_CRON_FIELDS = ("minute", "hour", "day-of-month", "month", "day-of-week")
_ANY_DAY = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Every:
    """Runs that follow each other at a fixed distance."""

    period: timedelta

    def __str__(self) -> str:
        """Return the schedule as the configuration writes it."""
        return format_duration(self.period)


@dataclass(frozen=True, slots=True)
class Cron:
    """Runs at the times that a five-field cron expression names."""

    expression: str

    def __str__(self) -> str:
        """Return the schedule as the configuration writes it."""
        return self.expression


@dataclass(frozen=True, slots=True)
class Off:
    """No runs."""

    def __str__(self) -> str:
        """Return the schedule as the configuration writes it."""
        return "off"


Schedule: TypeAlias = Every | Cron | Off


def parse_duration(text: str) -> timedelta:
    """Return the time that ``text`` names: ``90s``, ``15m``, ``1h30m``, ``1d``, ``1w``.

    Raises ValueError, with a sentence for a person, for anything else, and outside of 1 second to 366 days.
    """
    match = _DURATION.fullmatch(text.strip().lower())
    if match is None or match.lastgroup is None:
        raise ValueError('must be a duration such as "90s", "15m", "1h30m", "1d" or "1w"')
    amounts = {UNITS[unit]: int(amount) for unit, amount in match.groupdict().items() if amount}
    try:
        duration = timedelta(**amounts)
    except OverflowError:
        duration = timedelta.max
    if not SHORTEST <= duration <= LONGEST:
        raise ValueError("must be a duration from 1s to 366d")
    return duration


def format_duration(duration: timedelta) -> str:
    """Return ``duration`` in the largest units that fit, as ``parse_duration`` reads it."""
    left = round(duration.total_seconds())
    parts = []
    for unit, name in UNITS.items():
        amount, left = divmod(left, round(timedelta(**{name: 1}).total_seconds()))
        parts.append(f"{amount}{unit}" if amount else "")
    return "".join(parts) or "0s"


def parse_schedule(text: str) -> Schedule:
    """Return the schedule that ``text`` names: a duration, a five-field cron expression, or ``off``.

    Raises ValueError, with a sentence for a person, for anything else.
    """
    text = " ".join(text.split())
    if text.lower() == "off":
        return Off()
    if "*" in text or text.count(" ") >= len(_CRON_FIELDS) - 1:
        return _cron(text)
    try:
        return Every(parse_duration(text))
    except ValueError as error:
        raise ValueError(f'{error}, a five-field cron expression such as "30 3 * * *", or "off"') from None


def _cron(text: str) -> Cron:
    fields = text.split()
    if len(fields) != len(_CRON_FIELDS):
        raise ValueError(
            f"must be a cron expression of five fields ({' '.join(_CRON_FIELDS)}), and this has {len(fields)}"
        )
    try:
        next(CronSim(text, _ANY_DAY))
    except CronSimError as error:
        name = str(error).removeprefix("Bad ")
        value = dict(zip(_CRON_FIELDS, fields, strict=True)).get(name, text)
        raise ValueError(f'must be a cron expression, and its {name} field is not one: "{value}"') from None
    except StopIteration:
        raise ValueError("must be a cron expression that comes true, and this one never does") from None
    return Cron(text)
