"""Whether an offer sells: the marketplace's own rule."""

from collections.abc import Mapping
from typing import Any

SALEABLE = 1
"""The ``offer_validation_status`` of an offer whose price is accepted."""

SELLING_VALIDATION = frozenset({3, 9, 11, 12})
"""The ``validation_status`` values with which a product may be sold."""

SELLING_TRANSLATION = frozenset({3, 9, 11, 12, 17})
"""The same for ``translation_validation_status``, asked of automatically translated products only."""


def is_sellable(columns: Mapping[str, Any], *, auto_translated: bool) -> bool | None:
    """Tell whether an offer with these columns sells: stock, active, and every validation passed.

    One condition known to fail decides. Otherwise None when one of them can't be known.
    """
    stock = columns["general_stock"]
    conditions = [
        None if stock is None else stock > 0,
        _among(columns["status"], {1}),
        _among(columns["offer_validation_status"], {SALEABLE}),
        _among(columns["validation_status"], SELLING_VALIDATION),
    ]
    if auto_translated:
        conditions.append(_among(columns["translation_validation_status"], SELLING_TRANSLATION))
    if False in conditions:
        return False
    return None if None in conditions else True


def _among(value: int | None, allowed: set[int] | frozenset[int]) -> bool | None:
    return None if value is None else value in allowed
