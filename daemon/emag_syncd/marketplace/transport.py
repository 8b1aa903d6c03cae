"""Carries one request to the marketplace and its answer back, within limits of time and size."""

import os
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace

import aiohttp
from aiohttp import AddrInfoType
from aiohttp.http_exceptions import ContentEncodingError

from emag_syncd import __version__
from emag_syncd.domain.calls import CallOutcome
from emag_syncd.marketplace.errors import TransientError

LARGEST_BODY = 16 * 2**20
"""Bytes of one answer. A page has a hundredth of that, and pages get smaller where it is not enough."""

USUAL_BODY = 2**20
SHARED_ROOM = 2 * LARGEST_BODY
"""Bytes: what all answers under way take beyond ``USUAL_BODY`` each, in the whole process."""

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
    """What is known of one request so far: all of it, or what there was when it failed.

    ``left`` is called when the request is on its way.
    """

    started: float = field(default_factory=time.monotonic)
    duration: float = 0.0
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    left: Callable[[], None] = field(default=lambda: None, repr=False)


def keepalive_socket(address: AddrInfoType) -> socket.socket:
    """Return a socket that notices when its other side is silently gone."""
    family, kind, protocol, _, _ = address
    created = socket.socket(family, kind, protocol)
    created.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in KEEPALIVE.items():
        if hasattr(socket, name):
            created.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return created


def open_session(
    connections: int, make_socket: Callable[[AddrInfoType], socket.socket] = keepalive_socket
) -> aiohttp.ClientSession:
    """Return a session with so many connections at most, without cookies and the environment's proxies.

    ``make_socket`` makes the socket of each connection, knowing where to; it may refuse with an OSError.
    """
    departures = aiohttp.TraceConfig()
    departures.on_request_headers_sent.append(_tell_left)
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=connections, socket_factory=make_socket),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        trace_configs=[departures],
    )


async def _tell_left(
    _session: aiohttp.ClientSession, context: SimpleNamespace, _request: aiohttp.TraceRequestHeadersSentParams
) -> None:
    exchange = context.trace_request_ctx
    # Webhooks go over such a session, too, and have none.
    if isinstance(exchange, Exchange):
        exchange.left()


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
                request.url,
                data=request.body,
                headers=headers,
                allow_redirects=False,
                timeout=timeout,
                trace_request_ctx=exchange,
            ) as response:
                exchange.status, exchange.headers = response.status, response.headers
                await _room.read(response, chunks)
    finally:
        exchange.duration = time.monotonic() - exchange.started
        exchange.body = b"".join(chunks)


class _Room:
    """The memory that answers of unusual size share: one account's must not cost the process its life."""

    def __init__(self) -> None:
        self._taken = 0

    async def read(self, response: aiohttp.ClientResponse, chunks: list[bytes]) -> None:
        """Read an answer into ``chunks``. Raises TransientError when it is too large."""
        size = own = 0
        try:
            async for chunk in response.content.iter_any():
                size += len(chunk)
                taken = max(0, size - USUAL_BODY) - own
                if size > LARGEST_BODY or self._taken + taken > SHARED_ROOM:
                    raise _too_long(size)
                own, self._taken = own + taken, self._taken + taken
                chunks.append(chunk)
        finally:
            self._taken -= own


_room = _Room()


def _too_long(size: int) -> TransientError:
    whole = f"longer than {LARGEST_BODY // 2**20} MiB"
    beside = f"longer than {size // 2**20} MiB while others are as well"
    return TransientError(
        f"the marketplace's answer is {whole if size > LARGEST_BODY else beside}",
        outcome=CallOutcome.BAD_ANSWER,
        remedy="smaller pages are tried; one offer that is that large can't be read",
        shrink=True,
    )


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
    except aiohttp.ClientPayloadError as error:
        raise _spoilt(request, error) from None
    except aiohttp.ClientConnectionError:
        raise _cut(request) from None
    except aiohttp.ClientError:
        raise TransientError(
            f"what {request.host} answered is not HTTP",
            outcome=CallOutcome.BAD_ANSWER,
            remedy=f"check {request.setting}.base_url",
        ) from None


def _cut(request: Request) -> TransientError:
    return TransientError(
        f"{request.host} closed the connection before its answer was complete",
        outcome=CallOutcome.CONNECTION,
        remedy="try again later; if it stays so, look for what cuts connections between it and this machine",
        shrink=True,
    )


def _spoilt(request: Request, error: aiohttp.ClientPayloadError) -> TransientError:
    if not isinstance(error.__cause__, ContentEncodingError):
        return _cut(request)
    return TransientError(
        f"what {request.host} answered can't be unpacked",
        outcome=CallOutcome.BAD_ANSWER,
        remedy=f"check {request.setting}.base_url, and what stands between it and this machine",
    )


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
