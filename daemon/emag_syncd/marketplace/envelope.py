"""The frame around every answer of the marketplace: isError, messages, results."""

import codecs
from collections import deque
from collections.abc import Iterator
from typing import Any

import msgspec

from emag_syncd.domain.numbers import number
from emag_syncd.marketplace.repair import DEEPEST, repair

MOST_MESSAGES = 20
LONGEST_MESSAGE = 500

FRAME = 2
"""Levels of nesting around each of the results: an offer is repaired alike in its answer and by itself."""


class Envelope(msgspec.Struct):
    """An answer's frame; ``results`` is JSON, not decoded any further, and empty when it is missing."""

    is_error: Any = msgspec.field(name="isError", default=None)
    messages: Any = None
    message: Any = None
    errors: Any = None
    error: Any = None
    results: msgspec.Raw = msgspec.Raw()

    def texts(self) -> list[str]:
        """Return what the marketplace says in words, from wherever it says it: at most ``MOST_MESSAGES``."""
        found: list[str] = []
        for text in _texts((self.messages, self.message, self.errors, self.error)):
            if text and text not in found:
                found.append(text)
            if len(found) == MOST_MESSAGES:
                break
        return found


_decode = msgspec.json.Decoder(Envelope, float_hook=number).decode


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
    if not text.lstrip().startswith(b"{"):
        return None
    try:
        return _decode(repair(text.decode(), deepest=DEEPEST + FRAME).encode())
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None


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
