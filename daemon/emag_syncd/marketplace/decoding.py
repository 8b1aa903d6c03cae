"""Decodes an offer into its columns. No value, however odd, costs more than its own column."""

import json
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from emag_syncd.domain.canonical import IDS, INTEGERS, PRICES, STATUSES, canonical, form_hash
from emag_syncd.domain.offers import Item, OddValue, Offer
from emag_syncd.domain.sellability import is_sellable
from emag_syncd.marketplace.repair import readable

LONGEST_SHOWN = 200
"""Characters of an odd value that its warning shows."""

_INT4 = 2**31
_INT8 = 2**63
_FOUR_PLACES = Decimal("0.0001")
_PRICE_LIMIT = Decimal(10) ** 10 - _FOUR_PLACES / 2
"""Prices from here on have more digits than their column, once they are rounded."""
_LOWEST_PRICE = -_PRICE_LIMIT
_OWNERS = (1, 2)
_MAIN_IMAGE = (1, "1")


class _OddError(Exception):
    """A value does not fit its column."""


def decode(item: Item, *, keep_form: bool = True) -> Offer:
    """Return the offer that an item holds, with every column of ``COLUMNS``.

    ``Offer.raw`` is what PostgreSQL's jsonb takes: the item's own bytes wherever it takes them. Values that
    don't fit their column are None and listed in ``Offer.odd``. The canonical form takes more memory than all the rest
    and is kept only to be compared.
    """
    raw, offer = readable(item.raw)
    form = canonical(offer)
    columns: dict[str, Any] = {}
    odd: list[OddValue] = []
    for column, convert in _COLUMNS:
        value = form.get(column)
        try:
            columns[column] = None if value is None else convert(value)
        except _OddError:
            columns[column] = None
            odd.append(OddValue(column, _shown(value)))
    columns["brand"] = columns["brand"] or _text_or_none(form.get("brand_name")) or columns["brand"]
    try:
        columns["main_image_url"] = _main_image(form.get("images", []))
    except _OddError:
        columns["main_image_url"] = None
        odd.append(OddValue("main_image_url", _shown(form["images"])))
    auto_translated = form.get("auto_translated") in (1, "1")
    columns["is_sellable"] = is_sellable(columns, auto_translated=auto_translated)
    return Offer(item.emag_id, columns, raw, item.raw_hash, form_hash(form), form if keep_form else {}, tuple(odd))


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return str(value)
    raise _OddError("not a text")


def _text_or_none(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _integer(value: Any, limit: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _OddError("not a whole number")
    if not -limit <= value < limit:
        raise _OddError("out of range")
    return value


def _int4(value: Any) -> int:
    return _integer(value, _INT4)


def _int8(value: Any) -> int:
    return _integer(value, _INT8)


def _owner(value: Any) -> int:
    owner = _int4(value)
    if owner not in _OWNERS:
        raise _OddError("neither 1 nor 2")
    return owner


def _price(value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise _OddError("not an amount")
    amount = Decimal(value)
    if not _LOWEST_PRICE < amount < _PRICE_LIMIT:
        raise _OddError("out of range")
    # PostgreSQL rounds half away from zero, and so must what is compared with its columns.
    return amount.quantize(_FOUR_PLACES, ROUND_HALF_UP)


def _status(value: Any) -> int | None:
    if isinstance(value, dict):
        value = value["value"]
    return None if value is None else _int4(value)


def _eans(value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(code, str) for code in value):
        raise _OddError("not a list of codes")
    return value


def _main_image(images: Any) -> str | None:
    if not isinstance(images, list):
        raise _OddError("not a list of images")
    return min(filter(None, map(_main_url, images)), default=None)


def _main_url(image: Any) -> str | None:
    if not isinstance(image, dict) or image.get("display_type") not in _MAIN_IMAGE:
        return None
    return _text_or_none(image.get("url"))


def _shown(value: Any) -> str:
    return json.dumps(value, default=float, ensure_ascii=False)[:LONGEST_SHOWN]


_CONVERTERS: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("part_number", "part_number_key", "name", "brand", "currency"), _text),
    **dict.fromkeys(INTEGERS, _int4),
    **dict.fromkeys(IDS, _int8),
    **dict.fromkeys(PRICES, _price),
    **dict.fromkeys(STATUSES, _status),
    "ownership": _owner,
    "ean": _eans,
}
_COLUMNS = tuple(_CONVERTERS.items())
