"""Numbers as the marketplace writes them: 20, 20.0, "20" and 2e1 are the same number."""

import re
from decimal import Context, Decimal

LONGEST = 1000
"""Digits that a number may have before its point, and behind it: well inside what PostgreSQL's numeric holds."""

_NUMBER = re.compile(r"[+-]?(?:([0-9]+)\.?([0-9]*)|\.([0-9]+))(?:[eE]([+-]?0*[0-9]{1,4}))?")
_PLAIN = re.compile(r"[0-9]{1,18}\.[0-9]{0,17}[1-9]")
"""What most prices look like: exact and in its one form as it stands."""
_LONGEST_TEXT = 2 * LONGEST + 2
_EXACT = Context(prec=_LONGEST_TEXT)


def number(text: str) -> int | Decimal:
    """Return the number that ``text`` says, exactly and in one form: an int where it is whole.

    What it accepts, it also accepts in the spelling in which PostgreSQL gives it back, without an exponent.
    Raises ValueError for anything else, NaN and infinity included, and for numbers beyond ``LONGEST``.
    """
    if _PLAIN.fullmatch(text):
        return Decimal(text)
    match = _NUMBER.fullmatch(text) if len(text) <= _LONGEST_TEXT else None
    if match is None:
        raise ValueError(f"not a number: {text[:50]}")
    before, behind, bare, exponent = match.groups("")
    moved = int(exponent or 0)
    if len(before) + moved > LONGEST or len(behind or bare) - moved > LONGEST:
        raise ValueError(f"a number out of range: {text[:50]}")
    exact = Decimal(text).normalize(_EXACT)
    whole = int(exact)
    return whole if whole == exact else exact
