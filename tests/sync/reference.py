"""What the mirror must hold: a second, simple reading of the marketplace's documentation, for tests."""

import json
import re
from collections.abc import Iterator
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any

import asyncpg

from emag_syncd.domain.offers import COLUMNS
from emag_syncd.sandbox import Account, Catalogue

Row = dict[str, Any]
Rows = dict[int, Row]

TEXTS = ("part_number", "part_number_key", "name", "brand", "currency")
BIG = ("category_id", "vendor_category_id", "vat_id")
SMALL = ("status", "warranty", "general_stock", "estimated_stock", "number_of_offers", "buy_button_rank")
PRICES = (
    "sale_price",
    "recommended_price",
    "min_sale_price",
    "max_sale_price",
    "best_offer_sale_price",
    "best_offer_recommended_price",
)
VALIDATIONS = ("validation_status", "translation_validation_status", "offer_validation_status")
FLAGS = ("manufacturer", "eu_representative")
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
DEEPEST = 200
LARGEST_EXPONENT = 1000


class _UnfitError(Exception):
    pass


def loads(text: str | bytes) -> Any:
    """Read JSON with exact numbers, lone surrogates and all; a number out of range is a text."""
    return json.loads(text, parse_float=_exact, parse_constant=str)


def _exact(text: str) -> Decimal | str:
    number = Decimal(text)
    return number if abs(number.adjusted()) <= LARGEST_EXPONENT else text


def sanitised(value: Any, depth: int = 1) -> Any:
    """Return a value as PostgreSQL can hold it."""
    if isinstance(value, str):
        return UNSTORABLE.sub("\ufffd", value)
    if isinstance(value, dict | list) and depth > DEEPEST:
        return json.dumps(value, separators=(",", ":"))
    if isinstance(value, list):
        return [sanitised(one, depth + 1) for one in value]
    if isinstance(value, dict):
        return {sanitised(key): sanitised(one, depth + 1) for key, one in value.items()}
    return value


def expected(raw: bytes) -> tuple[Row, set[str]]:
    """Return the columns of an offer, with its ``raw``, and the names of those that its values don't fit."""
    offer = sanitised(loads(raw))
    row: Row = {}
    unfit: set[str] = set()
    for column in COLUMNS:
        try:
            row[column] = _column(column, offer)
        except _UnfitError:
            row[column] = None
            unfit.add(column)
    row["is_sellable"] = _sells(row, offer)
    row["raw"] = flagged(offer)
    return row, unfit


def flagged(offer: Row) -> Row:
    """Return an offer with those keys as flags that have another form when it is read by its id."""
    return {key: bool(value) if key in FLAGS else value for key, value in offer.items()}


def _column(column: str, offer: Row) -> Any:
    value = offer.get(column)
    if column == "main_image_url":
        images = [one for one in offer.get("images") or [] if isinstance(one, dict)]
        return next((one["url"] for one in images if one["display_type"] == 1), None)
    if value is None or column == "is_sellable":
        return None
    if column in TEXTS:
        return _text(value)
    if column in PRICES:
        return _price(value)
    if column in VALIDATIONS:
        return _validation(value)
    if column == "ownership":
        return {True: 1, False: 2}[value] if isinstance(value, bool) else _whole(value, 2)
    if column == "ean":
        return _eans(value)
    return _whole(value, 2**63 if column in BIG else 2**31)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise _UnfitError
    return value


def _number(value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | Decimal | str):
        raise _UnfitError
    try:
        number = Decimal(value)
    except InvalidOperation:
        raise _UnfitError from None
    if not number.is_finite():
        raise _UnfitError
    return number


def _whole(value: Any, limit: int) -> int:
    number = _number(value)
    if number != number.to_integral_value() or not -limit <= number <= limit - (limit > 2):
        raise _UnfitError
    return int(number)


def _price(value: Any) -> Decimal:
    number = _number(value)
    if abs(number) >= 10**10:
        raise _UnfitError
    return number.quantize(Decimal("0.0001"), ROUND_HALF_UP)


def _validation(value: Any) -> int:
    if isinstance(value, list):
        (value,) = value
    return _whole(value["value"] if isinstance(value, dict) else value, 2**31)


def _eans(value: Any) -> list[str]:
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(one, int | str) for one in values):
        raise _UnfitError
    return [str(one) for one in values]


def _sells(row: Row, offer: Row) -> bool | None:
    stock = row["general_stock"]
    checks = [
        None if stock is None else stock > 0,
        None if row["status"] is None else row["status"] == 1,
        None if row["offer_validation_status"] is None else row["offer_validation_status"] == 1,
        None if row["validation_status"] is None else row["validation_status"] in {3, 9, 11, 12},
    ]
    assert "auto_translated" not in offer
    if False in checks:
        return False
    return None if None in checks else True


def truth(catalogue: Catalogue) -> Rows:
    """Return what the mirror of a catalogue must hold."""
    return {emag_id: expected(raw)[0] for emag_id, raw in catalogue.truth()}


async def mirrored(sql: "asyncpg.Connection[asyncpg.Record]", account: str = "main", *, removed: bool = False) -> Rows:
    """Return what the mirror of an account holds: of the offers that are not removed, or of those that are."""
    rows = await sql.fetch(
        f"SELECT emag_id, {', '.join(COLUMNS)}, raw::text FROM emag_products"
        " WHERE account_type = $1 AND (removed_at IS NOT NULL) = $2",
        account,
        removed,
    )
    return {row["emag_id"]: _stored(row) for row in rows}


def _stored(row: asyncpg.Record) -> Row:
    columns = {column: row[column] for column in COLUMNS}
    return {**columns, "raw": flagged(loads(row["raw"]))}


def differences(stored: Rows, wanted: Rows) -> Iterator[str]:
    """Yield what is wrong with the offers ``stored``, in words: missing ones, others, and columns that differ."""
    yield from (f"offer {emag_id} is missing" for emag_id in wanted.keys() - stored.keys())
    yield from (f"offer {emag_id} should not be there" for emag_id in stored.keys() - wanted.keys())
    for emag_id in stored.keys() & wanted.keys():
        for column, value in wanted[emag_id].items():
            if stored[emag_id][column] != value:
                yield f"{column} of offer {emag_id} is {stored[emag_id][column]!r}, and not {value!r}"


async def assert_mirrors(sql: "asyncpg.Connection[asyncpg.Record]", account: Account) -> None:
    """Assert that the mirror equals the marketplace, in every offer and every column."""
    assert list(differences(await mirrored(sql, account.name), truth(account.catalogue))) == []
