"""One product: everything the marketplace says of it, why it does not sell, and how it came to be as it is."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec
from aiohttp import web
from asyncpg import Record

from emag_syncd.domain.sellability import obstacles
from emag_syncd.web.console.entries import entry
from emag_syncd.web.console.pages import Pages, address
from emag_syncd.web.parameters import ChangesOfParameters, read_query
from emag_syncd.web.parts import WebParts
from emag_syncd.web.products import stored_product

ON_A_PAGE = 25
DRAWN = 1000
"""Points of a chart: more than it has pixels."""

SERIES = ("sale_price", "general_stock", "buy_button_rank")
VALIDATIONS = ("offer_validation_status", "validation_status", "translation_validation_status")
_DEEPEST = 8


class ProductPage:
    """The page of a product, removed ones too."""

    def __init__(self, pages: Pages, parts: WebParts) -> None:
        """Show what the catalogue of ``parts`` has."""
        self._pages = pages
        self._catalogue = parts.catalogue

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [web.get("/products/{account}/{emag_id}", self._show)]

    async def _show(self, request: web.Request) -> web.Response:
        wanted = read_query(request, ChangesOfParameters)
        row = await stored_product(request, self._catalogue)
        name = row["account_type"], row["emag_id"]
        history = await self._catalogue.history(*name, limit=ON_A_PAGE + 1, before=wanted.before)
        points = await self._catalogue.points(*name, limit=DRAWN)
        raw = msgspec.json.decode(row["raw"]) if row["raw"] else {}
        raw = raw if isinstance(raw, dict) else {}
        shown = history[:ON_A_PAGE]
        return self._pages.page(
            request,
            "product.html",
            offer={**row, "obstacles": obstacles(dict(row))},
            raw=msgspec.json.format(row["raw"] or b"{}").decode(),
            complaints={name: list(messages(raw.get(name))) for name in VALIDATIONS},
            warehouses=_by_warehouse(raw),
            drawn=[_point(point) for point in reversed(points)],
            points=[{**_point(point), "when": point["changed_at"]} for point in points],
            changes=[entry(change, currency=row["currency"]) for change in shown],
            older=address(request, before=shown[-1]["id"]) if len(history) > len(shown) else None,
            newest=address(request, before=None) if wanted.before else None,
        )


def _point(row: Record) -> dict[str, Any]:
    """Return what a chart draws; a name that is missing says that nothing changed."""
    values = {name: msgspec.json.decode(row[name]) for name in SERIES if row[name] is not None}
    return {"at": row["changed_at"].timestamp(), "kind": row["kind"], **values}


def messages(status: Any, depth: int = 0) -> Iterator[str]:
    """Find what a validation complains of; texts come plain, by language, and in lists of either."""
    if depth > _DEEPEST:
        return
    match status:
        case str() if depth and status.strip():
            yield status.strip()
        case list():
            yield from _distinct(text for one in status for text in messages(one, depth + 1))
        case {"errors": errors}:
            yield from messages(errors, depth + 1)
        case {"message": message} | {"text": message}:
            yield from messages(message, depth + 1)
        case dict() if depth and "value" not in status:
            yield from _distinct(text for one in status.values() for text in messages(one, depth + 1))


def _distinct(texts: Iterable[str]) -> Sequence[str]:
    return list(dict.fromkeys(texts))


def _by_warehouse(raw: dict[str, Any]) -> list[tuple[Any, Any, Any]]:
    """Return each warehouse with its stock and the days in which it sends."""
    stock, days = _of_each(raw.get("stock")), _of_each(raw.get("handling_time"))
    return [(warehouse, stock.get(warehouse), days.get(warehouse)) for warehouse in {**stock, **days}]


def _of_each(values: Any) -> dict[str, Any]:
    entries = values if isinstance(values, list) else []
    return {
        str(one.get("warehouse_id", "")): one["value"] for one in entries if isinstance(one, dict) and "value" in one
    }
