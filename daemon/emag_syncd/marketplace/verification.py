"""Checks that a page is what was asked for: the marketplace silently ignores what it doesn't understand."""

from collections.abc import Mapping
from decimal import Decimal
from functools import cache
from typing import Any

import msgspec

from emag_syncd.domain.canonical import canonical
from emag_syncd.domain.errors import ProtocolError, RejectedError
from emag_syncd.domain.filters import FILTERS
from emag_syncd.domain.numbers import number
from emag_syncd.domain.offers import Page

CEILINGS = frozenset({"general_stock", "estimated_stock"})
"""Filters that mean "from 0 to so many"."""


def check_filters(filters: Mapping[str, Any]) -> None:
    """Raise RejectedError for a filter that the marketplace would ignore."""
    unknown = sorted(filters.keys() - FILTERS)
    if unknown:
        raise RejectedError(
            f"the marketplace knows no filter {', '.join(unknown)}",
            remedy=f"use {', '.join(sorted(FILTERS))}",
        )


def verify(page: Page, filters: Mapping[str, Any], size: int, base_url_setting: str) -> None:
    """Raise ProtocolError when the page is longer than asked, or holds an offer that the filters leave out.

    A value that can't be read is no evidence of anything.
    """
    if page.size > size:
        raise _ignored(f"asked for {size} offers a page, {page.size} came", base_url_setting)
    if not filters:
        return
    rows = _rows(tuple(filters))
    for item in page.items:
        try:
            row = rows.decode(item.raw)
        except (msgspec.DecodeError, ValueError):
            continue
        for name, wanted in filters.items():
            found = getattr(row, name)
            if found != wanted and not _matches(name, wanted, found):
                raise _ignored(
                    f"asked for {name} {wanted}, offer {item.emag_id} came with {str(found)[:100]}",
                    base_url_setting,
                )


def _ignored(what: str, base_url_setting: str) -> ProtocolError:
    return ProtocolError(
        f"the marketplace ignored what it was asked: {what}",
        remedy=f"check that {base_url_setting} is the marketplace's own address",
    )


@cache
def _rows(names: tuple[str, ...]) -> msgspec.json.Decoder[Any]:
    """Return a decoder of these keys alone."""
    row = msgspec.defstruct("Row", [(name, Any, None) for name in names])
    return msgspec.json.Decoder(row, float_hook=number)


def _matches(name: str, wanted: Any, found: Any) -> bool:
    if isinstance(wanted, list | tuple):
        return any(_matches(name, one, found) for one in wanted)
    found = canonical({name: found})[name]
    if isinstance(found, dict):
        found = found.get("value")
    if found is None:
        return True
    if name.startswith("part_number"):
        return not isinstance(found, str) or found.strip().casefold() == str(wanted).strip().casefold()
    limit, value = _numeric(wanted), _numeric(found)
    if limit is None or value is None:
        return True
    return value <= limit if name in CEILINGS else value == limit


def _numeric(value: Any) -> int | Decimal | None:
    if isinstance(value, bool):
        return None
    try:
        return number(str(value).strip())
    except ValueError:
        return None
