"""What a page of offers is, before and after it is decoded."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

COLUMNS: tuple[str, ...] = (
    "part_number",
    "part_number_key",
    "name",
    "brand",
    "category_id",
    "vendor_category_id",
    "status",
    "sale_price",
    "recommended_price",
    "min_sale_price",
    "max_sale_price",
    "best_offer_sale_price",
    "best_offer_recommended_price",
    "currency",
    "vat_id",
    "warranty",
    "general_stock",
    "estimated_stock",
    "ean",
    "number_of_offers",
    "buy_button_rank",
    "ownership",
    "validation_status",
    "translation_validation_status",
    "offer_validation_status",
    "is_sellable",
    "main_image_url",
)
"""The columns of ``emag_products`` that hold an offer's content, in the order in which they are written."""


@dataclass(frozen=True, slots=True)
class Item:
    """One offer of a page as it came: its id, its bytes and their hash, not decoded any further."""

    emag_id: int
    raw: bytes
    raw_hash: bytes


@dataclass(frozen=True, slots=True)
class Reject:
    """One entry of a page that has no usable id, with the reason and what it was."""

    reason: str
    raw: bytes
    emag_id: int | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """The entries of one answer of the marketplace, in its order.

    ``repeated`` counts entries left out because their id came again further down the same page.
    """

    items: tuple[Item, ...]
    rejects: tuple[Reject, ...] = ()
    repeated: int = 0

    @property
    def size(self) -> int:
        """How many entries came, usable or not."""
        return len(self.items) + len(self.rejects) + self.repeated


@dataclass(frozen=True, slots=True)
class OddValue:
    """A value that does not fit its column: the column is left null, the value stays in ``raw``."""

    column: str
    value: str


@dataclass(frozen=True, slots=True)
class Offer:
    """One offer, decoded. ``columns`` has a value for each of ``COLUMNS``; ``form`` is its canonical form, or empty."""

    emag_id: int
    columns: Mapping[str, Any]
    raw: bytes
    raw_hash: bytes
    content_hash: bytes
    form: Mapping[str, Any] = field(repr=False)
    odd: tuple[OddValue, ...] = field(default=())
