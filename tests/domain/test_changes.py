"""Changes: what is put on record of an offer that came, changed, went, or came back."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from emag_syncd.domain.changes import Change, ChangeKind, Step, creation, difference, removal
from emag_syncd.domain.offers import COLUMNS
from tests.support.offers import offer

VALUES = st.none() | st.integers(0, 3) | st.sampled_from([Decimal("1.5"), "a", "b", True])
ROWS = st.fixed_dictionaries(dict.fromkeys(COLUMNS, VALUES))


def test_a_creation_lists_what_there_is() -> None:
    """Every column with a value, even an empty one, and none without."""
    assert creation(offer(7, name="", general_stock=0, is_sellable=False, ean=[])) == Change(
        7,
        ChangeKind.CREATED,
        {
            "name": Step(None, ""),
            "general_stock": Step(None, 0),
            "ean": Step(None, []),
            "is_sellable": Step(None, False),
        },
    )


@given(old=ROWS, new=ROWS)
def test_a_difference_leads_from_old_to_new(old: dict[str, object], new: dict[str, object]) -> None:
    """Applied to the old row it gives the new one, and it holds nothing that is the same in both."""
    change = difference(ChangeKind.UPDATED, old, offer(7, raw=b"{}", **new), [])
    for name in COLUMNS:
        if name in change.changes:
            assert change.changes[name] == Step(old[name], new[name])
            assert old[name] != new[name]
        else:
            assert old[name] == new[name]


def test_a_price_is_the_same_in_any_spelling() -> None:
    """What PostgreSQL gives back with four places is no change."""
    old = {**dict.fromkeys(COLUMNS), "sale_price": Decimal("20.0000")}
    assert difference(ChangeKind.UPDATED, old, offer(7, sale_price=Decimal(20)), []).changes == {}


def test_keys_of_raw_are_listed_unless_their_column_tells() -> None:
    """What changed only inside ``raw`` is named, in its order; what a column shows is not named twice."""
    old = dict.fromkeys(COLUMNS)
    change = difference(ChangeKind.RESTORED, old, offer(7, name="a"), ["images", "name", "validation_status"])
    assert change == Change(
        7,
        ChangeKind.RESTORED,
        {"name": Step(None, "a"), "raw": ["images", "validation_status"]},
    )


def test_more_columns_of_the_row_do_not_matter() -> None:
    """The stored row has columns that are not the offer's content."""
    old = {**dict.fromkeys(COLUMNS), "updated_at": 1, "content_hash": b"x"}
    assert difference(ChangeKind.UPDATED, old, offer(7), []) == Change(7, ChangeKind.UPDATED)


def test_a_removal_says_no_more() -> None:
    """Which offer, and that it went."""
    assert removal(7) == Change(7, ChangeKind.REMOVED, {})
