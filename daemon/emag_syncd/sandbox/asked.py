"""What a request asks for, read as the marketplace reads it: leniently, yet with a note of every slip."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from aiohttp import hdrs, web

from emag_syncd.sandbox.filters import FILTERS, MAX_ID, NO_FILTERS, Filters, parse_filters, whole_number

MAX_PAGE_SIZE: Final = 100

_CODES: Final = frozenset({1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12})
_ALLOWED: Final[Mapping[str, frozenset[int]]] = {
    "status": frozenset({0, 1}),
    "offer_validation_status": frozenset({1, 2}),
    "validation_status": _CODES,
    "translation_validation_status": _CODES | {13, 14, 15, 16, 17},
}
_PAGING: Final = frozenset({"currentPage", "itemsPerPage"})

Note = Callable[[str, object], None]


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as understood; `body` is what was sent, `sane` is False when it was no JSON at all."""

    resource: str
    page: int = 1
    size: int = MAX_PAGE_SIZE
    filters: Filters = NO_FILTERS
    body: Any = None
    sane: bool = True


async def read_request(request: web.Request, resource: str, note: Note) -> Asked:
    """Reads a request's body and notes what a good client would not have sent."""
    if request.query_string:
        note("query", ", ".join(request.query))
    if request.method == hdrs.METH_GET:
        # As documented: GET knows no pagination, and answers with page 1 of everything.
        note("get", request.path)
        return Asked(resource)
    sent = await request.read()
    if request.content_type != "application/json":
        note("content_type", request.content_type)
        return Asked(resource, body=sent.decode("utf-8", "replace"))
    try:
        body = msgspec.json.decode(sent or b"{}")
    except (msgspec.DecodeError, UnicodeDecodeError):
        body = None
    if not isinstance(body, dict):
        note("bad_json", sent[:200])
        return Asked(resource, body=sent.decode("utf-8", "replace"), sane=False)
    _check(resource, body, note)
    return _understand(resource, body)


def _understand(resource: str, body: dict[str, Any]) -> Asked:
    page, size = whole_number(body.get("currentPage")), whole_number(body.get("itemsPerPage"))
    return Asked(
        resource,
        page=max(1, page or 1),
        size=min(MAX_PAGE_SIZE, size) if size and size > 0 else MAX_PAGE_SIZE,
        filters=parse_filters(body) if resource.startswith("product_offer/") else NO_FILTERS,
        body=body,
    )


def _check(resource: str, body: dict[str, Any], note: Note) -> None:
    if "data" in body:
        note("wrapped", body["data"])
    known = _PAGING | {"data"} | (FILTERS if resource.startswith("product_offer/") else frozenset())
    for key in body.keys() - known:
        note("unknown_key", key)
    _check_paging(body, note)
    _check_filters({key: body[key] for key in FILTERS & body.keys()}, note)


def _check_paging(body: dict[str, Any], note: Note) -> None:
    size = body.get("itemsPerPage", MAX_PAGE_SIZE)
    if type(size) is not int or not 1 <= size <= MAX_PAGE_SIZE:
        note("page_size", size)
    page = body.get("currentPage", 1)
    if type(page) is not int or page < 1:
        note("page_number", page)


def _check_filters(filters: dict[str, Any], note: Note) -> None:
    for key, value in filters.items():
        if key == "id":
            if type(value) is not int or not 1 <= value <= MAX_ID:
                note("id_range", value)
        elif key.startswith("part_number"):
            if not isinstance(value, str) or not value:
                note("filter_value", f"{key}={value!r}")
        elif type(value) is not int or value < 0 or value not in _ALLOWED.get(key, {value}):
            note("filter_value", f"{key}={value!r}")
