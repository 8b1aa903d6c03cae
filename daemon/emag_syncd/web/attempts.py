"""How often a wrong token may be tried.

Counted are different tokens: a program that keeps sending the one it has always had is not guessing, and must not
shut out its neighbours. An address that was right before is not shut out by what others do.
"""

import hashlib
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address
from typing import NamedTuple

from aiohttp import web

WINDOW_SECONDS = 60.0

MOST_OF_ONE = 10
"""Wrong tokens from one address within the window."""

MOST_OF_STRANGERS = 100
"""Wrong tokens from all other machines together that never were right."""

MOST_KNOWN = 1000
"""Addresses that are remembered for having been right."""

_NETWORK_BITS = 64


class Source(NamedTuple):
    """Where a request comes from. ``is_here`` is this machine itself, and not what a proxy on it passes on."""

    address: str
    is_here: bool


class _Wrong(NamedTuple):
    at: float
    source: Source
    print: bytes


class Attempts:
    """Remembers the wrong tokens of the last minute, by what can't be turned back into them."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with none."""
        self._clock = clock
        self._salt = secrets.token_bytes(16)
        self._wrong: list[_Wrong] = []
        self._known: OrderedDict[Source, None] = OrderedDict()

    def wait(self, source: Source) -> float:
        """Return in how many seconds ``source`` may try a token again; 0 is now."""
        self._forget()
        of_one = [wrong.at for wrong in self._wrong if wrong.source == source]
        waits = [self._until_fewer(of_one, MOST_OF_ONE)]
        if self._is_stranger(source):
            of_strangers = [wrong.at for wrong in self._wrong if self._is_stranger(wrong.source)]
            waits.append(self._until_fewer(of_strangers, MOST_OF_STRANGERS))
        return max(waits)

    def failed(self, source: Source, token: bytes) -> bool:
        """Take note of a wrong token; return whether it is a new one."""
        seen = hashlib.blake2b(token, key=self._salt, digest_size=16).digest()
        if any(wrong.source == source and wrong.print == seen for wrong in self._wrong):
            return False
        self._wrong.append(_Wrong(self._clock(), source, seen))
        return True

    def succeeded(self, source: Source) -> None:
        """Take note that ``source`` has the right token."""
        self._known[source] = None
        self._known.move_to_end(source)
        if len(self._known) > MOST_KNOWN:
            self._known.popitem(last=False)

    def _is_stranger(self, source: Source) -> bool:
        return not source.is_here and source not in self._known

    def _until_fewer(self, times: list[float], most: int) -> float:
        return 0.0 if len(times) < most else times[-most] + WINDOW_SECONDS - self._clock()

    def _forget(self) -> None:
        since = self._clock() - WINDOW_SECONDS
        self._wrong = [wrong for wrong in self._wrong if wrong.at > since]


def source_of(request: web.Request) -> Source:
    """Return where ``request`` comes from; of what a proxy on this machine passes on, what the proxy says of it."""
    peer = _network(request.remote or "")
    forwarded = request.headers.getall("X-Forwarded-For", [])
    if peer is None:
        return Source("unknown", is_here=False)
    if not peer.is_here or not forwarded:
        return peer
    last = _network(forwarded[-1].rpartition(",")[2].strip())
    return Source("unknown" if last is None else last.address, is_here=False)


def _network(text: str) -> Source | None:
    """Return the address; of IPv6 what one household or company has of it."""
    try:
        address = ip_address(text.strip("[]"))
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        address = address.ipv4_mapped or address
    if address.is_loopback or not isinstance(address, IPv6Address):
        return Source(str(address), is_here=address.is_loopback)
    spare = 128 - _NETWORK_BITS
    return Source(str(IPv6Address(int(address) >> spare << spare)), is_here=False)
