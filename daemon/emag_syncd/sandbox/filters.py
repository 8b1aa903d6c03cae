"""The filters that `product_offer` knows, and what PHP makes of the values sent with them."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from emag_syncd.sandbox.products import Facts

MAX_ID: Final = 4_294_967_295

Filters = tuple[tuple[str, int | str], ...]
NO_FILTERS: Final[Filters] = ()

_NUMBERS: Final = frozenset(
    {
        "id",
        "status",
        "general_stock",
        "estimated_stock",
        "offer_validation_status",
        "validation_status",
        "translation_validation_status",
    }
)
_TEXTS: Final = frozenset({"part_number", "part_number_key"})
_UP_TO: Final = frozenset({"general_stock", "estimated_stock"})
FILTERS: Final = _NUMBERS | _TEXTS


def whole_number(value: object) -> int | None:
    """The number in 7 or "7"; None for everything else, booleans included."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else None


def parse_filters(body: Mapping[str, Any]) -> Filters:
    """The filters of a request; what is unknown or makes no sense is ignored in silence, as eMAG does."""
    found: list[tuple[str, int | str]] = []
    for key in sorted(FILTERS & body.keys()):
        value = whole_number(body[key]) if key in _NUMBERS else body[key]
        if isinstance(value, int | str) and not isinstance(value, bool):
            found.append((key, value))
    return tuple(found)


def code_of(value: Any) -> Any:
    """The number inside a validation status in any of its shapes; other values as they are."""
    if isinstance(value, list) and value:
        value = value[0]
    return value.get("value") if isinstance(value, dict) else value


def matches(filters: Filters, value_of: Callable[[str], Any]) -> bool:
    """Whether an offer passes all filters."""
    return all(_passes(key, wanted, value_of(key)) for key, wanted in filters)


def _passes(key: str, wanted: int | str, actual: Any) -> bool:
    if key in _UP_TO:
        return isinstance(actual, int) and isinstance(wanted, int) and 0 <= actual <= wanted
    return bool(actual == wanted)


def reader(facts: Facts, changed: Mapping[str, Any]) -> Callable[[str], Any]:
    """How a filter looks up a value: changed fields first, then what the offer was listed with."""

    def value_of(key: str) -> Any:
        return code_of(changed[key]) if key in changed else getattr(facts, key, None)

    return value_of
