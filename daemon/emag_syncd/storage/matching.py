"""Which products match: the values of the conditions that the catalogue's queries share."""

import re
from collections.abc import Mapping
from typing import Any

from emag_syncd.domain.products import ProductFilter
from emag_syncd.domain.sellability import SALEABLE, SELLING_TRANSLATION, SELLING_VALIDATION

INDEXED = 3
"""Letters that tell the index where something occurs. Of fewer it knows where words begin with them."""

_INDEXED = re.compile(rf"[^\W_]{{{INDEXED}}}|^[^\W_].?$")
_BEGINNING = r"(^|[ -/:-@[-`{-~])"
"""Before it stands nothing, or a blank or sign of ASCII. Of a class such as [:alnum:] the index could make no use."""


def matching(wanted: ProductFilter) -> dict[str, Any]:
    """Return the values of the conditions that a filter is."""
    return {
        "account": wanted.account,
        "status": wanted.status,
        "sellable": wanted.sellable,
        "obstacle": wanted.obstacle,
        "in_stock": wanted.in_stock,
        "validation_status": wanted.validation_status,
        "buy_button": wanted.buy_button,
        "removed": wanted.removed,
        "saleable": SALEABLE,
        "selling_validation": sorted(SELLING_VALIDATION),
        "selling_translation": sorted(SELLING_TRANSLATION),
        **_searched(wanted.search or ""),
    }


def is_indexed(conditions: Mapping[str, Any]) -> bool:
    """Tell whether the index of words knows at least one of those that are searched for."""
    return any(map(_INDEXED.search, (conditions["term"] or "").split()))


def _searched(text: str) -> dict[str, Any]:
    term = " ".join(text.split())
    anywhere = "%" if len(term) >= INDEXED else ""
    # The longest words are the rarest, and those that the index is asked for.
    words = sorted(term.split(), key=len, reverse=True)
    parts = [f"%{_literal(word)}%" for word in words if len(word) >= INDEXED]
    beginnings = [_BEGINNING + re.escape(word) for word in words if len(word) < INDEXED]
    return {
        "term": term or None,
        "part": f"{anywhere}{_literal(term)}%",
        "first_word": parts[0] if parts else None,
        "second_word": parts[1] if parts[1:] else None,
        "more_words": parts[2:],
        "first_beginning": beginnings[0] if beginnings else None,
        "more_beginnings": beginnings[1:],
    }


def _literal(text: str) -> str:
    """Return a pattern of LIKE that only the text itself matches."""
    return text.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
