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
from emag_syncd.domain.sellability import SALEABLE, SELLING_TRANSLATION, SELLING_VALIDATION
from emag_syncd.storage.connections import Connection, Connections
from emag_syncd.storage.queries import catalogue as sql

COUNTED = 10_000
"""Up to so many products a total is counted; what is above is what the planner thinks, which costs nothing."""

FEW = 3000
"""Up to so many products are sorted at once when they are searched."""

COMMON = 20 * COUNTED
"""What so many products are thought to match is counted by going through them: as many are found soon enough."""

INDEXED = 3
"""Letters that a word needs for the index on words to tell where it occurs."""

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
        async with self._planned() as conn:
            conditions = matching(wanted)
            if conditions["term"]:
                await _counted(conn, conditions, most=FEW + 1)
            return await _page(conn, conditions, sort, limit=limit, skip=skip, after=after)

    async def found(
        self, wanted: ProductFilter, sort: Sort, *, limit: int, skip: int = 0, after: Place | None = None
    ) -> tuple[ProductPage, Total]:
        """Return what ``page`` does, and how many products match: what both have to find out is found out once."""
        async with self._planned() as conn:
            conditions = matching(wanted)
            count = await _counted(conn, conditions, most=COUNTED + 1)
            page = await _page(conn, conditions, sort, limit=limit, skip=skip, after=after)
            return page, await _total(conn, conditions, count)

    async def total(self, wanted: ProductFilter) -> Total:
        """Return how many products match."""
        async with self._planned() as conn:
            conditions = matching(wanted)
            return await _total(conn, conditions, await _counted(conn, conditions, most=COUNTED + 1))

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


async def _counted(conn: Connection, conditions: Mapping[str, Any], *, most: int) -> int:
    """Count what matches, up to ``most``; then let few matches be gathered, and many be met in order.

    The planner can tell which text is common, but not how rare another is: it would go through a million products for
    the fifty that it expects.
    """
    words = (conditions["term"] or "").split()
    gathered = any(len(word) >= INDEXED for word in words) and await _estimated(conn, conditions) <= COMMON
    if gathered:
        await sql.gather(conn, gather=True)
    count = int(await sql.count_up_to(conn, **conditions, most=most))
    if gathered and count > FEW:
        await sql.gather(conn, gather=False)
    return count


async def _estimated(conn: Connection, conditions: Mapping[str, Any]) -> int:
    """Return how many products match by what the planner thinks."""
    plan = msgspec.json.decode(await sql.estimated(conn, **conditions))
    return int(plan[0]["Plan"]["Plan Rows"])


async def _page(
    conn: Connection, conditions: Mapping[str, Any], sort: Sort, *, limit: int, skip: int, after: Place | None
) -> ProductPage:
    query = sql.page_descending if sort.descending else sql.page
    place = {**_after(after), "key": sort.key, "kind": _KINDS.get(sort.key, "number")}
    rows = [row async for row in query(conn, **conditions, **place, limit=limit + 1, skip=skip)]
    is_last = len(rows) <= limit
    rows = rows[:limit]
    return ProductPage(rows, None if is_last else _place(sort, rows[-1]))


async def _total(conn: Connection, conditions: Mapping[str, Any], count: int) -> Total:
    """Return the total: what was counted, or what the planner thinks where that was not all."""
    if count <= COUNTED:
        return Total(count, is_estimate=False)
    return Total(max(count, await _estimated(conn, conditions)), is_estimate=True)


def _place(sort: Sort, row: Record) -> Place:
    return Place(str(sort), row["place"], row["account_type"], row["emag_id"])


def matching(wanted: ProductFilter) -> dict[str, Any]:
    """Return the values of the conditions that a filter is."""
    words = sorted((wanted.search or "").split(), key=len, reverse=True)
    patterns = [_containing(word) for word in words]
    term = " ".join((wanted.search or "").split()) or None
    return {
        "account": wanted.account,
        "status": wanted.status,
        "sellable": wanted.sellable,
        "obstacle": wanted.obstacle,
        "in_stock": wanted.in_stock,
        "validation_status": wanted.validation_status,
        "buy_button": wanted.buy_button,
        "removed": wanted.removed,
        "term": term,
        # The longest words are the rarest, and those that an index is asked for.
        "first_word": patterns[0] if patterns else None,
        "second_word": patterns[1] if patterns[1:] else None,
        "more_words": patterns[2:],
        "part": term and _containing(term),
        "saleable": SALEABLE,
        "selling_validation": sorted(SELLING_VALIDATION),
        "selling_translation": sorted(SELLING_TRANSLATION),
    }


def _containing(text: str) -> str:
    escaped = text.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
    return f"%{escaped}%"


def _after(place: Place | None) -> dict[str, Any]:
    if place is None:
        return {"after_id": None, "after_account": None, "after_value": None}
    return {"after_id": place.emag_id, "after_account": place.account, "after_value": place.value}
