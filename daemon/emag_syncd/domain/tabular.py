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
_MANGLED = re.compile(r"0\d+|\d{12,}|\d+[eE]\d+|\d+([-/.:,]\d+)+")
"""What spreadsheets take for a number or a date, and show or keep as another text: leading zeros, EANs, 1E5, 3-12."""

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
