"""Rows as text: what a spreadsheet must not take for something else."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from emag_syncd.domain.tabular import csv_head, csv_writer, json_writer


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (None, ""),
        (True, "true"),
        (-3, "-3"),
        (Decimal("-89.9000"), "-89.9"),
        (Decimal("1E+3"), "1000"),
        (Decimal("0.0000"), "0"),
        (datetime(2026, 1, 2, 3, 4, 5, 6, UTC), "2026-01-02 03:04:05"),
        ("=1+1", "'=1+1"),
        ("+40", "'+40"),
        ("-x", "'-x"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\tx", "'\tx"),
        ("\rx", '"\'\rx"'),
        ("a=1", "a=1"),
        ("5941234567890", "'5941234567890"),
        ("0012", "'0012"),
        ("12", "12"),
        ("1E5", "'1E5"),
        ("3-12", "'3-12"),
        ("1.20", "'1.20"),
        ("HS-13", "HS-13"),
        ("50%", "'50%"),
        (".5", "'.5"),
        ("1 1/2", "'1 1/2"),
        ("5 lei", "'5 lei"),
        ("MAR1", "'MAR1"),
        ("2-mai", "'2-mai"),
        ("Adevărat", "'Adevărat"),
        ("Marca 5", "Marca 5"),
        ("5 bucăți", "5 bucăți"),
        (["5941234567890"], "'5941234567890"),
        (["594", "595"], "594 595"),
        ([], ""),
        (b'{"a": 1}', '"{""a"": 1}"'),
        ('a"b,c\nd', '"a""b,c\nd"'),
        ("Husă", "Husă"),
    ],
)
def test_cells_are_what_they_were(value: Any, cell: str) -> None:
    """Numbers stay numbers; text that would be calculated, or kept as another, is marked as text."""
    assert csv_writer(["a", "b"])([{"a": value, "b": 1}]).decode() == f"{cell},1\r\n"


def test_a_file_begins_with_its_names() -> None:
    """The mark of UTF-8 comes first, for Excel."""
    assert csv_head(["a", "b"]) == b"\xef\xbb\xbfa,b\r\n"


def test_lines_of_json_are_exact() -> None:
    """Decimals keep their digits, JSON stays as it is, and nothing else than the columns is told."""
    row = {"a": Decimal("89.9000"), "b": b'{"x": 1.50}', "c": None, "d": "hidden"}
    assert (
        json_writer(["a", "b", "c"])([row, row]).decode().splitlines() == ['{"a":89.9000,"b":{"x": 1.50},"c":null}'] * 2
    )
