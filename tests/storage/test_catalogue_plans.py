"""How the database finds what is asked of the products and the changes: by index, whatever else might be asked."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from emag_syncd.domain.products import Place, ProductFilter, Sort
from emag_syncd.storage import catalogue as catalogue_module
from emag_syncd.storage.catalogue import COUNTED, Catalogue
from emag_syncd.storage.database import Database
from emag_syncd.storage.matching import matching
from emag_syncd.storage.queries import catalogue as sql
from tests.storage.test_plans import Explaining
from tests.support.offers import Connection

FILL = """
INSERT INTO emag_products (account_type, emag_id, status, name, part_number, part_number_key, ean, general_stock)
SELECT CASE n % 2 WHEN 0 THEN 'main' ELSE 'fbe' END, n, 1, 'Produs ' || md5(n::text) || ' ' || md5((n % 997)::text),
    'PN-' || n, 'D' || upper(left(md5(n::text), 8)), ARRAY[(5940000000000 + n)::text], n % 7
FROM generate_series(1, 30000) AS n;
INSERT INTO emag_product_changes (account_type, emag_id, kind, changes)
SELECT 'main', n, CASE WHEN n % 1000 = 0 THEN 'removed' ELSE 'updated' END, '{}' FROM generate_series(1, 30000) AS n;
VACUUM ANALYZE emag_products;
VACUUM ANALYZE emag_product_changes
"""

MAIN = ProductFilter(account="main")
FIRST: dict[str, Any] = {"after_id": None, "after_account": None, "after_value": None, "skip": 0, "limit": 51}
BY_ID: dict[str, Any] = {"key": "id", "kind": None}
WORDS = "emag_products_by_words"
PRIMARY = "emag_products_pkey"


@pytest.fixture
async def filled(database: Database, sql: Connection) -> Database:
    """Give many products and changes."""
    for statement in FILL.split(";"):
        await sql.execute(statement)
    return database


async def indexes(database: Database, query: Any, *, gather: bool = False, **values: Any) -> set[str]:
    """Return the indexes that a plan uses; it must read none of our tables from end to end."""
    async with database.use() as conn, conn.transaction():
        await sql.plan_with_values(conn)
        if gather:
            await sql.gather(conn)
        explaining = Explaining(conn, generic=False)
        planned = query(explaining, **values)
        if hasattr(planned, "__anext__"):
            await anext(planned, None)
        else:
            await planned
    scanned = [node["Relation Name"] for node in explaining.nodes if node["Node Type"] == "Seq Scan"]
    assert not [name for name in scanned if name.startswith("emag_")]
    return {node["Index Name"] for node in explaining.nodes if "Index Name" in node}


@pytest.mark.parametrize(
    "search", ["098f6bcd4621d373", "cade 4fd9", "PN-2999", "D098F6BCD", "5940000012345", "x9", "ab 4f", "7"]
)
async def test_a_search_asks_the_index(filled: Database, search: str) -> None:
    """Names, part numbers, keys and EANs are all found by one index, and so counted, whatever else is filtered."""
    for wanted in (ProductFilter(search=search), replace(MAIN, search=search, status=1, in_stock=True)):
        values = matching(wanted)
        for query in (sql.gathered, sql.gathered_descending):
            used = await indexes(filled, query, gather=True, **values, **FIRST, **BY_ID, most=COUNTED + 1)
            assert used == {WORDS, PRIMARY}
        for query in (sql.page, sql.page_descending):
            assert await indexes(filled, query, gather=True, **values, **FIRST, **BY_ID) == {WORDS}


async def test_pages_by_id_follow_the_primary_key(filled: Database) -> None:
    """From the first page on to the last, both ways, with and without an account."""
    for query in (sql.page, sql.page_descending):
        for wanted in (ProductFilter(), MAIN):
            after = {**FIRST, "after_id": 20_000, "after_account": "main"}
            for where in (FIRST, after):
                assert await indexes(filled, query, **matching(wanted), **where, **BY_ID) == {PRIMARY}
    for query in (sql.nearby, sql.nearby_descending):
        values = {**matching(replace(MAIN, search="Produs")), **after, **BY_ID, "nearby": 20_000}
        assert await indexes(filled, query, **values) == {PRIMARY}


async def test_changes_are_found_by_their_ids(filled: Database) -> None:
    """A follower, a rare kind among many others, and one product's history."""
    feed: dict[str, Any] = {"after": 20_000, "settled": 30_000, "account": None, "limit": 100}
    assert await indexes(filled, sql.changes_after, **feed, kind=None) == {"emag_product_changes_pkey"}
    assert await indexes(filled, sql.changes_after, **feed, kind="removed") == {"emag_product_changes_by_kind"}
    history: dict[str, Any] = {"account": "main", "emag_id": 7, "before": None, "limit": 50}
    assert await indexes(filled, sql.history_of, **history) == {"emag_product_changes_by_offer"}
    assert await indexes(filled, sql.settled) == {"emag_product_changes_pkey"}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Listen to which queries are asked for products, and whether they are told to gather them by index."""
    heard: list[str] = []

    def listening(name: str) -> Any:
        query = getattr(sql, name)

        async def listened(conn: Any, **values: Any) -> AsyncIterator[Any]:
            gathers = await conn.fetchval("SHOW enable_indexscan") == "off"
            heard.append(f"{name}, all by index" if gathers else name)
            async for row in query(conn, **values):
                yield row

        return listened

    for name in ("page", "nearby", "gathered"):
        for whole_name in (name, f"{name}_descending"):
            monkeypatch.setattr(sql, whole_name, listening(whole_name))
    return heard


GATHERED = "gathered, all by index"


@pytest.mark.parametrize(
    ("search", "sort", "expected"),
    [
        ("PN-29999", "id", [GATHERED]),
        ("PN-29999", "-sale_price", ["gathered_descending, all by index"]),
        ("Produs", "id", ["nearby"]),
        ("Produs", "-id", ["nearby_descending", "gathered_descending, all by index", "page_descending, all by index"]),
        ("Produs", "name", [GATHERED, "page, all by index"]),
        ("final", "id", ["nearby", GATHERED, "page, all by index"]),
        ("pr", "id", ["nearby"]),
        (None, "id", ["page"]),
        ("--", "id", ["page"]),
    ],
)
async def test_what_is_rare_is_gathered(
    filled: Database,
    sql: Connection,
    asked: list[str],
    monkeypatch: pytest.MonkeyPatch,
    search: str | None,
    sort: str,
    expected: list[str],
) -> None:
    """What many match is met soon on the way through the products in their order; where it is not, all are gathered."""
    monkeypatch.setattr(catalogue_module, "COUNTED", 3000)
    await sql.execute("UPDATE emag_products SET name = 'La final' WHERE account_type = 'main' AND emag_id > 20000")
    await sql.execute("ANALYZE emag_products")
    page = await Catalogue(filled).page(ProductFilter(search=search), Sort.of(sort), limit=10)
    assert asked == expected
    assert len(page.rows) == {"PN-29999": 1, "--": 0}.get(search or "", 10)


async def test_what_is_common_is_met_in_passing(
    filled: Database, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The index would find every one of the products for a word that all have."""
    monkeypatch.setattr(catalogue_module, "COMMON", 10_000)
    page, total = await Catalogue(filled).found(ProductFilter(search="Produs"), Sort(), limit=50)
    assert asked == ["page"]
    assert (len(page.rows), total.is_estimate) == (50, True)
    assert total.count == pytest.approx(30_000, rel=0.1)


async def test_what_has_no_index_is_noticed(filled: Database) -> None:
    """The tests above can fail."""
    with pytest.raises(AssertionError):
        await indexes(filled, sql.page, **matching(MAIN), **FIRST, key="sale_price", kind="number")


async def test_many_pages_are_one_catalogue(filled: Database) -> None:
    """Reading on finds each of many products once."""
    catalogue, after, seen = Catalogue(filled), None, 0
    while True:
        page = await catalogue.page(ProductFilter(), Sort(), limit=1000, after=after)
        seen += len(page.rows)
        if page.next is None:
            break
        after = Place.of(str(page.next))
    assert seen == 30_000
