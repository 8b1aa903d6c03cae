"""The stored products and their changes, as people and programs ask for them."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec
from asyncpg import Record

from emag_syncd.domain.changes import ChangeKind
from emag_syncd.domain.products import Key, Place, ProductFilter, Sort
from emag_syncd.storage.connections import Connection, Connections
from emag_syncd.storage.matching import is_indexed, matching
from emag_syncd.storage.queries import catalogue as sql

COUNTED = 15_000
"""Up to so many products a total is counted; what is above is what the planner thinks, which costs nothing."""

NEARBY = 400
"""For each product that is to be found so many are passed before all that match are found by index and sorted."""

COMMON = 200_000
"""What so many products are thought to match is found by going through them: as many are met soon enough. And no more
than so many are ever passed before the index is asked."""

REMEDY = (
    "let a superuser run: CREATE EXTENSION IF NOT EXISTS pg_trgm; CREATE INDEX CONCURRENTLY emag_products_by_words"
    " ON emag_products USING gin (name gin_trgm_ops, part_number gin_trgm_ops, part_number_key gin_trgm_ops, ean)"
)
"""For a database that had no pg_trgm when it was migrated: searching it reads every row."""

_KINDS = {
    Key.ID: None,
    Key.NAME: "words",
    Key.PART_NUMBER: "words",
    Key.BRAND: "words",
    Key.UPDATED_AT: "moment",
    Key.FIRST_SEEN_AT: "moment",
}
"""What kind of value each key is; the others are numbers."""


@dataclass(frozen=True, slots=True)
class ProductPage:
    """Products in their order, and the place of the last one where more follow."""

    rows: list[Record]
    next: Place | None


@dataclass(frozen=True, slots=True)
class Total:
    """How many products there are; above ``COUNTED`` it is an estimate."""

    count: int
    is_estimate: bool


class Catalogue:
    """Every method raises DatabaseError when PostgreSQL does not answer."""

    def __init__(self, connections: Connections) -> None:
        """Read through ``connections``."""
        self._connections = connections

    async def page(
        self, wanted: ProductFilter, sort: Sort, *, limit: int, skip: int = 0, after: Place | None = None
    ) -> ProductPage:
        """Return up to ``limit`` products, those behind ``after`` if given, without the first ``skip``.

        ``after`` must be of the same order. Rows have every column but ``raw`` and the hashes.
        """
        asked = _Asked(matching(wanted), sort, limit, skip, after)
        async with self._planned() as conn:
            return (await _gathered(conn, asked, counting=False)).page or await _page(conn, asked)

    async def found(
        self, wanted: ProductFilter, sort: Sort, *, limit: int, skip: int = 0, after: Place | None = None
    ) -> tuple[ProductPage, Total]:
        """Return what ``page`` does, and how many products match: what both have to find out is found out once."""
        asked = _Asked(matching(wanted), sort, limit, skip, after)
        async with self._planned() as conn:
            gathered = await _gathered(conn, asked, counting=True)
            page = gathered.page or await _page(conn, asked)
            count = gathered.count
            if count is None:
                count = int(await sql.count_up_to(conn, **asked.conditions, most=COUNTED + 1))
            if count <= COUNTED:
                return page, Total(count, is_estimate=False)
            estimate = gathered.estimate or await _estimated(conn, asked.conditions)
            return page, Total(max(count, estimate), is_estimate=True)

    async def one(self, account: str, emag_id: int) -> Record | None:
        """Return a product with its ``raw``, as JSON, removed ones too."""
        async with self._connections.use() as conn:
            row: Record | None = await sql.one(conn, account=account, emag_id=emag_id)
        return row

    async def history(self, account: str, emag_id: int, *, limit: int, before: int | None = None) -> list[Record]:
        """Return a product's changes, newest first, those with an id below ``before`` if given."""
        async with self._connections.use() as conn:
            found = sql.history_of(conn, account=account, emag_id=emag_id, limit=limit, before=before)
            return [row async for row in found]

    async def points(self, account: str, emag_id: int, *, limit: int) -> list[Record]:
        """Return when a product's price, stock or rank changed and to what, newest first.

        The values are JSON, None for what did not change; at ``removed`` and ``restored`` the product went and came.
        """
        async with self._connections.use() as conn:
            return [row async for row in sql.points(conn, account=account, emag_id=emag_id, limit=limit)]

    async def changes_after(
        self, after: int, *, limit: int, account: str | None = None, kind: ChangeKind | None = None
    ) -> list[Record]:
        """Return changes with an id above ``after``, oldest first.

        Whoever follows them misses none: of what several accounts write at once, nothing is shown before all of it
        that comes earlier has been committed.
        """
        return await self.settled_changes(sql.changes_after, after=after, account=account, kind=kind, limit=limit)

    async def settled_changes(self, query: Any, **values: Any) -> list[Record]:
        """Return what a query finds among the changes below which no other can appear any more."""
        async with self._connections.use() as conn, conn.transaction(isolation="read_committed", readonly=True):
            await sql.plan_with_values(conn)
            # A statement of its own: what the next one sees must be no older than this.
            settled = await sql.settled(conn)
            return [row async for row in query(conn, settled=settled, **values)]

    async def changes_before(
        self,
        before: int | None = None,
        *,
        limit: int,
        account: str | None = None,
        kind: ChangeKind | None = None,
        run_id: UUID | None = None,
        column: str | None = None,
    ) -> list[Record]:
        """Return changes newest first, those with an id below ``before`` if given, with their products' names.

        ``column`` is one that changed.
        """
        values = {"before": before, "limit": limit, "account": account, "kind": kind, "run_id": run_id}
        return await self.rows(sql.changes_before, **values, column=column)

    async def rows(self, query: Any, **values: Any) -> list[Record]:
        """Return what a query finds, planned with its values."""
        async with self._planned() as conn:
            return [row async for row in query(conn, **values)]

    async def endings(self, days: int) -> dict[str, int]:
        """Return how many runs that began in these last days ended in each status."""
        async with self._connections.use() as conn:
            return {row["status"]: row["runs"] async for row in sql.endings(conn, days=days)}

    async def is_searchable(self) -> bool:
        """Tell whether searching has its index; ``REMEDY`` says what to do where it has not."""
        async with self._connections.use() as conn:
            return bool(await sql.is_searchable(conn))

    @asynccontextmanager
    async def _planned(self) -> AsyncIterator[Connection]:
        """Lend a connection whose queries are planned with their values."""
        async with self._connections.use() as conn, conn.transaction(readonly=True):
            await sql.plan_with_values(conn)
            yield conn


@dataclass(frozen=True, slots=True)
class _Asked:
    """A part of the products that match, in an order."""

    conditions: Mapping[str, Any]
    sort: Sort
    limit: int
    skip: int
    after: Place | None

    async def rows(self, conn: Connection, query: Any, **more: Any) -> list[Record]:
        """Return what a query finds, and one row more where more follow."""
        place = {**_after(self.after), "key": self.sort.key, "kind": _KINDS.get(self.sort.key, "number")}
        found = query(conn, **self.conditions, **place, limit=self.limit + 1, skip=self.skip, **more)
        return [row async for row in found]

    def page(self, rows: list[Record]) -> ProductPage:
        """Return what was asked for of these rows."""
        is_last = len(rows) <= self.limit
        rows = rows[: self.limit]
        return ProductPage(rows, None if is_last else _place(self.sort, rows[-1]))


@dataclass(frozen=True, slots=True)
class _Gathered:
    """What the index has found of what is searched for, if it was asked at all."""

    estimate: int | None = None
    """How many match, by what the planner thinks."""
    count: int | None = None
    """How many were found: one more than those that may be gathered, where there are more."""
    page: ProductPage | None = None


async def _gathered(conn: Connection, asked: _Asked, *, counting: bool) -> _Gathered:
    """Find what is searched for by index: the page, and, if that is asked for, how many match.

    Where many match a page of them is soon full on the way through the products in their order, most often.
    """
    if not is_indexed(asked.conditions):
        return _Gathered()
    # The planner can tell which text is common, but not how rare another is: it would go through a million products for
    # the fifty that it expects.
    estimate = await _estimated(conn, asked.conditions)
    if estimate > COMMON:
        return _Gathered(estimate)
    page = await _nearby(conn, asked) if estimate > COUNTED and asked.sort.key is Key.ID else None
    if page and not counting:
        return _Gathered(estimate, page=page)
    await sql.gather(conn)
    query = sql.gathered_descending if asked.sort.descending else sql.gathered
    rows = await asked.rows(conn, query, most=COUNTED + 1)
    count, rows = rows[0]["found"], [row for row in rows if row["emag_id"] is not None]
    if count <= COUNTED:
        page = asked.page(rows)
    return _Gathered(estimate, count, page or await _page(conn, asked))


async def _nearby(conn: Connection, asked: _Asked) -> ProductPage | None:
    """Return the page if it is full soon on the way through the products in their order."""
    nearby = min(NEARBY * (asked.skip + asked.limit + 1), COMMON)
    query = sql.nearby_descending if asked.sort.descending else sql.nearby
    page = asked.page(await asked.rows(conn, query, nearby=nearby))
    return page if page.next else None


async def _estimated(conn: Connection, conditions: Mapping[str, Any]) -> int:
    """Return how many products match by what the planner thinks."""
    plan = msgspec.json.decode(await sql.estimated(conn, **conditions))
    return int(plan[0]["Plan"]["Plan Rows"])


async def _page(conn: Connection, asked: _Asked) -> ProductPage:
    return asked.page(await asked.rows(conn, sql.page_descending if asked.sort.descending else sql.page))


def _place(sort: Sort, row: Record) -> Place:
    return Place(str(sort), row["place"], row["account_type"], row["emag_id"])


def _after(place: Place | None) -> dict[str, Any]:
    if place is None:
        return {"after_id": None, "after_account": None, "after_value": None}
    return {"after_id": place.emag_id, "after_account": place.account, "after_value": place.value}
