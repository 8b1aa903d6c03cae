"""The stored products: lists of them, one of them, what changed, and how many there are."""

from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from typing import cast

import msgspec
from aiohttp import web
from asyncpg import Record

from emag_syncd.domain.offers import COLUMNS
from emag_syncd.domain.runs import Operation, Status
from emag_syncd.domain.sellability import obstacles
from emag_syncd.storage.catalogue import Catalogue
from emag_syncd.web.answers import ProblemError, answer
from emag_syncd.web.openapi import operation
from emag_syncd.web.parameters import (
    LARGEST,
    ChangesOfParameters,
    ChangesParameters,
    ProductParameters,
    read_query,
)
from emag_syncd.web.parts import API, WebParts
from emag_syncd.web.product_views import (
    AccountStates,
    ChangeFeed,
    ChangePage,
    ChangeView,
    OneProduct,
    Pagination,
    ProductHistory,
    ProductList,
    ProductView,
    Statistics,
    WholeProductView,
)
from emag_syncd.web.views import run_views

NO_SUCH_PRODUCT = "There is no such product"
RECENT = 10
RATED_DAYS = 7
COUNTS_AGE_SECONDS = 10.0
"""How old the numbers of products may be where no run has ended since."""

Successes = Mapping[tuple[str, Operation], datetime]


class Products:
    """The stored products and their changes."""

    def __init__(self, parts: WebParts) -> None:
        """Read them with ``parts``."""
        self._catalogue = parts.catalogue
        self._ledger = parts.ledger
        self._accounts = parts.accounts
        self._counts = parts.counts

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        one = f"{API}/products/{{account}}/{{emag_id}}"
        return [
            web.get(f"{API}/products", self._list),
            web.get(one, self._show),
            web.get(f"{one}/changes", self._history),
            web.get(f"{API}/changes", self._changes),
            web.get(f"{API}/statistics", self._statistics),
        ]

    @operation("Products", query=ProductParameters, answers={HTTPStatus.OK: ProductList})
    async def _list(self, request: web.Request) -> web.Response:
        wanted = read_query(request, ProductParameters)
        which = wanted.wanted()
        page, total = await self._catalogue.found(
            which, wanted.sort, limit=wanted.limit, skip=wanted.skip, after=wanted.after
        )
        successes = await self._ledger.last_successes()
        pagination: Pagination = {
            "skip": wanted.skip,
            "limit": wanted.limit,
            "total": total.count,
            "total_is_estimate": total.is_estimate,
            "next": None if page.next is None else str(page.next),
        }
        products = [product_view(row, successes) for row in page.rows]
        content: ProductList = {"status": "success", "data": {"products": products, "pagination": pagination}}
        return answer(content)

    @operation("One product", answers={HTTPStatus.OK: OneProduct}, problems={HTTPStatus.NOT_FOUND: NO_SUCH_PRODUCT})
    async def _show(self, request: web.Request) -> web.Response:
        row = await stored_product(request, self._catalogue)
        view = product_view(row, await self._ledger.last_successes())
        whole: WholeProductView = {**view, "raw": row["raw"] and msgspec.Raw(row["raw"])}
        content: OneProduct = {"status": "success", "data": whole}
        return answer(content)

    @operation(
        "What happened to a product, the latest first",
        query=ChangesOfParameters,
        answers={HTTPStatus.OK: ProductHistory},
        problems={HTTPStatus.NOT_FOUND: NO_SUCH_PRODUCT},
    )
    async def _history(self, request: web.Request) -> web.Response:
        account, emag_id = _named(request)
        wanted = read_query(request, ChangesOfParameters)
        rows = await self._catalogue.history(account, emag_id, limit=wanted.limit, before=wanted.before)
        if not rows and await self._catalogue.one(account, emag_id) is None:
            raise _missing(account, emag_id)
        content: ProductHistory = {
            "status": "success",
            "data": {"changes": list(map(change_view, rows)), "count": len(rows)},
        }
        return answer(content)

    @operation("The change feed, the oldest first", query=ChangesParameters, answers={HTTPStatus.OK: ChangeFeed})
    async def _changes(self, request: web.Request) -> web.Response:
        wanted = read_query(request, ChangesParameters)
        rows = await self._catalogue.changes_after(
            wanted.after, limit=wanted.limit, account=wanted.account, kind=wanted.kind
        )
        data: ChangePage = {
            "changes": list(map(change_view, rows)),
            "count": len(rows),
            "next_after": rows[-1]["id"] if rows else wanted.after,
        }
        content: ChangeFeed = {"status": "success", "data": data}
        return answer(content)

    @operation("How many products there are, and how runs ended lately", answers={HTTPStatus.OK: Statistics})
    async def _statistics(self, _request: web.Request) -> web.Response:
        states = await self._counts.recent(max_age_seconds=COUNTS_AGE_SECONDS)
        endings = await self._catalogue.endings(RATED_DAYS)
        ended = sum(endings.values())
        by_account = {
            name: states[name]["offers"] if name in states else 0 for name in {*self._accounts.names, *states}
        }
        content: Statistics = {
            "status": "success",
            "products_by_account": dict(sorted(by_account.items())),
            "total_products": sum(by_account.values()),
            "accounts": [cast("AccountStates", {"account_type": name, **state}) for name, state in states.items()],
            "recent_syncs": run_views(await self._ledger.history(limit=RECENT), await self._ledger.progress()),
            "syncs_by_status": {Status(status): count for status, count in endings.items()},
            "success_rate": endings.get(Status.COMPLETED, 0) / ended if ended else None,
            "success_rate_days": RATED_DAYS,
        }
        return answer(content)


def product_view(row: Record, successes: Successes) -> ProductView:
    """Return a product under its columns' names and, beside them, under those that the ERP has for them."""
    account = row["account_type"]
    view = {
        "id": f"{account}/{row['emag_id']}",
        "emag_id": row["emag_id"],
        "account_type": account,
        "sku": row["part_number"],
        "price": row["sale_price"],
        "stock_quantity": row["general_stock"],
        "is_active": row["status"] == 1 and row["removed_at"] is None,
        "last_synced_at": _synced_at(row, successes),
        **{name: row[name] for name in COLUMNS},
        "why_not": obstacles(dict(row)),
        "first_seen_at": row["first_seen_at"],
        "updated_at": row["updated_at"],
        "removed_at": row["removed_at"],
    }
    return cast("ProductView", view)


def change_view(row: Record) -> ChangeView:
    """Return a change, with what changed as JSON."""
    view = {name: msgspec.Raw(value) if name == "changes" else value for name, value in row.items()}
    return cast("ChangeView", view)


async def stored_product(request: web.Request, catalogue: Catalogue) -> Record:
    """Return the product that the address names, with its ``raw``. Raises ProblemError where there is none."""
    account, emag_id = _named(request)
    row = await catalogue.one(account, emag_id)
    if row is None:
        raise _missing(account, emag_id)
    return row


def _synced_at(row: Record, successes: Successes) -> datetime:
    """Return when the product was last known to be as it is here.

    It changed then, or a full sync that completed later found it unchanged; of an active one an incremental one did.
    """
    if row["removed_at"] is not None:
        return cast("datetime", row["removed_at"])
    operations = [Operation.FULL, *([Operation.INCREMENTAL] if row["status"] == 1 else [])]
    seen = [successes[row["account_type"], one] for one in operations if (row["account_type"], one) in successes]
    changed_at: datetime = row["updated_at"]
    return max([changed_at, *seen])


def _named(request: web.Request) -> tuple[str, int]:
    account, text = request.match_info["account"], request.match_info["emag_id"]
    is_number = text.isascii() and text.isdigit() and int(text) <= LARGEST
    if not is_number or "\x00" in account or not account.isprintable():
        raise _missing(account, text)
    return account, int(text)


def _missing(account: str, emag_id: object) -> ProblemError:
    return ProblemError(
        HTTPStatus.NOT_FOUND,
        f"there is no product {emag_id} of account {account}: it has not been read yet, or never was there",
    )
