"""Verification: a page that isn't what was asked for is an error that says so."""

import json
from typing import Any

import pytest

from emag_syncd.domain.errors import ProtocolError
from emag_syncd.marketplace.splitting import split
from emag_syncd.marketplace.verification import verify


def check(rows: list[dict[str, Any]], filters: dict[str, Any], size: int = 100) -> None:
    """Verify a page of these rows."""
    numbered = [{"id": number, **row} for number, row in enumerate(rows, 1)]
    verify(split(json.dumps(numbered).encode()), filters, size, "accounts.main.base_url")


@pytest.mark.parametrize(
    ("filters", "row"),
    [
        ({"status": 1}, {"status": 1}),
        ({"status": 1}, {"status": "1"}),
        ({"status": "0"}, {"status": 0}),
        ({"status": 1}, {}),
        ({"status": 1}, {"status": None}),
        ({"status": 1}, {"status": "active"}),
        ({"status": 1}, {"status": [1]}),
        ({"status": [0, 1]}, {"status": 0}),
        ({"id": "1"}, {}),
        ({"part_number": "abc "}, {"part_number": "ABC"}),
        ({"part_number": "abc"}, {"part_number": 5}),
        ({"part_number_key": "K"}, {"part_number_key": "K"}),
        ({"general_stock": 5}, {"general_stock": 0}),
        ({"estimated_stock": "5"}, {"estimated_stock": "5"}),
        ({"validation_status": 9}, {"validation_status": [{"value": 9}]}),
        ({"validation_status": 9}, {"validation_status": []}),
        ({"offer_validation_status": 1}, {"offer_validation_status": {"value": "1"}}),
        ({"translation_validation_status": 17}, {"translation_validation_status": 17}),
    ],
)
def test_rows_that_match_or_prove_nothing(filters: dict[str, Any], row: dict[str, Any]) -> None:
    """Other spellings match, and a value that is missing or can't be read is no evidence."""
    check([row], filters)


@pytest.mark.parametrize(
    ("filters", "row", "says"),
    [
        ({"status": 1}, {"status": 0}, "asked for status 1, offer 2 came with 0"),
        ({"status": [0, 2]}, {"status": 1}, r"asked for status \[0, 2\]"),
        ({"id": 1}, {}, "asked for id 1, offer 2 came with 2"),
        ({"part_number": "abc"}, {"part_number": "abd"}, "came with abd"),
        ({"part_number_key": "K"}, {"part_number_key": ""}, "asked for part_number_key K"),
        ({"general_stock": 5}, {"general_stock": 6}, "came with 6"),
        ({"estimated_stock": 0}, {"estimated_stock": "1"}, "came with 1"),
        ({"validation_status": 9}, {"validation_status": [{"value": 3}]}, "asked for validation_status 9"),
        ({"offer_validation_status": 1}, {"offer_validation_status": 2}, "came with 2"),
        ({"translation_validation_status": 17}, {"translation_validation_status": {"value": 1}}, "17"),
    ],
)
def test_rows_that_were_not_asked_for(filters: dict[str, Any], row: dict[str, Any], says: str) -> None:
    """One row that the filter leaves out shows that it was ignored; the error names filter, offer and value."""
    with pytest.raises(ProtocolError, match=says) as caught:
        check([{}, row], filters)
    assert "accounts.main.base_url" in caught.value.remedy


def test_more_rows_than_asked_for() -> None:
    """A page that is too long shows that pagination was ignored."""
    with pytest.raises(ProtocolError, match="asked for 2 offers a page, 3 came"):
        check([{}, {}, {}], {}, size=2)


def test_entries_that_were_set_aside_count_too() -> None:
    """Rejects and repeated entries are rows of the page."""
    with pytest.raises(ProtocolError, match="3 came"):
        verify(split(b'[{"id": 1}, {"id": 1}, {}]'), {}, 2, "accounts.main.base_url")


def test_a_row_that_can_not_be_decoded_proves_nothing() -> None:
    """A broken row is the decoder's business."""
    verify(split(b'[{"id": 1, "status": ' + b"9" * 5000 + b"}]"), {"status": 1}, 10, "accounts.main.base_url")
