"""Splits a page into offers without decoding them: an unchanged page costs little more than its hashes."""

from typing import Any

import msgspec

from emag_syncd.domain.canonical import digest
from emag_syncd.domain.numbers import number
from emag_syncd.domain.offers import Item, Page, Reject

LARGEST_ID = 2**63 - 1


class _UnusableError(Exception):
    """Why an entry has no usable id, in words for the table of rejects."""


class _Entry(msgspec.Struct):
    id: Any = None


_entries = msgspec.json.Decoder(list[msgspec.Raw])
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ids = msgspec.json.Decoder(list[_Entry], float_hook=number)
_id = msgspec.json.Decoder(_Entry, float_hook=number)


def split(results: bytes) -> Page:
    """Return the page that the ``results`` of an answer hold, their JSON being well-formed.

    One entry may come without its list, and a list as an object with positions for keys. Of entries with the
    same id the last one counts. Raises ValueError when ``results`` is neither a list nor an object.
    """
    entries = _split_entries(results)
    try:
        ids = [entry.id for entry in _ids.decode(results)]
    except (msgspec.DecodeError, ValueError):
        return _page(entries, [_id_of(entry) for entry in entries])
    return _page(entries, ids)


def _split_entries(results: bytes) -> list[bytes]:
    if results.startswith(b"["):
        return [bytes(raw) for raw in _entries.decode(results)]
    if not results.startswith(b"{"):
        raise ValueError("neither a list nor an object")
    members = _members.decode(results)
    if not members:
        return []
    values = [bytes(raw) for raw in members.values()]
    if "id" not in members and all(value.startswith(b"{") for value in values):
        return values
    return [results]


def _page(entries: list[bytes], ids: list[Any]) -> Page:
    items: dict[int, Item] = {}
    rejects: list[Reject] = []
    for raw, value in zip(entries, ids, strict=True):
        if type(value) is int and 0 < value <= LARGEST_ID:
            emag_id = value
        else:
            try:
                emag_id = _usable(value)
            except _UnusableError as error:
                rejects.append(Reject(str(error), raw))
                continue
        items.pop(emag_id, None)
        items[emag_id] = Item(emag_id, raw, digest(raw))
    repeated = len(entries) - len(items) - len(rejects)
    return Page(tuple(items.values()), tuple(rejects), repeated)


def _id_of(entry: bytes) -> Any:
    if not entry.startswith(b"{"):
        return _UnusableError("not an object")
    try:
        return _id.decode(entry).id
    except (msgspec.DecodeError, ValueError):
        return _UnusableError("id is not a number: it can't be decoded")


def _usable(value: Any) -> int:
    if isinstance(value, _UnusableError):
        raise value
    if value is None or value == "":
        raise _UnusableError("no id")
    found = _whole(value)
    if found is None:
        raise _UnusableError(f"id is not a number: {str(value)[:100]!r}")
    if not 0 < found <= LARGEST_ID:
        raise _UnusableError(f"id out of range: {str(value)[:100]}")
    return found


def _whole(value: Any) -> int | None:
    if isinstance(value, str):
        try:
            value = number(value.strip())
        except ValueError:
            return None
    return value if isinstance(value, int) and not isinstance(value, bool) else None
