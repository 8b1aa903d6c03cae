"""Repair: whatever parses as JSON ends as an offer whose JSON PostgreSQL takes."""

import json
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emag_syncd.domain.canonical import content_hash, parse
from emag_syncd.domain.offers import COLUMNS, Offer
from emag_syncd.marketplace.decoding import decode
from emag_syncd.marketplace.envelope import read_envelope
from emag_syncd.marketplace.repair import DEEPEST, repair
from emag_syncd.marketplace.splitting import split


class Verbatim(str):
    """JSON to be put in as it is."""

    __slots__ = ()


ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=12)
NUMBERS = st.one_of(
    st.integers(),
    st.floats(),
    st.sampled_from(
        [
            "1e999",
            "1e-1000",
            "-1.5e-999",
            "1.0e998",
            "-1e1001",
            "1e-5000",
            "1e99999999999",
            "9" * 1500,
            "9" * 5000,
            "0." + "1" * 20000,
            "-0",
        ]
    ).map(Verbatim),
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, ANY_TEXT),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(ANY_TEXT, inner, max_size=4)),
    max_leaves=12,
)
KEYS = st.one_of(st.sampled_from([*COLUMNS, "images", "characteristics", "family", "manufacturer"]), ANY_TEXT)


def offers(entry: str | bytes) -> list[Offer]:
    """Return what an answer with this one entry holds, the way the client reads it."""
    data = entry if isinstance(entry, bytes) else entry.encode("utf-8", "surrogatepass")
    envelope = read_envelope(b'{"isError": false, "results": [' + data + b"]}")
    assert envelope is not None
    return [decode(item) for item in split(bytes(envelope.results)).items]


def rendered(value: Any, *, ascii_only: bool) -> str:
    """Return JSON, in which numbers that Python has no value for stand verbatim."""
    if isinstance(value, Verbatim):
        return str(value)
    if isinstance(value, list):
        return "[" + ",".join(rendered(inner, ascii_only=ascii_only) for inner in value) + "]"
    if isinstance(value, dict):
        pairs = (
            f"{json.dumps(key, ensure_ascii=ascii_only)}:{rendered(inner, ascii_only=ascii_only)}"
            for key, inner in value.items()
        )
        return "{" + ",".join(pairs) + "}"
    return json.dumps(value, ensure_ascii=ascii_only)


async def accepted(sql: "asyncpg.Connection[asyncpg.Record]", offer: Offer) -> str:
    """Return the JSON that PostgreSQL stores for an offer."""
    stored: str = await sql.fetchval("SELECT $1::text::jsonb::text", offer.raw.decode())
    return stored


@given(
    offer=st.dictionaries(KEYS, VALUES, max_size=8),
    ascii_only=st.booleans(),
    depth=st.sampled_from([0, 0, 0, 3, 250, 3000]),
)
@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_whatever_parses_as_json_is_stored(
    sql: "asyncpg.Connection[asyncpg.Record]", offer: dict[str, Any], ascii_only: bool, depth: int
) -> None:
    """Any JSON with a usable id gives an offer, and PostgreSQL gives it back with the same content."""
    body = rendered(offer | {"deep": []}, ascii_only=ascii_only).removesuffix("[]}").encode("utf-8", "surrogatepass")
    entry = body + b"[" * depth + b"1" + b"]" * depth + b', "id": 7}'
    [decoded] = offers(entry)
    stored = parse((await accepted(sql, decoded)).encode())
    assert content_hash(stored) == decoded.content_hash
    assert decoded.emag_id == 7
    assert decoded.columns.keys() == set(COLUMNS)


@pytest.mark.parametrize(
    ("entry", "stored"),
    [
        (r'{"id": 7, "a": "x\u0000y"}', '{"a": "x\ufffdy", "id": 7}'),
        (r'{"id": 7, "a\u0000": "\ud800x"}', '{"id": 7, "a\ufffd": "\ufffdx"}'),
        (r'{"id": 7, "a": "\udc00"}', '{"a": "\ufffd", "id": 7}'),
        ('{"id": 7, "a": "x\ny\x01"}', r'{"a": "x\ny\u0001", "id": 7}'),
        ('{"id": 7, "a": [NaN, -Infinity, 1e2000]}', '{"a": ["NaN", "-Infinity", "1e2000"], "id": 7}'),
        (r'{"id": 7, "a": "\ud83d\ude00 \u0104"}', '{"a": "\U0001f600 Ą", "id": 7}'),
        (
            r'{"id": 7, "a": "no NUL: \\u0000", "b": "NaN [{"}',
            r'{"a": "no NUL: \\u0000", "b": "NaN [{", "id": 7}',
        ),
        (b'{"id": 7, "a": "caf\xe9"}', '{"a": "caf\ufffd", "id": 7}'),
    ],
)
async def test_what_is_replaced(sql: "asyncpg.Connection[asyncpg.Record]", entry: str | bytes, stored: str) -> None:
    """NUL, halves of pairs, control characters, numbers that aren't: replaced, and nothing else is."""
    assert await accepted(sql, offers(entry)[0]) == stored


async def test_deep_nesting_becomes_text(sql: "asyncpg.Connection[asyncpg.Record]") -> None:
    """What lies too deep is kept, as a string with its JSON."""
    deep = "[" * 3000 + '"x"' + "]" * 3000
    value: Any = json.loads(await accepted(sql, offers(f'{{"id": 7, "a": {deep}}}')[0]))["a"]
    levels = 0
    while isinstance(value, list):
        [value] = value
        levels += 1
    assert 0 < levels < DEEPEST
    assert value == deep[levels : len(deep) - levels]


def test_only_the_item_at_fault_pays() -> None:
    """Beside a broken entry the others keep their bytes, and with them their hash."""
    good = b'{"id": 1,  "name": "\\u0104\\ud83d\\ude00", "price": 1.50}'
    envelope = read_envelope(b'{"isError": false, "results": [' + good + b', {"id": 2, "x": NaN}]}')
    assert envelope is not None
    page = split(bytes(envelope.results))
    assert page.items[0].raw == good
    assert page.items[0].raw_hash == split(b"[" + good + b"]").items[0].raw_hash
    assert decode(page.items[0]).raw == good


@pytest.mark.parametrize(
    "text", ["", "{", '{"a', '{"a": "' + "\\" * 11, r'{"a": "\ud800', "nope", "[1, 2", "]}]", '{"a": 1e}', "\x00"]
)
def test_what_is_not_json_stays_so(text: str) -> None:
    """Repair makes no sense of nonsense: a cut answer stays a cut answer."""
    assert read_envelope(text.encode()) is None
    with pytest.raises(json.JSONDecodeError):
        json.loads(repair(text))


def test_a_hostile_body_takes_linear_time() -> None:
    """A megabyte of quotes that are never closed is gone through once."""
    assert read_envelope(b'{"a": "' + b'\\"' * 500_000) is None
    assert read_envelope(b"{" * 1_000_000) is None
