"""The page on faults, and what is written into it."""

import pytest

from tests.faults.__main__ import BEGIN, END, PAGE, read, replaced, table

LINES = [
    '{"fault": "killed", "promises": [2], "seconds": 1.0, "test": "tests/faults/test_a.py::test_one"}',
    '{"fault": "killed", "promises": [2, 5], "seconds": 3.0, "test": "tests/faults/test_a.py::test_one"}',
    '{"fault": "killed", "promises": [2], "seconds": 2.0, "test": "tests/faults/test_a.py::test_one"}',
    '{"fault": "silent", "promises": [4], "seconds": 0.5, "test": "tests/faults/test_a.py::test_two"}',
]


def test_each_fault_has_a_row_with_its_median_and_worst() -> None:
    """What was measured in several rounds is one row."""
    assert table(read(LINES)).splitlines()[2:] == [
        "| killed | 2, 5 | [`test_one`](../tests/faults/test_a.py) | 3 | 2.00 | 3.00 |",
        "| silent | 4 | [`test_two`](../tests/faults/test_a.py) | 1 | 0.50 | 0.50 |",
    ]


def test_the_page_has_its_place() -> None:
    """The table can be exchanged again and again; a page without a place for it is refused."""
    once = replaced(PAGE.read_text(), "first\n")
    assert replaced(once, "second\n") == once.replace("first", "second")
    with pytest.raises(ValueError, match="no place"):
        replaced(f"{END}{BEGIN}", "")
