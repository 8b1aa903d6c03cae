"""Rows as text: CSV for spreadsheets, JSON Lines for programs."""

import csv
import io
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Protocol, TypeAlias

import msgspec


class Row(Protocol):
    """What has values by names."""

    def __getitem__(self, name: str, /) -> Any:
        """Return one."""
        ...


Rows: TypeAlias = Iterable[Row]
Writer: TypeAlias = Callable[[Rows], bytes]

BOM = "\ufeff"
"""Without it Excel takes UTF-8 for the character set of the country."""

_FORMULA = re.compile(r"[=+\-@\t\r]")
_MONTH = (
    r"(?:jan(?:uary)?|ian(?:uarie)?|feb(?:ruar(?:y|ie))?|mar(?:ch|tie)?|apr(?:il(?:ie)?)?|ma[iy]|june?|iun(?:ie)?|july?"
    r"|iul(?:ie)?|aug(?:ust)?|sept?(?:em(?:ber|brie))?|oct(?:o(?:ber|mbrie))?|nov(?:ember)?|noi(?:embrie)?"
    r"|dec(?:em(?:ber|brie))?)"
)
_MANGLED = re.compile(
    # Numbers with anything beside up to eleven digits: leading zeros, EANs, 3-12, 1/2, 12:30, 50%, (5), $5, 5 lei.
    r"(?!(?:0|[1-9]\d{0,10})\Z)[$€£(.]?\s?\d+(?:[-/.:,]+\d+| \d+/\d+)*\s?(?:[%).€$£]|lei|ron|[ap]m?)?"
    r"|\d+(?:[.,]\d+)?e[+-]?\d+|true|false|adevărat|fals"
    rf"|\d{{1,4}}[-/. ]*{_MONTH}(?:[-/., ]+\d{{1,4}})?|{_MONTH}[-/. ]*\d{{1,4}}(?:[-/., ]+\d{{1,4}})?",
    re.IGNORECASE,
)
"""What spreadsheets take for a number, a date or a truth value in English or Romanian, and keep as another text."""

_json = msgspec.json.Encoder(decimal_format="number")


def csv_head(columns: Sequence[str]) -> bytes:
    """Return what a CSV file begins with: the mark of UTF-8 and the line of names."""
    return (BOM + ",".join(columns) + "\r\n").encode()


def csv_writer(columns: Sequence[str]) -> Writer:
    """Return what writes rows as lines of CSV (RFC 4180)."""

    def write(rows: Rows) -> bytes:
        out = io.StringIO()
        csv.writer(out).writerows([_cell(row[name]) for name in columns] for row in rows)
        return out.getvalue().encode()

    return write


def json_writer(columns: Sequence[str]) -> Writer:
    """Return what writes rows as lines of JSON, decimals as exact numbers, and what is JSON already as it is."""

    def write(rows: Rows) -> bytes:
        return _json.encode_lines([{name: _value(row[name]) for name in columns} for row in rows])

    return write


def _value(value: Any) -> Any:
    return msgspec.Raw(value) if isinstance(value, bytes) else value


def _cell(value: Any) -> Any:
    """Return a value as a spreadsheet reads it right.

    Text that it would calculate, or keep as another, begins with an apostrophe. Numbers stay numbers.
    """
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case int() | float():
            return value
        case Decimal():
            return f"{value.normalize():f}"
        case datetime():
            return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
        case bytes():
            return value.decode()
        case list():
            return _text(" ".join(value))
        case _:
            return _text(str(value))


def _text(text: str) -> str:
    return f"'{text}" if _FORMULA.match(text) or _MANGLED.fullmatch(text) else text
