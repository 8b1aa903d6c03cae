"""Whether an offer sells: the marketplace's own rule."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

SALEABLE = 1
"""The ``offer_validation_status`` of an offer whose price is accepted."""

SELLING_VALIDATION = frozenset({3, 9, 11, 12})
"""The ``validation_status`` values with which a product may be sold."""

SELLING_TRANSLATION = frozenset({3, 9, 11, 12, 17})
"""The same for ``translation_validation_status``, asked of automatically translated products only."""

REJECTED_VALIDATION = frozenset({5, 6, 8, 10})
"""The ``validation_status`` values of products whose brand, EAN or documentation was rejected, or that are blocked."""


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


class Obstacle(StrEnum):
    """A reason why an offer does not sell."""

    STOCK = "stock"
    STATUS = "status"
    PRICE = "price"
    VALIDATION = "validation"
    TRANSLATION = "translation"


def obstacles(columns: Mapping[str, Any]) -> list[Obstacle]:
    """Return why an offer with these columns, those of its row, does not sell: nothing unless that is certain.

    Only automatically translated products need a translation that passed, and the row does not tell which those are:
    it is the reason where there is no other.
    """
    if columns["is_sellable"] is not False:
        return []
    stock = columns["general_stock"]
    found = [
        obstacle
        for obstacle, is_met in (
            (Obstacle.STOCK, None if stock is None else stock > 0),
            (Obstacle.STATUS, _among(columns["status"], {1})),
            (Obstacle.PRICE, _among(columns["offer_validation_status"], {SALEABLE})),
            (Obstacle.VALIDATION, _among(columns["validation_status"], SELLING_VALIDATION)),
        )
        if is_met is False
    ]
    is_translated = _among(columns["translation_validation_status"], SELLING_TRANSLATION)
    return found or ([Obstacle.TRANSLATION] if is_translated is False else [])
