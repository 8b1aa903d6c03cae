"""A browser's session: what its cookie holds in place of the token.

The value is an end and a random name under a seal that only the token makes, so it outlives a restart of the daemon
and ends with the token. It counts at the host that it was given at, and nowhere else.
"""

import hmac
import secrets
import time
from collections.abc import Callable

SECONDS = 12 * 3600
"""How long a session lasts."""

_HASH = "sha256"


class Sessions:
    """Begins, knows and ends sessions under one token."""

    def __init__(self, token: bytes, clock: Callable[[], float] = time.time) -> None:
        """Seal with what ``token`` gives; the token itself is not kept."""
        self._key = hmac.digest(token, b"emag-syncd session", _HASH)
        self._clock = clock
        self._ended: dict[str, int] = {}
        # Cookies know no ports: two daemons on one machine must not take each other's.
        self.cookie = f"emag_syncd_{hmac.digest(self._key, b'cookie', _HASH).hex()[:8]}"
        """The cookie's name."""

    def begin(self, host: str) -> str:
        """Return the value of a new session at ``host``."""
        body = f"{int(self._clock()) + SECONDS}.{secrets.token_urlsafe(16)}"
        return f"{body}.{self._seal(body, host)}"

    def holds(self, value: str, host: str) -> bool:
        """Whether ``value`` is that of a session at ``host`` that has not ended."""
        body, _, seal = value.rpartition(".")
        if not hmac.compare_digest(_bytes(seal), self._seal(body, host).encode()):
            return False
        return body not in self._ended and self._clock() < _end(body)

    def end(self, value: str) -> None:
        """End a session that holds, whoever else has its value."""
        now = self._clock()
        self._ended = {body: end for body, end in self._ended.items() if now < end}
        body = value.rpartition(".")[0]
        self._ended[body] = _end(body)

    def _seal(self, body: str, host: str) -> str:
        return hmac.digest(self._key, _bytes(f"{body} {host}"), _HASH).hex()


def _end(body: str) -> int:
    return int(body.partition(".")[0])


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogateescape")
