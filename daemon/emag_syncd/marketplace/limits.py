"""What an answer's headers say about waiting."""

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

LONGEST_WAIT = 3600.0
"""Seconds: no header makes us wait longer at a time."""

_EXHAUSTED = re.compile(r"x-ratelimit-remaining-(\d*)[-_ ]?(second|minute|hour|day)s?", re.IGNORECASE)
_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}


def asked_wait(headers: Mapping[str, str]) -> float | None:
    """Return the seconds to wait after a 429: Retry-After, else the length of the window that is used up.

    None when the headers don't tell, or tell of a time that is over.
    """
    wait = retry_after(headers)
    if wait is not None:
        return wait
    periods = [period for name, value in headers.items() if (period := _exhausted_period(name, value))]
    return min(max(periods), LONGEST_WAIT) if periods else None


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that Retry-After asks for, by number or date: more than 0, ``LONGEST_WAIT`` at most.

    None without one that is readable, and for a time that is over. A date counts only beside the date of the
    answer itself: our clock may be wrong.
    """
    value = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", value):
        wait = float(value)
    else:
        until, now = _timestamp(value), _timestamp(headers.get("Date", ""))
        wait = 0.0 if until is None or now is None else until - now
    return min(wait, LONGEST_WAIT) if wait > 0 else None


def _timestamp(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return None


def _exhausted_period(name: str, value: str) -> float | None:
    match = _EXHAUSTED.fullmatch(name.strip())
    if match is None or value.strip() != "0" or len(match[1]) > len("86400"):
        return None
    return float(int(match[1] or 1) * _SECONDS[match[2].lower()])
