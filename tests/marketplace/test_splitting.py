"""Splitting a page: every entry is an item or a reject, by its id alone."""

import hashlib
import json
from typing import Any

import pytest

from emag_syncd.marketplace.splitting import split


def test_an_item_is_its_own_bytes_and_their_hash() -> None:
    """Spelling and spaces inside an entry stay as they came; the hash is of exactly these bytes."""
    entry = b'{ "name":"caf\\u00e9",  "id": 7 }'
    [item] = split(b"[ " + entry + b" ]").items
    assert (item.emag_id, item.raw) == (7, entry)
    assert item.raw_hash == hashlib.sha256(entry).digest()[:16]


@pytest.mark.parametrize("value", [5, "5", " 5 ", 5.0, "5.0", "5e0"])
def test_an_id_in_another_spelling(value: Any) -> None:
    """Text and whole floats are numbers."""
    assert [item.emag_id for item in split(json.dumps([{"id": value}]).encode()).items] == [5]


@pytest.mark.parametrize("value", [1, 2**63 - 1, str(2**63 - 1)])
def test_ids_as_large_as_bigint(value: Any) -> None:
    """The first and the last id that the column holds."""
    assert split(json.dumps([{"id": value}]).encode()).items[0].emag_id == int(value)


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ("{}", "no id"),
        ('{"id": null}', "no id"),
        ('{"id": ""}', "no id"),
        ('{"id": "abc"}', "id is not a number: 'abc'"),
        ('{"id": true}', "id is not a number: 'True'"),
        ('{"id": 1.5}', "id is not a number: '1.5'"),
        ('{"id": [1]}', "id is not a number: '[1]'"),
        ('{"id": 0}', "id out of range: 0"),
        ('{"id": -4}', "id out of range: -4"),
        ('{"id": 9223372036854775808}', "id out of range: 9223372036854775808"),
        ('{"id": 1e400}', "id out of range: 1" + "0" * 99),
        ('{"id": ' + "9" * 5000 + "}", "id is not a number: it can't be decoded"),
        ("7", "not an object"),
        ('"text"', "not an object"),
        ("null", "not an object"),
        ("[]", "not an object"),
    ],
)
def test_an_entry_without_a_usable_id_is_set_aside(entry: str, reason: str) -> None:
    """Only that entry, with a reason in words and as it came; its neighbours are read."""
    page = split(f'[{{"id": 1}}, {entry}, {{"id": 2}}]'.encode())
    assert [item.emag_id for item in page.items] == [1, 2]
    assert [(reject.reason, reject.raw.decode()) for reject in page.rejects] == [(reason, entry)]
    assert page.size == 3


def test_of_the_same_id_twice_the_last_counts() -> None:
    """The page's size still tells how many entries came: a page that is full is not the last one."""
    page = split(b'[{"id": 1, "v": 1}, {"id": 2}, {"id": "1", "v": 2}]')
    assert [item.raw for item in page.items] == [b'{"id": 2}', b'{"id": "1", "v": 2}']
    assert (page.size, page.repeated) == (3, 1)


@pytest.mark.parametrize("results", [b'"x"', b"5", b"true"])
def test_results_that_hold_no_entries(results: bytes) -> None:
    """Anything but a list or an object is an error."""
    with pytest.raises(ValueError, match="neither a list nor an object"):
        split(results)
