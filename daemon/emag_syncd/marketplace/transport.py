"""Carries one request to the marketplace and its answer back, within limits of time and size."""

import os
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import aiohttp
from aiohttp import AddrInfoType

from emag_syncd import __version__
from emag_syncd.domain.calls import CallOutcome
from emag_syncd.marketplace.errors import TransientError

LARGEST_BODY = 64 * 2**20
CONNECT_TIMEOUT_SECONDS = 15.0
KEEPALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}
"""A connection whose other side is silently gone is found out after a minute, where the system can."""

HEADERS = {
    "Accept": "application/json",
    "Content-Type": "application/json",
    "User-Agent": f"emag-syncd/{__version__}",
}


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent, and where. ``setting`` begins the names of the settings that remedies point to."""

    url: str
    body: bytes
    authorization: str = field(repr=False)
    timeout_seconds: float
    setting: str

    @property
    def host(self) -> str:
        """The host that is asked, with its port where one is given."""
        return self.url.partition("://")[2].partition("/")[0]


@dataclass(slots=True)
class Exchange:
    """What is known of one request so far: all of it, or what there was when it failed."""

    started: float = field(default_factory=time.monotonic)
    duration: float = 0.0
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


def open_session(connections: int) -> aiohttp.ClientSession:
    """Return a session with so many connections at most, without cookies and the environment's proxies."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=connections, socket_factory=_keepalive_socket),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
    )


async def post(session: aiohttp.ClientSession, request: Request, exchange: Exchange) -> None:
    """Send the request and fill ``exchange`` with what comes. Redirects are not followed.

    Raises TransientError when no whole answer comes.
    """
    timeout = aiohttp.ClientTimeout(
        total=request.timeout_seconds, sock_connect=min(CONNECT_TIMEOUT_SECONDS, request.timeout_seconds)
    )
    headers = HEADERS | {"Authorization": request.authorization}
    chunks: list[bytes] = []
    try:
        with _explained(request):
            async with session.post(
                request.url, data=request.body, headers=headers, allow_redirects=False, timeout=timeout
            ) as response:
                exchange.status, exchange.headers = response.status, response.headers
                await _read(response, chunks)
    finally:
        exchange.duration = time.monotonic() - exchange.started
        exchange.body = b"".join(chunks)


async def _read(response: aiohttp.ClientResponse, chunks: list[bytes]) -> None:
    size = 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > LARGEST_BODY:
            raise TransientError(
                f"the marketplace's answer is longer than {LARGEST_BODY // 2**20} MiB",
                outcome=CallOutcome.BAD_ANSWER,
                shrink=True,
            )
        chunks.append(chunk)


@contextmanager
def _explained(request: Request) -> Iterator[None]:
    """Turn what can go wrong on the way into TransientError.

    The causes are left out on purpose: aiohttp's errors may hold the request's headers.
    """
    try:
        yield
    except aiohttp.ConnectionTimeoutError:
        raise _unreachable(request, "no connection in time") from None
    except TimeoutError:
        raise TransientError(
            f"no whole answer from {request.host} within {request.timeout_seconds:g} seconds",
            outcome=CallOutcome.TIMEOUT,
            remedy=f"raise {request.setting}.request_timeout_seconds if it is often that slow",
            shrink=True,
        ) from None
    except (aiohttp.ClientSSLError, ssl.SSLError) as error:
        raise _untrusted(request, error) from None
    except aiohttp.ClientConnectorError as error:
        raise _unreachable(request, _reason(error.os_error)) from None
    except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError):
        raise TransientError(
            f"{request.host} closed the connection before its answer was complete",
            outcome=CallOutcome.CONNECTION,
            shrink=True,
        ) from None
    except aiohttp.ClientError:
        raise TransientError(
            f"what {request.host} answered is not HTTP",
            outcome=CallOutcome.BAD_ANSWER,
            remedy=f"check {request.setting}.base_url",
        ) from None


def _unreachable(request: Request, reason: str) -> TransientError:
    return TransientError(
        f"can't connect to {request.host}: {reason}",
        outcome=CallOutcome.CONNECTION,
        remedy=f"check {request.setting}.base_url, and this machine's DNS and way to the internet",
    )


def _reason(error: OSError) -> str:
    # asyncio puts the address into strerror; a resolver's own errors have negative numbers.
    return os.strerror(error.errno) if error.errno and error.errno > 0 else str(error.strerror or error)


def _untrusted(request: Request, error: Exception) -> TransientError:
    cause = getattr(error, "certificate_error", None) or getattr(error, "os_error", None) or error
    reason = getattr(cause, "verify_message", "") or getattr(cause, "reason", "") or "the handshake failed"
    return TransientError(
        f"no secure connection to {request.host}: {reason}",
        outcome=CallOutcome.CONNECTION,
        remedy=f"check {request.setting}.base_url, and this machine's clock and CA certificates",
    )


def _keepalive_socket(address: AddrInfoType) -> socket.socket:
    family, kind, protocol, _, _ = address
    created = socket.socket(family, kind, protocol)
    created.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in KEEPALIVE.items():
        if hasattr(socket, name):
            created.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return created
