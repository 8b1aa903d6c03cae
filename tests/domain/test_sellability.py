"""Whether an offer sells: all conditions, and what is not known."""

import pytest

from emag_syncd.domain.sellability import is_sellable

SELLS = {
    "general_stock": 1,
    "status": 1,
    "offer_validation_status": 1,
    "validation_status": 9,
    "translation_validation_status": None,
}


@pytest.mark.parametrize("validation", [3, 9, 11, 12])
def test_an_offer_that_sells(validation: int) -> None:
    """Stock, active, price accepted, documentation in one of the states that sell."""
    assert is_sellable(SELLS | {"validation_status": validation}, auto_translated=False) is True


@pytest.mark.parametrize(
    "changed",
    [{"general_stock": 0}, {"status": 0}, {"status": 2}, {"offer_validation_status": 2}]
    + [{"validation_status": value} for value in (0, 1, 2, 4, 5, 6, 8, 10, 17)],
)
def test_one_condition_decides(changed: dict[str, int]) -> None:
    """Any condition that fails is enough, whatever is not known of the others."""
    assert is_sellable(SELLS | changed, auto_translated=False) is False
    assert is_sellable(dict.fromkeys(SELLS) | changed, auto_translated=False) is False


@pytest.mark.parametrize("missing", ["general_stock", "status", "offer_validation_status", "validation_status"])
def test_what_is_not_known_is_not_guessed(missing: str) -> None:
    """Missing stock is not zero, and a missing status not active."""
    assert is_sellable(SELLS | {missing: None}, auto_translated=False) is None


@pytest.mark.parametrize(("translation", "sells"), [(3, True), (17, True), (13, False), (16, False), (None, None)])
def test_a_translated_product_needs_its_translation(translation: int | None, sells: bool | None) -> None:
    """The translation counts for automatically translated products only."""
    columns = SELLS | {"translation_validation_status": translation}
    assert is_sellable(columns, auto_translated=True) is sells
    assert is_sellable(columns, auto_translated=False) is True
