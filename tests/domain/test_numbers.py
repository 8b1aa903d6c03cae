"""Numbers: one form for one number, and nothing else is one."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emag_syncd.domain.numbers import number


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("20", 20),
        ("20.0", 20),
        ("2e1", 20),
        ("-0.0", 0),
        ("+5", 5),
        (".5", Decimal("0.5")),
        ("5.", 5),
        ("28.92560", Decimal("28.9256")),
        ("1e-7", Decimal("1E-7")),
        ("1E0000002", 100),
        ("9" * 1000, int("9" * 1000)),
    ],
)
def test_a_number_has_one_form(text: str, value: Any) -> None:
    """An int where it is whole, else a Decimal without zeros at its end."""
    found = number(text)
    assert found == value
    assert type(found) is type(value)
    assert str(found) == str(value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "1 ",
        "1,5",
        "1_000",
        "0x1",
        "NaN",
        "Infinity",
        "e5",
        ".",
        "-",
        "1e",
        "٣",
        "1e1001",
        "1e99999999",
        "9" * 1001,
        "1e-1002",
        "1e1000",
        "0." + "0" * 1001,
    ],
)
def test_what_is_no_number_is_refused(text: str) -> None:
    """Words, other scripts, and what is too long or too large to be kept."""
    with pytest.raises(ValueError, match="number"):
        number(text)


@given(st.decimals(allow_nan=False, allow_infinity=False, places=4))
def test_no_digit_is_lost(value: Decimal) -> None:
    """The form is exactly the number that was written."""
    assert number(str(value)) == value
