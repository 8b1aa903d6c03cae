"""``jsonb`` as bytes in both directions: encoded once, by msgspec, and never a ``str`` on the way."""

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from emag_syncd.storage.connections import Connection

_VERSION = b"\x01"


def jsonb(value: Any) -> bytes:
    """Return ``value`` as JSON, for a ``jsonb`` parameter. Raises TypeError for what JSON can't express."""
    return msgspec.json.encode(value)


def _pack(encoded: bytes) -> bytes:
    return _VERSION + encoded


def _unpack(received: bytes) -> bytes:
    return received[1:]


async def set_codecs(conn: "Connection") -> None:
    """Let the connection take already encoded JSON for ``jsonb`` and give it back as it is."""
    await conn.set_type_codec("jsonb", schema="pg_catalog", encoder=_pack, decoder=_unpack, format="binary")
