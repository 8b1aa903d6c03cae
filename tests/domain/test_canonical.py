"""The canonical form: what counts as the same, and what never does."""

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emag_syncd.domain.canonical import canonical, content_hash, parse, top_level_differences

OFFER: dict[str, Any] = {
    "id": 40217,
    "name": "Cablu",
    "sale_price": 28.9256,
    "recommended_price": 20,
    "general_stock": 37,
    "currency": "RON",
    "weight": "0.08",
    "ean": ["0041234567893"],
    "images": [{"url": "a", "display_type": 1}, {"url": "b", "display_type": 2}],
    "characteristics": [{"id": 1, "value": "x"}, {"id": 1, "value": "y"}, {"id": 2, "value": "z"}],
    "stock": [{"warehouse_id": 1, "value": 30}, {"warehouse_id": 2, "value": 7}],
    "handling_time": [{"value": 1}],
    "family": None,
    "offer_details": {"id": 1, "emag_club": 0},
    "ownership": True,
    "manufacturer": True,
    "eu_representative": False,
    "validation_status": [{"value": 9, "description": "Approved", "errors": None}],
    "offer_validation_status": {"value": 1, "description": "Saleable", "errors": None},
    "translation_validation_status": [],
    "start_date": "",
}

SAME: list[tuple[str, list[Any]]] = [
    ("id", ["40217", 40217.0]),
    ("sale_price", ["28.9256", "28.92560", " 28.9256", 2.89256e1]),
    ("recommended_price", [20.0, "20", "20.00", 2e1]),
    ("general_stock", ["37", 37.0]),
    ("ownership", [1, "1"]),
    ("manufacturer", [[{"name": "M", "address": "A", "email": "e"}], {"name": "M"}, 1]),
    ("eu_representative", [[], None, {}, 0]),
    ("family", [[], {}, ""]),
    ("start_date", [[], None, {}]),
    ("handling_time", [{"value": 1}]),
    ("ean", ["0041234567893", ["0041234567893", None]]),
    (
        "validation_status",
        [OFFER["validation_status"][0], [{"value": "9", "description": "Approved", "errors": []}]],
    ),
    ("offer_validation_status", [[OFFER["offer_validation_status"]]]),
    ("translation_validation_status", [None, {}, [{}], ""]),
]

DIFFERENT: list[tuple[str, list[Any]]] = [
    ("id", [40218, "040218"]),
    ("name", ["cablu", "Cablu ", None, ["Cablu"]]),
    ("sale_price", [28.92561, "28,9256", None, 0]),
    ("recommended_price", [None, 0, True]),
    ("general_stock", [0, None, "many"]),
    ("weight", [0.08, "0.080"]),
    ("ean", [[], None, ["41234567893"], 41234567893, ["0041234567893", "1"]]),
    ("images", [[], OFFER["images"][:1]]),
    ("characteristics", [OFFER["characteristics"][:2], [*OFFER["characteristics"], {"id": 2, "value": "z"}]]),
    ("family", [{"id": 0}, 0, False]),
    ("offer_details", [{"id": 1, "emag_club": False}, {"id": 1}]),
    ("ownership", [False, 2, None]),
    ("manufacturer", [False, []]),
    ("validation_status", [[{"value": 9, "description": "Approved", "errors": [{"e": 1}]}], None, 9]),
    ("offer_validation_status", [{"value": 2, "description": "Saleable", "errors": None}]),
]


def hashed(offer: Any) -> bytes:
    """Hash an offer the way it comes: from JSON."""
    return content_hash(parse(json.dumps(offer).encode()))


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Return the keys that differ."""
    return top_level_differences(canonical(old), canonical(new))


@pytest.mark.parametrize(("key", "values"), SAME)
def test_other_spellings_are_the_same(key: str, values: list[Any]) -> None:
    """Each spelling gives the same hash and no difference."""
    for value in values:
        other = parse(json.dumps(OFFER | {key: value}).encode())
        assert content_hash(other) == hashed(OFFER), value
        assert differences(parse(json.dumps(OFFER).encode()), other) == []


@pytest.mark.parametrize(("key", "values"), DIFFERENT)
def test_other_values_are_a_change(key: str, values: list[Any]) -> None:
    """Each value gives another hash, and the one key that differs."""
    hashes = {hashed(OFFER)}
    for value in values:
        other = parse(json.dumps(OFFER | {key: value}).encode())
        hashes.add(content_hash(other))
        assert differences(parse(json.dumps(OFFER).encode()), other) == [key], value
    assert len(hashes) > 1
    assert hashed(OFFER) not in {hashed(OFFER | {key: value}) for value in values}


@given(seed=st.integers(), choices=st.lists(st.sampled_from(SAME), max_size=6))
def test_any_mixture_of_spellings_and_orders_is_the_same(seed: int, choices: list[tuple[str, list[Any]]]) -> None:
    """Keys in any order, lists without an order shuffled, several spellings at once."""
    chance = random.Random(seed)
    offer = dict(OFFER)
    for key in ("images", "characteristics", "stock"):
        offer[key] = chance.sample([shuffled(entry, chance) for entry in offer[key]], len(offer[key]))
    for key, values in choices:
        offer[key] = chance.choice(values)
    assert hashed(shuffled(offer, chance)) == hashed(OFFER)


def shuffled(entry: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    """Return the same keys in another order."""
    return dict(chance.sample(list(entry.items()), len(entry)))


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(), inner, max_size=3)),
    max_leaves=6,
)


@given(key=st.text(), one=JSON, other=JSON)
def test_any_difference_in_an_unknown_key_is_a_change(key: str, one: Any, other: Any) -> None:
    """Keys that nobody told us about are compared as they are, true never being 1."""
    key = f"x_{key}"
    first, second = OFFER | {key: one}, OFFER | {key: other}
    differ = json.dumps(one, sort_keys=True) != json.dumps(other, sort_keys=True)
    assert (hashed(first) != hashed(second)) is differ
    assert differences(first, second) == ([key] if differ else [])
    assert hashed(OFFER) != hashed(first)


def test_a_key_that_comes_or_goes_is_a_change() -> None:
    """Missing is not null."""
    without = {key: value for key, value in OFFER.items() if key not in {"family", "name"}}
    assert differences(OFFER, without) == ["family", "name"]
    assert differences(without, OFFER | {"new": None}) == ["family", "name", "new"]


def test_the_offer_itself_is_left_alone() -> None:
    """The canonical form is a copy: raw is never derived from it."""
    before = json.dumps(OFFER)
    assert canonical(OFFER)["validation_status"]["value"] == 9
    assert json.dumps(OFFER) == before


def test_a_hash_is_16_bytes() -> None:
    """As wide as its column's values are meant to be."""
    assert len(hashed(OFFER)) == 16
