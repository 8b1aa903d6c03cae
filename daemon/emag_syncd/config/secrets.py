"""What is secret, and how it is left out of what people read."""

import json
import re
from base64 import b64encode
from collections.abc import Iterator
from html import escape
from urllib.parse import parse_qs, quote, quote_plus, unquote, urlsplit

MASK = "********"

_USER_INFO = re.compile(r"(?P<before>\b[a-z][a-z0-9+.-]*://[^\s/?#:@]*:)[^\s/?#]*(?=@)", re.IGNORECASE)
_PARAMETER = re.compile(
    r"(?P<before>\b[a-z_]*(?:password|passwd|passphrase|secret|token|api_?key)(?:=|\s+=\s*))"
    r"(?:'[^']*'|\"(?:[^\"\\]|\\.)*\"|[^\s&'\";,]+)",
    re.IGNORECASE,
)


def hide_passwords(text: str) -> str:
    """Mask the passwords that addresses in ``text`` hold: ``scheme://user:password@``, ``password=…``."""
    for pattern in (_USER_INFO, _PARAMETER):
        text = pattern.sub(rf"\g<before>{MASK}", text)
    return text


def passwords_in(url: str) -> Iterator[str]:
    """Yield the passwords that an address holds, as written and decoded."""
    parts = urlsplit(url)
    if parts.password:
        yield from {parts.password, unquote(parts.password)}
    yield from parse_qs(parts.query).get("password", ())


def spellings(secret: str) -> set[str]:
    """Return how a secret may be written: as it is, in an address, in JSON, in HTML, in a repr."""
    quoted = {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    slashed = {one.replace("/", "\\/") for one in quoted}
    return {
        secret,
        quote(secret, safe=""),
        quote_plus(secret),
        escape(secret),
        repr(secret)[1:-1],
        *quoted,
        *slashed,
    }


def basic_credentials(username: str, password: str) -> str:
    """Return what an HTTP ``Authorization: Basic`` header holds for the two."""
    return b64encode(f"{username}:{password}".encode()).decode("ascii")
