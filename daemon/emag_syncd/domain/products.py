"""What may be asked of the stored products: which of them, in which order, and from where on."""

import base64
import binascii
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

import msgspec

from emag_syncd.domain.sellability import Obstacle


class Sellable(StrEnum):
    """Whether an offer sells."""

    YES = "true"
    NO = "false"
    UNKNOWN = "unknown"


class BuyButton(StrEnum):
    """Whether an offer has its product's buy button: rank 1, another rank, none."""

    WON = "won"
    LOST = "lost"
    NONE = "none"


class Removed(StrEnum):
    """Whether offers that the marketplace does not have any more are meant."""

    NO = "false"
    YES = "true"
    ANY = "any"


class Key(StrEnum):
    """What products can be sorted by. Equal ones, and ``ID`` itself, are in the order of account and id."""

    ID = "id"
    NAME = "name"
    PART_NUMBER = "part_number"
    BRAND = "brand"
    SALE_PRICE = "sale_price"
    GENERAL_STOCK = "general_stock"
    BUY_BUTTON_RANK = "buy_button_rank"
    UPDATED_AT = "updated_at"
    FIRST_SEEN_AT = "first_seen_at"


SORTS: tuple[str, ...] = tuple(f"{sign}{key}" for key in Key for sign in ("", "-"))
"""Every order there is: a key, with a minus sign for the largest first. What has no value counts as the smallest."""


@dataclass(frozen=True, slots=True)
class Sort:
    """An order of products."""

    key: Key = Key.ID
    descending: bool = False

    @classmethod
    def of(cls, text: str) -> Self:
        """Return the order that one of ``SORTS`` names. Raises ValueError."""
        return cls(Key(text.removeprefix("-")), text.startswith("-"))

    def __str__(self) -> str:
        """Return its name."""
        return f"{'-' if self.descending else ''}{self.key}"


@dataclass(frozen=True, slots=True)
class Place:
    """A product's place in an order: the value it is sorted by, as text, and its account and id."""

    sort: str
    value: str | None
    account: str
    emag_id: int

    def __str__(self) -> str:
        """Return it as a text that nobody needs to understand, fit for an address."""
        parts = msgspec.json.encode([self.sort, self.value, self.account, self.emag_id])
        return base64.urlsafe_b64encode(parts).rstrip(b"=").decode()

    @classmethod
    def of(cls, text: str) -> Self:
        """Return the place that ``str`` made ``text`` of. Raises ValueError."""
        try:
            parts = base64.b64decode(text.encode() + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
            sort, value, account, emag_id = msgspec.json.decode(parts, type=tuple[str, str | None, str, int])
        except (binascii.Error, msgspec.MsgspecError, UnicodeError):
            raise ValueError("must be what an earlier answer gave") from None
        return cls(sort, value, account, emag_id)


@dataclass(frozen=True, slots=True)
class ProductFilter:
    """Which products are meant: those for which all that is given holds.

    ``search`` is words of the name, in any order, or a part of a part number or of a part number key, or an EAN. Of one
    or two letters it is beginnings of words and of part numbers.
    ``obstacle`` is one reason why an offer does not sell. ``validation_status`` is the marketplace's number.
    """

    account: str | None = None
    search: str | None = None
    status: int | None = None
    sellable: Sellable | None = None
    obstacle: Obstacle | None = None
    in_stock: bool | None = None
    validation_status: int | None = None
    buy_button: BuyButton | None = None
    removed: Removed = Removed.NO
