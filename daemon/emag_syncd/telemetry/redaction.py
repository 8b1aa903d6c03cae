"""Keeps secrets out of the log, wherever in a line they stand."""

import re
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from typing import Any

from emag_syncd.config import MASK, hide_passwords, spellings

SHORTEST = 4
"""Characters below which a configured secret is not searched for: it would be found in every other word."""

DEEPEST = 8

_SECRET_WORDS = (
    *("password", "passphrase", "passwd", "pwd", "secret", "token", "authorization", "cookie", "dsn"),
    *("apikey", "privatekey", "credential", "credentials"),
)
_WORDS = re.compile(r"[a-z]+")
_KEY_WORDS = re.compile(r"(?<=api)[_-](?=key)|(?<=private)[_-](?=key)")
# What follows must look like a credential and not like prose: "Basic authentication" is not one.
_SCHEMES = re.compile(
    r"\b(?P<scheme>Basic|Bearer)\s+(?=[A-Za-z0-9._~+/-]{8})(?=\S[a-z]*[^a-z\s])[A-Za-z0-9._~+/-]+=*",
    re.IGNORECASE,
)
_QUOTED = re.compile(
    r"(?P<before>(?P<key>['\"])[a-z_-]*(?:password|passphrase|secret|token|authorization|cookie|(?:api|private)[_-]?key)"
    r"(?P=key)\s*:\s*)"
    r"(?:\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*')",
    re.IGNORECASE,
)

_HEADER = re.compile(
    r"(?P<before>\b(?:(?:proxy-)?authorization|(?:set-)?cookie|x-api-key)\s*:\s*(?:(?:Basic|Bearer|Digest)\s+)?)"
    r"(?=\S)[^\r\n]+",
    re.IGNORECASE,
)
_SIGNING_SECRET = re.compile(r"\b(?P<before>whsec_)[A-Za-z0-9+/]{8,}=*")
_JSON_WEB_TOKEN = re.compile(r"(?P<before>\beyJ)[\w-]{8,}\.[\w-]+\.[\w-]*")


class Redactor:
    """A structlog processor that masks what must not be read.

    Masked are the values of keys such as ``password``, credentials in the middle of a text, and the secrets
    that are configured, in every form in which they are written. What is no plain value becomes its text.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        """Look for ``secrets``, and for what betrays itself by its name or form."""
        self._by_start: dict[str, set[str]] = {}
        for secret in secrets:
            for spelling in spellings(secret):
                if len(spelling) >= SHORTEST:
                    self._by_start.setdefault(spelling[:SHORTEST], set()).add(spelling)

    def __call__(self, _logger: Any, _method: str, event: MutableMapping[str, Any]) -> dict[str, Any]:
        """Return the event with nothing secret in it."""
        return {key: self._value(key, value, 0) for key, value in event.items()}

    def text(self, text: str) -> str:
        """Return ``text`` with nothing secret in it."""
        for secret in self._found(text):
            text = text.replace(secret, MASK)
        text = _SCHEMES.sub(rf"\g<scheme> {MASK}", text)
        for pattern in (_HEADER, _SIGNING_SECRET, _JSON_WEB_TOKEN):
            text = pattern.sub(rf"\g<before>{MASK}", text)
        return hide_passwords(_QUOTED.sub(rf'\g<before>"{MASK}"', text))

    def _found(self, text: str) -> list[str]:
        """Return the secrets that may be in ``text``, longest first; their number costs no time."""
        if not self._by_start:
            return []
        starts = {text[at : at + SHORTEST] for at in range(len(text) - SHORTEST + 1)}
        found = {secret for start in starts & self._by_start.keys() for secret in self._by_start[start]}
        return sorted(found, key=len, reverse=True)

    def _value(self, key: str, value: Any, depth: int) -> Any:
        if value is None or isinstance(value, bool):
            return value
        if depth > DEEPEST or _tells_of_a_secret(key):
            return MASK
        if isinstance(value, Mapping):
            return {self.text(str(name)): self._value(str(name), one, depth + 1) for name, one in value.items()}
        if isinstance(value, list | tuple) and _is_pair(value):
            return [value[0], self._value(value[0], value[1], depth + 1)]
        if isinstance(value, list | tuple | set | frozenset):
            return [self._value("", one, depth + 1) for one in value]
        text = _text(value)
        masked = self.text(text)
        return value if type(value) in {int, float} and masked == text else masked


def _tells_of_a_secret(key: str) -> bool:
    """Whether a key is called like what is secret: ``db_password``, ``dbPassword``, ``X-Api-Key``."""
    return any(word.endswith(_SECRET_WORDS) for word in _WORDS.findall(_KEY_WORDS.sub("", key.lower())))


def _is_pair(value: Sequence[Any]) -> bool:
    """Whether it is a name and its value, as headers are kept."""
    return len(value) == len(("name", "value")) and isinstance(value[0], str) and _tells_of_a_secret(value[0])


def _text(value: Any) -> str:
    """Return a value as text. A line of the log must not fail over what it is about."""
    try:
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    except Exception as error:  # noqa: BLE001 - whatever a value's own __str__ raises
        return f"<{type(value).__name__} without a text: {type(error).__name__}>"
