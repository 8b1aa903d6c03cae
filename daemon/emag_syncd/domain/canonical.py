"""The canonical form of an offer: what two answers must share to hold the same content.

The same, and so no change:

- any order of keys; any order of the entries of ``characteristics``, ``images``, ``stock`` and
  ``handling_time``, where one entry may also come without its list, and null, ``[]`` and ``{}`` are all none
- a number in any spelling (20, 20.0, 2e1), for the keys that hold numbers as text too ("28.9256"; "" is null)
- ``ownership`` true and 1, false and 2
- ``manufacturer`` and ``eu_representative`` as a flag or as a list: only whether there is one counts
- a validation status in a list of one or bare; its ``errors`` null, ``[]`` or ``{}``
- ``[]``, ``{}``, "" and null for what should be an object (``family``, ``offer_details``, ...) or a date
- an EAN in a list or alone, as text or as a number. Leading zeros count

Anything else is a change, a key that comes or goes included.
"""

from collections.abc import Callable, Mapping
from decimal import Decimal
from hashlib import sha256
from typing import Any

import msgspec

from emag_syncd.domain.numbers import number

HASH_BYTES = 16

PRICES = (
    "sale_price",
    "recommended_price",
    "min_sale_price",
    "max_sale_price",
    "best_offer_sale_price",
    "best_offer_recommended_price",
)
IDS = ("category_id", "vendor_category_id", "vat_id")
INTEGERS = (
    "status",
    "warranty",
    "general_stock",
    "estimated_stock",
    "number_of_offers",
    "buy_button_rank",
    "ownership",
)
STATUSES = ("validation_status", "translation_validation_status", "offer_validation_status")

_decoder = msgspec.json.Decoder(float_hook=number)
_encode = msgspec.json.Encoder(order="deterministic", decimal_format="number").encode


def parse(raw: bytes) -> Any:
    """Return the JSON of ``raw`` with exact numbers, as the functions of this page take it.

    Raises msgspec.DecodeError, ValueError or RecursionError for what isn't JSON or holds a number beyond
    ``numbers.LONGEST``.
    """
    return _decoder.decode(raw)


def digest(data: bytes) -> bytes:
    """Return the hash that offers are compared by: SHA-256, its first 16 bytes."""
    return sha256(data).digest()[:HASH_BYTES]


def canonical(offer: Mapping[str, Any]) -> dict[str, Any]:
    """Return the canonical form of an offer that ``parse`` returned. The offer is left as it is."""
    form = dict(offer)
    for key in _NUMBERS:
        # Nearly all of them are numbers already.
        if isinstance(value := form.get(key), str):
            form[key] = _number(value)
    for key, rule in _RULES.items():
        if key in form:
            form[key] = rule(form[key])
    return form


def content_hash(offer: Mapping[str, Any]) -> bytes:
    """Return the hash of an offer's canonical form."""
    return form_hash(canonical(offer))


def form_hash(form: Mapping[str, Any]) -> bytes:
    """Return the hash of what ``canonical`` returned."""
    return digest(_encode(form))


def top_level_differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return the keys, sorted, that differ between two canonical forms, or that only one of them has."""
    return sorted(
        key
        for key in old.keys() | new.keys()
        if key not in old or key not in new or _encode(old[key]) != _encode(new[key])
    )


def _number(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    text = value.strip()
    if not text:
        return None
    try:
        return number(text)
    except ValueError:
        return value


def _ownership(value: Any) -> Any:
    return (1 if value else 2) if isinstance(value, bool) else value


def _object(value: Any) -> Any:
    return None if not value and value in ("", [], {}) else value


def _status(value: Any) -> Any:
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    value = _object(value)
    if not isinstance(value, dict):
        return _number(value)
    form = {**value, "value": _number(value.get("value"))}
    if "errors" in form:
        form["errors"] = _object(form["errors"])
    return form


def _unordered(value: Any) -> Any:
    if value is None or value == {}:
        return []
    if isinstance(value, dict):
        return [value]
    return sorted(value, key=_encode) if isinstance(value, list) and len(value) > 1 else value


def _eans(value: Any) -> Any:
    if value is None:
        return None
    codes = value if isinstance(value, list) else [] if value == {} else [value]
    if not all(_is_code(code) for code in codes):
        return value
    return [str(code) for code in codes if code not in (None, "")]


def _is_code(value: Any) -> bool:
    return value is None or (isinstance(value, str | int | Decimal) and not isinstance(value, bool))


_NUMBERS = ("id", "main_offer_price", *PRICES, *IDS, *INTEGERS)
_RULES: dict[str, Callable[[Any], Any]] = {
    "ownership": _ownership,
    **dict.fromkeys(STATUSES, _status),
    **dict.fromkeys(("manufacturer", "eu_representative"), bool),
    **dict.fromkeys(("characteristics", "images", "stock", "handling_time"), _unordered),
    **dict.fromkeys(
        (
            "family",
            "offer_details",
            "offer_properties",
            "content_details",
            "campaign",
            "doc_errors",
            "start_date",
        ),
        _object,
    ),
    "ean": _eans,
}
