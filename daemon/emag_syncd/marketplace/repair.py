"""Makes JSON that PostgreSQL's jsonb takes out of JSON that it doesn't, changing only the tokens at fault."""

import json
import re
from typing import Any

import msgspec

from emag_syncd.domain.canonical import parse
from emag_syncd.domain.numbers import number

DEEPEST = 200
"""Levels of nesting that are kept; what lies deeper becomes a string that holds its JSON."""

# A string that never ends takes the rest: looking for its end from each quote again would be quadratic.
_TOKEN = re.compile(
    r'"(?:[^"\\]++|\\.)*+(?:"|\Z)|[\[\]{}]|-?Infinity|NaN|-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?',
    re.DOTALL,
)
_REFUSED = re.compile(r"[\x00\ud800-\udfff]")
_CONTROL = re.compile(r"[\x00-\x1f]")
_ESCAPE = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")
_ESCAPE_BYTES = re.compile(_ESCAPE.pattern.encode())


def readable(raw: bytes) -> tuple[bytes, Any]:
    """Return well-formed JSON as jsonb takes it, and what it says: ``raw`` itself wherever that will do."""
    is_escaped = b"\\u" in raw and _ESCAPE_BYTES.search(raw)
    if not is_escaped and raw.count(b"{") + raw.count(b"[") <= DEEPEST:
        try:
            return raw, parse(raw)
        except (msgspec.DecodeError, ValueError):
            pass  # a number out of range, or bytes that aren't UTF-8
    repaired = repair(raw.decode(errors="replace")).encode()
    return repaired, parse(repaired)


def repair(text: str, *, deepest: int = DEEPEST) -> str:
    """Return ``text`` with what jsonb refuses replaced; every other character stays as it is.

    NUL and lone surrogates become U+FFFD, control characters are escaped. Numbers out of range, NaN and
    infinity become strings, and so does what is nested deeper than ``deepest``. What isn't JSON stays so.
    """
    pieces: list[str] = []
    kept = depth = 0
    for match in _TOKEN.finditer(text):
        word = match.group()
        if word in "[{":
            depth += 1
            if depth == deepest + 1:
                pieces.append(text[kept : match.start()])
                kept = match.start()
        elif word in "]}":
            if depth == deepest + 1:
                pieces.append(_quoted(text[kept : match.end()]))
                kept = match.end()
            depth -= 1
        elif depth <= deepest and (fixed := _fixed(word)) != word:
            pieces += (text[kept : match.start()], fixed)
            kept = match.end()
    pieces.append(text[kept:])
    return "".join(pieces)


def _fixed(token: str) -> str:
    if token.startswith('"'):
        return _fixed_string(token)
    try:
        number(token)
    except ValueError:
        return _quoted(token)
    return token


def _fixed_string(token: str) -> str:
    bare = _CONTROL.search(token) is not None
    if not bare and not _ESCAPE.search(token):
        return token
    try:
        value = json.loads(token, strict=False)
    except ValueError:
        return token
    # Emoji come as pairs of such escapes and are fine as they are.
    return _quoted(value) if bare or _REFUSED.search(value) else token


def _quoted(text: str) -> str:
    return json.dumps(_REFUSED.sub("\ufffd", text), ensure_ascii=False)
