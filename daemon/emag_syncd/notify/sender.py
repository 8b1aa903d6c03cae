"""Sends one signed message to one receiver, and says what became of it."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from http import HTTPStatus
from urllib.parse import urlsplit
from uuid import uuid4

import aiohttp
from standardwebhooks import Webhook

from emag_syncd import __version__
from emag_syncd.config import Webhooks
from emag_syncd.marketplace.limits import retry_after
from emag_syncd.marketplace.transport import keepalive_socket, open_session
from emag_syncd.notify.addresses import public_socket
from emag_syncd.notify.messages import trial_body

CONNECTIONS = 100
ATTEMPT_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Receiver:
    """Who is told. Only ``address``, which leaves out the query, is fit for logs and tables."""

    url: str = field(repr=False)

    @property
    def id(self) -> str:
        """What the receiver is known by in the database."""
        return sha256(self.url.encode()).hexdigest()

    @property
    def address(self) -> str:
        """The URL without its query, which may hold a token."""
        return urlsplit(self.url)._replace(query="", fragment="").geturl()


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of sending a message: ``error`` is empty where the receiver took it."""

    seconds: float
    status: int | None = None
    error: str = ""
    retry_after: float | None = None

    @property
    def gone(self) -> bool:
        """Whether the receiver wants no more messages, ever."""
        return self.status == HTTPStatus.GONE


class Sender:
    """Sends messages signed with the configured secrets. Used inside a running loop, closed at the end."""

    def __init__(self, settings: Webhooks, *, attempt_seconds: float) -> None:
        """Open nothing yet; an attempt takes ``attempt_seconds`` at most."""
        self.receivers = [Receiver(url) for url in dict.fromkeys(settings.urls)]
        self._signers = [Webhook(key) for key in settings.keys]
        self._make_socket = keepalive_socket if settings.allow_private else public_socket
        self._seconds = attempt_seconds
        self._session: aiohttp.ClientSession | None = None

    async def send(self, receiver: Receiver, message_id: str, body: str) -> Attempt:
        """Send ``body``. Raises nothing for what the receiver or the network does."""
        began = time.monotonic()
        try:
            async with self._opened().post(
                receiver.url,
                data=body.encode(),
                headers=self._headers(message_id, body),
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=self._seconds),
            ) as response:
                # What stands in the body is of no interest, and may have no end.
                error, wait = _refusal(response.status), retry_after(response.headers)
                return Attempt(time.monotonic() - began, response.status, error, wait)
        except (aiohttp.ClientError, OSError, ValueError) as failure:
            return Attempt(time.monotonic() - began, error=self._said(failure))

    async def close(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = open_session(CONNECTIONS, self._make_socket)
        return self._session

    def _headers(self, message_id: str, body: str) -> Mapping[str, str]:
        now = datetime.now(UTC)
        signatures = [signer.sign(message_id, now, body) for signer in self._signers]
        return {
            "Content-Type": "application/json",
            "User-Agent": f"emag-syncd/{__version__}",
            "webhook-id": message_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": " ".join(signatures),
        }

    def _said(self, failure: Exception) -> str:
        """Return what went wrong, without the URL: it may hold a token."""
        match failure:
            case TimeoutError():
                return f"no answer within {self._seconds:g} seconds"
            case aiohttp.ClientConnectorError():
                return str(failure.os_error)
            case aiohttp.ClientConnectionError():
                return "the connection was lost before the answer came"
            case _:
                return f"no answer in HTTP ({type(failure).__name__})"


async def try_receivers(settings: Webhooks) -> list[tuple[Receiver, Attempt]]:
    """Send a test message to each receiver at once, and return what became of it."""
    sender = Sender(settings, attempt_seconds=ATTEMPT_SECONDS)
    try:
        sent = [sender.send(receiver, f"msg_{uuid4()}", trial_body()) for receiver in sender.receivers]
        return list(zip(sender.receivers, await asyncio.gather(*sent), strict=True))
    finally:
        await sender.close()


def _refusal(status: int) -> str:
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return ""
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return f"answered {status}: redirects are not followed; put the new address into webhooks.urls"
    return f"answered {status}"
