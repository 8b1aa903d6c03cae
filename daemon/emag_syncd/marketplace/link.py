"""What all runs of an account share: its connections, its pace and its patience."""

import asyncio
import random
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import aiohttp
from aiohttp import encode_basic_auth
from pydantic import SecretStr

from emag_syncd.domain.errors import ConfigurationError
from emag_syncd.marketplace.errors import TransientError
from emag_syncd.marketplace.pacing import Pacer, SharedBudget
from emag_syncd.marketplace.redaction import Redactor
from emag_syncd.marketplace.transport import Exchange, Request, open_session, post

FEWEST_CONNECTIONS = 100
"""The ceiling on connections is for faults: how many requests are in flight, the scan decides."""

LONGEST_BACKOFF = 60.0
LONGEST_PAUSE = 30.0
"""Seconds, growing up to these from 1: between attempts, and after a 429 that doesn't say how long."""

_chance = random.SystemRandom()


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """How an account reaches the marketplace. None is no limit."""

    account: str
    base_url: str
    username: str
    password: SecretStr = field(repr=False)
    requests_per_second: float | None = 3.0
    requests_per_minute: float | None = 180.0
    max_concurrent_requests: int = 24
    request_timeout_seconds: float = 90.0
    max_attempts: int = 5

    def __post_init__(self) -> None:
        """Refuse an address that can't be one, or that holds credentials: addresses stand in logs."""
        parts = urlsplit(self.base_url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username or parts.query:
            raise ConfigurationError(
                f"{self.setting}.base_url is not the address of an API",
                remedy="write https://HOST/PATH, without a user name, a password or a query",
            )

    @property
    def setting(self) -> str:
        """The beginning of the names of the account's settings."""
        return f"accounts.{self.account}"


class AccountLink:
    """One account's way to the marketplace. Used inside a running loop, closed at the end.

    ``reading`` is held by who makes sense of an answer.
    """

    def __init__(self, settings: LinkSettings, budget: SharedBudget | None = None) -> None:
        """Open nothing yet. Without a ``budget`` no other process asks for the account."""
        self.reading = asyncio.Lock()
        self.pacer = Pacer(settings.requests_per_second, settings.requests_per_minute, budget=budget)
        self._session: aiohttp.ClientSession | None = None
        self._refusals = 0
        self._paused_at = self._paused_until = 0.0
        self._use(settings)

    async def __aenter__(self) -> Self:
        """Return the link."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the link."""
        await self.close()

    async def close(self) -> None:
        """Close the connections. Requests under way fail."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    @property
    def settings(self) -> LinkSettings:
        """The settings in force."""
        return self._settings

    def reconfigure(self, settings: LinkSettings) -> None:
        """Use other settings from the next request on. The ceiling on connections stays."""
        self.pacer.reconfigure(settings.requests_per_second, settings.requests_per_minute)
        self._use(settings)

    def _use(self, settings: LinkSettings) -> None:
        self._settings = settings
        password = settings.password.get_secret_value()
        self._authorization = encode_basic_auth(settings.username, password)
        token = self._authorization.partition(" ")[2]
        self.redactor = Redactor(password, token, token.rstrip("="))

    async def post(self, resource: str, body: bytes, exchange: Exchange) -> None:
        """Send ``body`` to a resource and fill ``exchange``. Raises TransientError."""
        if self._session is None:
            self._session = open_session(max(FEWEST_CONNECTIONS, self._settings.max_concurrent_requests))
        url = f"{self._settings.base_url.rstrip('/')}/{resource}"
        settings = self._settings
        request = Request(url, body, self._authorization, settings.request_timeout_seconds, settings.setting)
        await post(self._session, request, exchange)

    def backoff(self, attempt: int, error: TransientError) -> float:
        """Return the seconds to wait after attempt number ``attempt`` (from 1) failed."""
        own = float(min(LONGEST_BACKOFF, 2 ** min(attempt - 1, 10))) * _chance.uniform(0.5, 1.0)
        return max(own, error.retry_after or 0.0)

    def rate_limited(self, sent_at: float, wait: float | None) -> float:
        """Pause the account after a 429 and return for how many seconds.

        ``sent_at`` is when the refused request was sent: those that were already under way when the last
        pause began tell nothing new, and don't make it longer unless they ask for it.
        """
        now = time.monotonic()
        if wait is None:
            if sent_at < self._paused_at:
                return max(0.0, self._paused_until - now)
            wait = min(LONGEST_PAUSE, 2.0 ** min(self._refusals, 10)) * _chance.uniform(0.8, 1.2)
            self._refusals += 1
        self._paused_at, self._paused_until = now, max(self._paused_until, now + wait)
        self.pacer.pause(wait)
        return wait

    def answered(self) -> None:
        """Note a good answer: the next pause starts small again."""
        self._refusals = 0
