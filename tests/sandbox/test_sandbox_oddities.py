"""Odd types: each comes up, each is what its class says, and the marketplace serves them as they are."""

import json
import math
from typing import Any

import aiohttp
import pytest
from tests.sandbox.caller import COUNT, READ, Caller

from emag_syncd.sandbox import ODD, UNFIT, UNUSABLE, AccountSpec, Catalogue, Oddities, Sandbox


def one(name: str, **knobs: Any) -> tuple[Any, bytes, Any]:
    """The first offer that shows an oddity: decoded, as bytes, and as it would be without."""
    catalogue = Catalogue(5, oddities=Oddities(odd=1, unfit=1, only=frozenset({name})), **knobs)
    offer_id = catalogue.ids[0]
    assert catalogue.oddities_of(offer_id) == (name,)
    return catalogue.get(offer_id), catalogue.row(offer_id), Catalogue(5, **knobs).get(offer_id)


@pytest.mark.parametrize("platform", ["emag-ro", "emag-hu", "fd-bg"])
@pytest.mark.parametrize("name", [*ODD, *UNFIT])
def test_each_oddity_is_valid_json_that_keeps_the_id(name: str, platform: str) -> None:
    """Whatever is odd, the row is JSON, its id can be read, and it is not the plain row."""
    offer, row, plain = one(name, platform=platform)
    assert int(offer["id"]) == plain["id"]
    # fd has no Genius keys to miss, hu no images to be without.
    if (name, platform) not in {("genius_missing", "fd-bg"), ("images_empty", "emag-hu")}:
        assert row != Catalogue(5, platform=platform).row(plain["id"])


@pytest.mark.parametrize(
    ("name", "key", "kind"),
    [
        ("id_text", "id", str),
        ("prices_text", "sale_price", str),
        ("stock_text", "general_stock", str),
        ("status_text", "status", str),
        ("ownership_number", "ownership", int),
        ("ean_single_text", "ean", str),
        ("ean_single_number", "ean", int),
        ("validation_object", "validation_status", dict),
        ("offer_validation_list", "offer_validation_status", list),
        ("translation_null", "translation_validation_status", type(None)),
        ("family_null", "family", type(None)),
        ("family_list", "family", list),
        ("start_date_text", "start_date", str),
        ("empty_objects_as_lists", "offer_details", list),
        ("description_null", "description", type(None)),
    ],
)
def test_types_that_were_seen(name: str, key: str, kind: type) -> None:
    """The odd key has the odd type, and the plain offer another one."""
    offer, _, plain = one(name)
    assert type(offer[key]) is kind
    assert type(plain[key]) is not kind


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("part_number_missing", "part_number"),
        ("stock_missing", "stock"),
        ("recommended_missing", "recommended_price"),
        ("genius_missing", "genius_eligibility"),
    ],
)
def test_keys_that_go_missing(name: str, key: str) -> None:
    """A documented key is not there."""
    offer, _, plain = one(name)
    assert key in plain
    assert key not in offer


def test_numbers_in_text_keep_their_value() -> None:
    """A number that comes as text is still the same number."""
    offer, _, plain = one("prices_text")
    assert float(offer["sale_price"]) == plain["sale_price"]
    padded, row, _ = one("price_padded")
    assert float(padded["sale_price"]) == plain["sale_price"]
    assert len(padded["sale_price"].partition(".")[2]) == 4
    assert b'"sale_price":"' in row


def test_text_that_databases_and_decoders_dislike() -> None:
    """NUL characters, lone surrogates, entities and long descriptions are in the bytes."""
    assert b"\\u0000" in one("nul_characters")[1]
    offer, row, _ = one("lone_surrogates")
    assert b"\\ud83d " in row
    with pytest.raises(UnicodeEncodeError):
        offer["name"].encode()
    assert "&quot;" in one("html_entities")[0]["name"]
    assert len(one("description_huge")[1]) > 200_000
    assert len(one("validation_huge_errors")[1]) > 20_000
    assert one("deep_nesting")[1].count(b"[") > 100


def test_orders_that_promise_nothing() -> None:
    """Keys, images and characteristics come in another order with the same content."""
    offer, _, plain = one("key_order")
    assert offer == plain
    assert [*offer] == [*plain][::-1]
    shuffled = one("characteristics_unordered")[0]["characteristics"]
    assert shuffled[:-1] == plain["characteristics"][::-1]


def test_numbers_that_fit_no_column() -> None:
    """Numbers beyond what a column, a bigint or a float can hold."""
    assert math.isinf(one("price_beyond_float")[0]["sale_price"])
    assert one("price_too_large")[0]["sale_price"] >= 10**10
    assert one("stock_beyond_bigint")[0]["general_stock"] == 10**20 > 2**63
    assert one("status_word")[0]["status"] == "x"


def usable(row: Any) -> bool:
    """Whether a row has an id that an offer can be kept under."""
    if not isinstance(row, dict) or isinstance(row.get("id"), bool):
        return False
    text = str(row.get("id", ""))
    return text.isascii() and text.isdigit() and 0 < int(text) < 2**63


def test_unusable_rows_have_no_usable_id_and_the_others_have() -> None:
    """The classes are told apart by the id alone."""
    assert not any(usable(json.loads(row)) for row in UNUSABLE.values())
    assert all(usable(one(name)[0]) for name in [*ODD, *UNFIT])


def test_shares_are_kept() -> None:
    """About the share asked for is odd; every kind comes up in a large catalogue; the same each time."""
    catalogue = Catalogue(4000, oddities=Oddities(odd=0.25, unfit=0.1))
    shown = {offer: catalogue.oddities_of(offer) for offer in catalogue.ids}
    names = [name for found in shown.values() for name in found]
    assert 850 < sum(name in ODD for name in names) < 1150
    assert 300 < sum(name in UNFIT for name in names) < 500
    assert set(names) == {*ODD, *UNFIT}
    same = Catalogue(4000, oddities=Oddities(odd=0.25, unfit=0.1))
    assert shown == {offer: same.oddities_of(offer) for offer in same.ids}


def test_changed_fields_win_over_oddities() -> None:
    """What a test sets is served as set, whatever the offer's oddity."""
    catalogue = Catalogue(1, oddities=Oddities(odd=1, only=frozenset({"prices_text"})))
    catalogue.update(catalogue.ids[0], sale_price=3.25)
    assert catalogue.get(catalogue.ids[0])["sale_price"] == 3.25


def test_filters_see_the_truth_behind_an_oddity() -> None:
    """A status in text is the same status to the filter."""
    oddities = Oddities(odd=1, only=frozenset({"status_text"}))
    odd, plain = Catalogue(80, oddities=oddities), Catalogue(80)
    assert odd.count((("status", 1),)) == plain.count((("status", 1),))
    assert {json.loads(row)["status"] for row in odd.page((("status", 1),), 1, 100)} == {"1"}


async def test_extra_rows_take_places_on_pages(session: aiohttp.ClientSession) -> None:
    """Unusable rows and duplicates fill pages of the size asked for, and count leaves them out."""
    oddities = Oddities(unusable=15, duplicates=5)
    async with Sandbox({"main": AccountSpec(offers=60, oddities=oddities, limited=False)}) as sandbox:
        main = Caller(session, sandbox.base_url, sandbox.accounts["main"])
        pages = [(await main.post(READ, currentPage=page, itemsPerPage=25)).results for page in range(1, 6)]
        count = (await main.post(COUNT)).results["noOfItems"]
        active = await main.everything(status=1)
    assert [len(page) for page in pages] == [25, 25, 25, 5, 0]
    rows = [row for page in pages for row in page]
    assert sum(not usable(row) for row in rows) == 15
    assert len({row["id"] for row in rows if usable(row)}) == 60
    assert count == "60"
    assert all(usable(row) for row in active)
    assert sorted(map(json.dumps, (row for row in rows if not usable(row)))) == sorted(
        json.dumps(json.loads(row)) for row in main.account.catalogue.unusable_rows()
    )


def test_extra_rows_may_be_counted() -> None:
    """By a knob, count includes what is no offer."""
    assert Catalogue(60, oddities=Oddities(unusable=15, duplicates=5, counted=True)).count() == 80


def test_unusable_kinds_can_be_narrowed() -> None:
    """`only` chooses kinds of unusable rows too; without any there are none."""
    chosen = Catalogue(5, oddities=Oddities(unusable=3, only=frozenset({"id_true", "prices_text"})))
    assert chosen.unusable_rows() == [UNUSABLE["id_true"]] * 3
    assert Catalogue(5, oddities=Oddities(unusable=3, only=frozenset({"prices_text"}))).unusable_rows() == []


def test_everything_at_once_is_one_valid_page() -> None:
    """A page with all oddities is JSON to a tolerant decoder."""
    catalogue = Catalogue(100, oddities=Oddities(odd=1, unfit=1, unusable=20, duplicates=5))
    page = json.loads(b"[" + b",".join(catalogue.page((), 1, 200)) + b"]")
    assert len(page) == 125
