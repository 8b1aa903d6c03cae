"""The products as a list: search, filters, orders, columns."""

from typing import Any

from aiohttp import web

from emag_syncd.domain.products import SORTS, ProductFilter, Removed, Sort
from emag_syncd.domain.sellability import obstacles
from emag_syncd.storage.catalogue import REMEDY
from emag_syncd.web.console.pages import Pages, address
from emag_syncd.web.parameters import ProductParameters, validated
from emag_syncd.web.parts import API, WebParts

ON_A_PAGE = 50
COLUMN = "column"
"""The parameter, and the cookie, that tell which columns to show."""

COLUMNS = (
    "emag_id",
    "account_type",
    "is_sellable",
    "sale_price",
    "general_stock",
    "buy_button_rank",
    "number_of_offers",
    "best_offer_sale_price",
    "recommended_price",
    "brand",
    "category_id",
    "part_number_key",
    "ean",
    "status",
    "validation_status",
    "updated_at",
    "first_seen_at",
)
"""The columns there are to choose from, in their order; the name is always there."""

USUAL = ("account_type", "is_sellable", "sale_price", "general_stock", "buy_button_rank", "updated_at")
NUMBERS = frozenset(
    {
        "sale_price",
        "general_stock",
        "buy_button_rank",
        "number_of_offers",
        "best_offer_sale_price",
        "recommended_price",
        "emag_id",
        "category_id",
    }
)
_LARGEST_FIRST = frozenset({"sale_price", "general_stock", "updated_at", "first_seen_at"})
_SORT_KEYS = {"emag_id": "id"}
_REMEMBERED_SECONDS = 400 * 86400


class ProductsPage:
    """All products, or those that somebody looks for."""

    def __init__(self, pages: Pages, parts: WebParts) -> None:
        """Show what the catalogue of ``parts`` has."""
        self._pages = pages
        self._accounts = parts.accounts
        self._catalogue = parts.catalogue

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [web.get("/products", self._list)]

    async def _list(self, request: web.Request) -> web.Response:
        given = {name: value for name, value in request.query.items() if value and name != COLUMN}
        wanted = validated(given, ProductParameters)
        which = wanted.wanted()
        columns = _columns(request)
        page, total = await self._catalogue.found(which, wanted.sort, limit=ON_A_PAGE, after=wanted.after)
        response = self._pages.page(
            request,
            "products.html",
            accounts=self._accounts.names,
            products=[{**row, "obstacles": obstacles(dict(row))} for row in page.rows],
            total=total,
            filtered=which != ProductFilter(),
            folded=_folded(which),
            columns=columns,
            all_columns=COLUMNS,
            numbers=NUMBERS,
            sort=str(wanted.sort),
            sorts=SORTS,
            orders={name: _order(name, wanted.sort) for name in ("name", *columns)},
            following=address(request, after=page.next) if page.next else None,
            beginning=address(request, after=None) if wanted.after else None,
            export=f"{API}/export.csv{_filters(request)}",
            slow=await self._slow(which),
        )
        # An address without what it would say anyway: to look at, and to pass on.
        response.headers["HX-Push-Url"] = address(request, column=None, sort=_unusual(wanted.sort))
        if COLUMN in request.query:
            _remember(response, columns)
        return response

    async def _slow(self, which: ProductFilter) -> str | None:
        """Return what to do about searching that reads every row, where it does."""
        return REMEDY if which.search and not await self._catalogue.is_searchable() else None


def _columns(request: web.Request) -> tuple[str, ...]:
    """Return the columns that were just chosen, or those of the time before."""
    chosen = request.query.getall(COLUMN, ()) or request.cookies.get(COLUMN, "").split("-")
    return tuple(name for name in COLUMNS if name in chosen) if any(chosen) else USUAL


def _remember(response: web.Response, columns: tuple[str, ...]) -> None:
    response.set_cookie(
        COLUMN,
        "-".join(("name", *columns)),
        path="/products",
        max_age=_REMEMBERED_SECONDS,
        httponly=True,
        samesite="Lax",
    )


def _unusual(sort: Sort) -> Sort | None:
    return None if sort == Sort() else sort


def _folded(which: ProductFilter) -> int:
    """Return how many of the filters that are folded away at first are in use."""
    folded = (which.status, which.in_stock, which.validation_status, which.buy_button)
    return sum(one is not None for one in folded) + (which.removed is not Removed.NO)


def _order(name: str, now: Sort) -> dict[str, Any] | None:
    """Return how the list is sorted by a column, and how a click on its head would sort it."""
    key = _SORT_KEYS.get(name, name)
    if key not in SORTS:
        return None
    by_this = now.key == key
    # What is large is asked for first, and of words the first.
    descends = not now.descending if by_this else name in _LARGEST_FIRST
    return {
        "now": ("descending" if now.descending else "ascending") if by_this else None,
        "then": f"{'-' if descends else ''}{key}",
    }


def _filters(request: web.Request) -> str:
    """Return the part of the address that says which products are meant."""
    return address(request, column=None, sort=None, after=None).removeprefix(request.path)
