"""The stored products as they are asked for: filters, search, orders, places, totals."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from emag_syncd.domain.products import SORTS, BuyButton, Place, ProductFilter, Removed, Sellable, Sort
from emag_syncd.domain.sellability import Obstacle, obstacles
from emag_syncd.storage import catalogue as catalogue_module
from emag_syncd.storage.catalogue import Catalogue, ProductPage, Total
from emag_syncd.storage.database import Database
from tests.support.offers import Connection

EVERYTHING = ProductFilter(removed=Removed.ANY)
COLUMNS = (
    "emag_id, account_type, name, part_number, part_number_key, ean, status, sale_price, general_stock,"
    " buy_button_rank, validation_status, translation_validation_status, offer_validation_status, is_sellable,"
    " removed_at, updated_at"
)
ROWS = """
(1, 'main', 'Husă iPhone 13 Pro neagră', 'HS-13', 'DKK1', '{5941234567890,12345678}', 1, 89.9, 3, 1, 9, NULL, 1, true,
    NULL, '2026-01-01Z'),
(2, 'main', 'Cablu USB-C 100% cupru', 'CB_2', 'DKK2', '{}', 1, 19.9, 0, 2, 9, NULL, 1, false, NULL, '2026-01-02Z'),
(3, 'main', 'Cablu USB-C', 'CBX2', 'DKK3', NULL, 0, NULL, 5, NULL, 8, NULL, 1, false, NULL, '2026-01-03Z'),
(4, 'main', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '2026-01-04Z'),
(5, 'main', 'Pro husă', 'HS-5', 'DKK5', NULL, 1, 5, 1, 3, 9, NULL, 2, false, NULL, '2026-01-05Z'),
(6, 'main', 'Husă iPhone 12', 'HS-6', 'DKK6', NULL, 1, 10, 0, 1, 9, NULL, 1, false, now(), '2026-01-06Z'),
(7, 'main', 'Tradus', 'TR-7', 'DKK7', NULL, 1, 7, 4, 1, 9, 14, 1, false, NULL, '2026-01-07Z'),
(1, 'fbe', 'Husă iPhone 13 Pro neagră', 'HS-13', 'DKK1', NULL, 1, 89.9, 9, 1, 9, NULL, 1, true, NULL, '2026-01-08Z')
"""


@pytest.fixture
async def catalogue(database: Database, sql: Connection) -> Catalogue:
    """Give the products above."""
    await sql.execute(f"INSERT INTO emag_products ({COLUMNS}) VALUES {ROWS}")
    return Catalogue(database)


async def found(catalogue: Catalogue, wanted: ProductFilter, sort: str = "id", **more: Any) -> list[tuple[str, int]]:
    """Return the accounts and ids of what matches; the total must say the same."""
    page, total = await catalogue.found(wanted, Sort.of(sort), limit=100, **more)
    assert (total.count, total.is_estimate) == (len(page.rows), False)
    alone = await catalogue.page(wanted, Sort.of(sort), limit=100, **more)
    assert ids(alone) == ids(page)
    assert page.next is alone.next is None
    return ids(page)


def ids(*pages: ProductPage) -> list[tuple[str, int]]:
    """Return the accounts and ids of the products of pages."""
    return [(row["account_type"], row["emag_id"]) for page in pages for row in page.rows]


MAIN = ProductFilter(account="main")


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [
        (MAIN, [1, 2, 3, 4, 5, 7]),
        (replace(MAIN, removed=Removed.YES), [6]),
        (replace(MAIN, removed=Removed.ANY), [1, 2, 3, 4, 5, 6, 7]),
        (replace(MAIN, status=0), [3]),
        (replace(MAIN, sellable=Sellable.YES), [1]),
        (replace(MAIN, sellable=Sellable.NO), [2, 3, 5, 7]),
        (replace(MAIN, sellable=Sellable.UNKNOWN), [4]),
        (replace(MAIN, in_stock=True), [1, 3, 5, 7]),
        (replace(MAIN, in_stock=False), [2]),
        (replace(MAIN, validation_status=8), [3]),
        (replace(MAIN, buy_button=BuyButton.WON), [1, 7]),
        (replace(MAIN, buy_button=BuyButton.LOST), [2, 5]),
        (replace(MAIN, buy_button=BuyButton.NONE), [3, 4]),
        (replace(MAIN, obstacle=Obstacle.STOCK), [2]),
        (replace(MAIN, obstacle=Obstacle.STATUS), [3]),
        (replace(MAIN, obstacle=Obstacle.PRICE), [5]),
        (replace(MAIN, obstacle=Obstacle.VALIDATION), [3]),
        (replace(MAIN, obstacle=Obstacle.TRANSLATION), [7]),
        (replace(MAIN, status=1, buy_button=BuyButton.LOST, search="cablu"), [2]),
        (ProductFilter(account="gone"), []),
    ],
)
async def test_products_are_filtered(catalogue: Catalogue, wanted: ProductFilter, ids: list[int]) -> None:
    """Each filter alone, and several together, find what they say; the total agrees."""
    assert await found(catalogue, wanted) == [("main", emag_id) for emag_id in ids]


@pytest.mark.parametrize(
    ("search", "ids"),
    [
        ("iphone", [1]),
        ("  PRO   husă ", [1, 5]),
        ("husă pro 13 neagră", [1]),
        ("husă pro 13 verde", []),
        ("hs-13", [1]),
        ("CB_2", [2]),
        ("dkk3", [3]),
        ("100%", [2]),
        ("5941234567890", [1]),
        ("594123456789", []),
        ("12345678", [1]),
        ("\\", []),
        ("", [1, 2, 3, 4, 5, 7]),
        ("us", [2, 3]),
        ("c", [2, 3]),
        ("13", [1]),
        ("hs", [1, 5]),
        ("s-", []),
        ("pr 13", [1]),
        ("hu p iphone", [1]),
        ("u c 10", [2]),
        (".", []),
    ],
)
async def test_products_are_searched(catalogue: Catalogue, search: str, ids: list[int]) -> None:
    """Words of the name in any order, parts of a part number or key, or an EAN; of one or two letters, beginnings.

    Nothing in a search is a wildcard.
    """
    assert await found(catalogue, replace(MAIN, search=search)) == [("main", emag_id) for emag_id in ids]


async def test_searching_works_without_the_extension(catalogue: Catalogue, sql: Connection) -> None:
    """Where pg_trgm can't be had, the same is found, and it is said that this is slow."""
    assert await catalogue.is_searchable()
    await sql.execute("DROP EXTENSION pg_trgm CASCADE")
    assert not await catalogue.is_searchable()
    assert await found(catalogue, replace(MAIN, search="iphone pro")) == [("main", 1)]
    await sql.execute(catalogue_module.REMEDY.partition("run: ")[2].partition(";")[0])
    await sql.execute(catalogue_module.REMEDY.partition("; ")[2])
    assert await catalogue.is_searchable()


@pytest.mark.parametrize(
    ("sort", "first", "last"),
    [
        ("id", ("fbe", 1), ("main", 7)),
        ("-id", ("main", 7), ("fbe", 1)),
        ("sale_price", ("main", 3), ("main", 1)),
        ("-sale_price", ("main", 1), ("main", 3)),
        ("-general_stock", ("fbe", 1), ("main", 4)),
        ("part_number", ("main", 4), ("main", 7)),
        ("-updated_at", ("fbe", 1), ("main", 1)),
    ],
)
async def test_products_are_sorted(
    catalogue: Catalogue, sort: str, first: tuple[str, int], last: tuple[str, int]
) -> None:
    """What has no value counts as the smallest; equal ones come in the order of account and id."""
    in_order = await found(catalogue, EVERYTHING, sort)
    assert (in_order[0], in_order[-1]) == (first, last)


@pytest.mark.parametrize("sort", SORTS)
async def test_pages_are_read_one_after_the_other(catalogue: Catalogue, sort: str) -> None:
    """In every order, each page begins behind the place where the last one ended; skipping leads to the same."""
    whole = await found(catalogue, EVERYTHING, sort)
    by_place, after = [], None
    while True:
        page = await catalogue.page(EVERYTHING, Sort.of(sort), limit=3, after=after)
        by_place += [(row["account_type"], row["emag_id"]) for row in page.rows]
        if page.next is None:
            break
        after = Place.of(str(page.next))
    assert by_place == whole
    assert len(set(whole)) == 8
    assert await catalogue.page(EVERYTHING, Sort.of(sort), limit=3, skip=8) == ProductPage([], None)


async def test_a_total_is_counted_up_to_a_bound(
    catalogue: Catalogue, sql: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is beyond it is the planner's estimate, and said to be one."""
    monkeypatch.setattr(catalogue_module, "COUNTED", 5)
    await sql.execute("ANALYZE emag_products")
    _, total = await catalogue.found(EVERYTHING, Sort(), limit=1)
    assert total.is_estimate
    assert total.count == pytest.approx(8, abs=2)
    _, total = await catalogue.found(replace(MAIN, removed=Removed.YES), Sort(), limit=1)
    assert total == Total(1, is_estimate=False)


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize(("most", "nearby"), [(3000, 400), (4, 400), (3, 400), (3, 0), (0, 1), (0, 0)])
async def test_few_and_many_matches_are_the_same_pages(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch, sort: str, most: int, nearby: int
) -> None:
    """However the matches of a search are come by, they are the same in the same order, and read on the same."""
    wanted, order = replace(EVERYTHING, search="husă"), Sort.of(sort)
    whole = await found(catalogue, wanted, sort)
    assert set(whole) == {("main", 6), ("main", 5), ("main", 1), ("fbe", 1)}
    for name, value in (("COUNTED", most), ("NEARBY", nearby)):
        monkeypatch.setattr(catalogue_module, name, value)
    first = await catalogue.page(wanted, order, limit=2)
    second, total = await catalogue.found(wanted, order, limit=9, after=first.next)
    assert ids(first, second) == whole
    assert total == Total(4, is_estimate=False) if most >= 4 else total.is_estimate
    assert ids(await catalogue.page(wanted, order, limit=2, skip=1)) == whole[1:3]
    for skip in (4, 2**63 - 1):
        behind_all, _ = await catalogue.found(wanted, order, limit=2, skip=skip)
        assert (behind_all.rows, behind_all.next) == ([], None)


async def test_obstacles_are_those_of_the_filter(catalogue: Catalogue) -> None:
    """What is said of one product is what it is found by."""
    for obstacle in Obstacle:
        page = await catalogue.page(replace(MAIN, obstacle=obstacle), Sort(), limit=10)
        assert page.rows
        assert all(obstacle in obstacles(dict(row)) for row in page.rows)
    everything = await catalogue.page(EVERYTHING, Sort(), limit=10)
    named = {obstacle for row in everything.rows for obstacle in obstacles(dict(row))}
    assert named == set(Obstacle)


async def test_one_product(catalogue: Catalogue) -> None:
    """A product is found by account and id, and has its raw form."""
    row = await catalogue.one("main", 1)
    assert row is not None
    assert (row["sale_price"], row["ean"]) == (Decimal("89.9000"), ["5941234567890", "12345678"])
    assert "raw" in row.keys()  # noqa: SIM118 - a Record iterates over its values
    assert await catalogue.one("gone", 1) is None


@pytest.mark.parametrize("text", ["", "x", "bm9uc2Vuc2U", "ñ", "e30", "WyJpZCIsbnVsbCwibWFpbiIsMS41XQ"])
def test_a_place_that_is_none_is_refused(text: str) -> None:
    """Only what an answer gave is taken."""
    with pytest.raises(ValueError, match="earlier answer"):
        Place.of(text)
