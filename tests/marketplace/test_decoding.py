"""Decoding: every column from every shape that was ever seen, and a warning for what doesn't fit."""

import json
from decimal import Decimal
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emag_syncd.domain.offers import COLUMNS, Offer
from emag_syncd.marketplace.decoding import decode
from emag_syncd.marketplace.splitting import split

EXAMPLE: dict[str, Any] = {
    "id": 40217,
    "part_number_key": "D7K2QXYBM",
    "part_number": "KBL-USB-C-2M",
    "name": "Cablu USB-C 2 m, 60 W, negru",
    "brand": "Voltora",
    "category_id": 1284,
    "vendor_category_id": None,
    "warranty": 24,
    "vat_id": 1,
    "sale_price": 28.9256,
    "recommended_price": 0,
    "min_sale_price": 20.5,
    "max_sale_price": 61.9,
    "best_offer_sale_price": 27.686,
    "best_offer_recommended_price": None,
    "currency": "RON",
    "ean": ["5941234567893"],
    "general_stock": 37,
    "estimated_stock": 35,
    "status": 1,
    "images": [{"url": "https://cdn.example.ro/a/40217-1.jpg", "display_type": 1}],
    "number_of_offers": 4,
    "buy_button_rank": 2,
    "ownership": True,
    "validation_status": [{"value": 9, "description": "Approved documentation", "errors": None}],
    "translation_validation_status": [{"value": 9, "description": "Approved documentation", "errors": None}],
    "offer_validation_status": {"value": 1, "description": "Saleable", "errors": None},
}


def decoded(offer: dict[str, Any] | str) -> Offer:
    """Decode an offer, given as a dict or as JSON."""
    text = offer if isinstance(offer, str) else json.dumps(offer)
    return decode(split(f"[{text}]".encode()).items[0])


def column(name: str, value: Any, key: str | None = None) -> Any:
    """Return what a column becomes, having shown that it raised no warning."""
    offer = decoded({"id": 1, key or name: value})
    assert offer.odd == ()
    return offer.columns[name]


def test_the_example_of_the_documentation() -> None:
    """Every column of the usual offer, and its own bytes."""
    offer = decoded(EXAMPLE)
    assert offer.odd == ()
    assert offer.raw == json.dumps(EXAMPLE).encode()
    assert offer.columns.keys() == set(COLUMNS)
    expected = {key: EXAMPLE[key] for key in COLUMNS if key in EXAMPLE} | {
        "sale_price": Decimal("28.9256"),
        "recommended_price": Decimal(0),
        "min_sale_price": Decimal("20.5"),
        "max_sale_price": Decimal("61.9"),
        "best_offer_sale_price": Decimal("27.686"),
        "ownership": 1,
        "validation_status": 9,
        "translation_validation_status": 9,
        "offer_validation_status": 1,
        "is_sellable": True,
        "main_image_url": "https://cdn.example.ro/a/40217-1.jpg",
    }
    assert offer.columns == expected


def test_an_offer_of_nothing_but_its_id() -> None:
    """Missing is null everywhere, without a warning: missing stock is not zero."""
    offer = decoded({"id": 1})
    assert offer.columns == dict.fromkeys(COLUMNS)
    assert offer.odd == ()


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("part_number", "", ""),
        ("part_number", 123, "123"),
        ("name", "&icirc; <b>", "&icirc; <b>"),
        ("status", "1", 1),
        ("status", 1.0, 1),
        ("warranty", "", None),
        ("warranty", " 24 ", 24),
        ("general_stock", -(2**31), -(2**31)),
        ("category_id", 2**40, 2**40),
        ("vat_id", "4", 4),
        ("sale_price", "28.9256", Decimal("28.9256")),
        ("sale_price", "", None),
        ("sale_price", 0.1, Decimal("0.1000")),
        ("sale_price", 1.00005, Decimal("1.0001")),
        ("sale_price", -1.00005, Decimal("-1.0001")),
        ("sale_price", "9999999999.9999", Decimal("9999999999.9999")),
        ("ownership", False, 2),
        ("ownership", 2, 2),
        ("ownership", "1", 1),
        ("ean", [], []),
        ("ean", {}, []),
        ("ean", "", []),
        ("ean", None, None),
        ("ean", "0012345678905", ["0012345678905"]),
        ("ean", 5941234567893, ["5941234567893"]),
        ("ean", ["001", None, "", 7], ["001", "7"]),
        ("validation_status", 9, 9),
        ("validation_status", "9", 9),
        ("validation_status", {"value": "11"}, 11),
        ("validation_status", [{"value": 9, "errors": []}], 9),
        ("validation_status", [9], 9),
        ("validation_status", [], None),
        ("validation_status", {}, None),
        ("validation_status", {"value": None}, None),
        ("translation_validation_status", None, None),
        ("offer_validation_status", [{"value": 2}], 2),
    ],
)
def test_a_value_in_another_shape(name: str, value: Any, expected: Any) -> None:
    """Each tolerated shape gives the column's value, and no warning."""
    found = column(name, value)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("part_number", ["a"]),
        ("part_number", True),
        ("name", {"ro": "x"}),
        ("status", True),
        ("status", "active"),
        ("general_stock", 2**31),
        ("general_stock", "3.5"),
        ("general_stock", 3.5),
        ("general_stock", [3]),
        ("category_id", 2**63),
        ("vat_id", "9" * 30),
        ("sale_price", "12,50"),
        ("sale_price", "NaN"),
        ("sale_price", "1_000"),
        ("sale_price", 10**10),
        ("sale_price", "9999999999.99995"),
        ("sale_price", True),
        ("sale_price", {"amount": 1}),
        ("ownership", 0),
        ("ownership", 3),
        ("ownership", "mine"),
        ("ean", True),
        ("ean", [["1"]]),
        ("validation_status", [{"value": 9}, {"value": 10}]),
        ("validation_status", {"value": "approved"}),
        ("validation_status", {"value": 2**31}),
        ("main_image_url", "https://x/1.jpg"),
    ],
)
def test_a_value_that_does_not_fit(name: str, value: Any) -> None:
    """Its column is null and named in a warning; every other column is as it was, and raw has it all."""
    key = "images" if name == "main_image_url" else name
    offer, usual = decoded(EXAMPLE | {key: value}), decoded(EXAMPLE)
    assert [odd.column for odd in offer.odd] == [name]
    differing = {other for other in COLUMNS if offer.columns[other] != usual.columns[other]}
    assert differing - {"is_sellable"} == {name}
    assert offer.columns[name] is None
    assert json.loads(offer.raw)[key] == value


def test_a_warning_is_short() -> None:
    """A huge value is shown by its beginning."""
    [odd] = decoded({"id": 1, "status": "x" * 10_000}).odd
    assert odd.column == "status"
    assert odd.value.startswith('"xxx')
    assert len(odd.value) == 200


def test_a_number_beyond_all_limits_costs_its_column_only() -> None:
    """What not even a decoder takes becomes a string in raw, and its column a warning."""
    offer = decoded('{"id": 1, "name": "n", "sale_price": 1e99999, "status": ' + "7" * 5000 + "}")
    assert offer.columns["name"] == "n"
    assert {odd.column for odd in offer.odd} == {"sale_price", "status"}
    assert json.loads(offer.raw)["sale_price"] == "1e99999"


@pytest.mark.parametrize(
    ("offer", "brand"),
    [
        ({"brand": "A", "brand_name": "B"}, "A"),
        ({"brand_name": "B"}, "B"),
        ({"brand": None, "brand_name": "B"}, "B"),
        ({"brand": "", "brand_name": "B"}, "B"),
        ({"brand": ""}, ""),
        ({"brand_name": ["B"]}, None),
    ],
)
def test_the_brand_has_two_names(offer: dict[str, Any], brand: str | None) -> None:
    """brand_name stands in where brand says nothing."""
    assert decoded({"id": 1, **offer}).columns["brand"] == brand


@pytest.mark.parametrize(
    ("images", "url"),
    [
        (
            [
                {"url": "b", "display_type": 1},
                {"url": "a", "display_type": "1"},
                {"url": "0", "display_type": 2},
            ],
            "a",
        ),
        ([{"url": "a", "display_type": 0}], None),
        (
            [{"url": "", "display_type": 1}, {"display_type": 1}, {"url": 5, "display_type": 1}, "x", None],
            None,
        ),
        ({"url": "a", "display_type": 1}, "a"),
        ([], None),
        ({}, None),
        (None, None),
    ],
)
def test_the_main_image_is_the_same_in_any_order(images: Any, url: str | None) -> None:
    """Of several main images always the same one; broken entries are passed over."""
    assert column("main_image_url", images, "images") == url
    if isinstance(images, list):
        assert column("main_image_url", images[::-1], "images") == url


@pytest.mark.parametrize(("translation", "sells"), [(17, True), (14, False), (None, None)])
def test_a_translated_offer_needs_its_translation(translation: int | None, sells: bool | None) -> None:
    """Only what was translated automatically is asked for the translation's status."""
    offer = EXAMPLE | {"translation_validation_status": translation}
    assert decoded(offer).columns["is_sellable"] is True
    assert decoded(offer | {"auto_translated": 1}).columns["is_sellable"] is sells


PRICE = st.decimals(-(10**11), 10**11, places=6)


@given(price=PRICE)
@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_prices_are_rounded_as_postgresql_does(sql: "asyncpg.Connection[asyncpg.Record]", price: Decimal) -> None:
    """A price is what its column holds after PostgreSQL rounded it, or a warning where the column refuses it."""
    offer = decoded(f'{{"id": 1, "sale_price": {price:f}}}')
    try:
        stored = await sql.fetchval("SELECT $1::text::numeric(14, 4)", f"{price:f}")
    except asyncpg.NumericValueOutOfRangeError:
        stored = None
    assert offer.columns["sale_price"] == stored
    assert bool(offer.odd) is (stored is None)
