"""The frame around every answer of the marketplace: isError, messages, results."""

import codecs
from collections import deque
from collections.abc import Iterator
from typing import Any

import msgspec

from emag_syncd.marketplace.repair import DEEPEST, readable, repair

MOST_MESSAGES = 20
LONGEST_MESSAGE = 500

LARGEST_WORDS = 256 * 2**10
"""Bytes of messages that are decoded: as objects they take many times as much."""

FRAME = 2
"""Levels of nesting around each of the results: an offer is repaired alike in its answer and by itself."""


class Envelope(msgspec.Struct):
    """An answer's frame; its parts are JSON, not decoded any further, and empty when they are missing."""

    is_error: msgspec.Raw = msgspec.field(name="isError", default=msgspec.Raw())
    messages: msgspec.Raw = msgspec.Raw()
    message: msgspec.Raw = msgspec.Raw()
    errors: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()
    results: msgspec.Raw = msgspec.Raw()

    def texts(self) -> list[str]:
        """Return what the marketplace says in words, from wherever it says it: at most ``MOST_MESSAGES``."""
        found: list[str] = []
        for text in _texts([_said(raw) for raw in (self.messages, self.message, self.errors, self.error)]):
            if text and text not in found:
                found.append(text)
            if len(found) == MOST_MESSAGES:
                break
        return found


_decode = msgspec.json.Decoder(Envelope).decode


def read_envelope(body: bytes) -> Envelope | None:
    """Return the envelope that a body is, or None when it isn't a JSON object, or only the beginning of one.

    Bytes that aren't UTF-8 are replaced, and so is what no strict decoder takes though PHP may write it.
    """
    text = body.removeprefix(codecs.BOM_UTF8)
    if not text.isascii():
        try:
            text.decode()
        except UnicodeDecodeError:
            text = text.decode(errors="replace").encode()
    try:
        return _decode(text)
    except (msgspec.DecodeError, ValueError, RecursionError):
        pass  # tried again, repaired
    # What is cut short needs no closer look, and is by far the most frequent of what can't be decoded.
    if not (text.lstrip().startswith(b"{") and text.rstrip().endswith(b"}")):
        return None
    try:
        return _decode(repair(text.decode(), deepest=DEEPEST + FRAME).encode())
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None


def _said(raw: msgspec.Raw) -> Any:
    """Return what a part of an envelope says; where that is a flood, its beginning as it came."""
    words = memoryview(raw)
    if len(words) > LARGEST_WORDS:
        return bytes(words[:LARGEST_WORDS]).decode(errors="replace")
    return readable(bytes(words))[1] if words else None


def _texts(said: Any) -> Iterator[str]:
    """Yield texts, those of objects with a message or text, and those of lists, in any nesting."""
    waiting = deque([said])
    while waiting:
        one = waiting.popleft()
        if isinstance(one, str):
            yield one.strip()
        elif isinstance(one, dict):
            inner = one.get("message") or one.get("text")
            waiting.extend([inner] if inner else one.values())
        elif isinstance(one, list | tuple):
            waiting.extend(one)
