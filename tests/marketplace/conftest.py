"""A marketplace that says what a test tells it to, and an account that is connected to it."""

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from pydantic import SecretStr

from emag_syncd.domain.calls import ApiCall
from emag_syncd.marketplace.client import Client
from emag_syncd.marketplace.link import AccountLink, LinkSettings

PASSWORD = 'pa"ss/wörd&1'

Step = web.StreamResponse | Callable[[web.Request], Awaitable[web.StreamResponse]]


def ok(results: Any) -> web.Response:
    """Return a good answer."""
    return web.json_response({"isError": False, "messages": [], "results": results})


class Marketplace:
    """Gives the answers of its script in turn, the last one for ever, and keeps what it was asked."""

    def __init__(self) -> None:
        self.script: deque[Step] = deque()
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.headers: list[dict[str, str]] = []
        self.url = ""

    def says(self, *steps: Step) -> None:
        """Set the script."""
        self.script = deque(steps)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((request.path, await request.json()))
        self.headers.append(dict(request.headers))
        step = self.script.popleft()
        if not self.script:
            self.script.append(step)
        return await step(request) if callable(step) else _copy(step)


def _copy(step: web.StreamResponse) -> web.Response:
    assert isinstance(step, web.Response)
    return web.Response(status=step.status, body=step.body, headers=step.headers)


class Noted:
    """An observer that keeps everything."""

    def __init__(self) -> None:
        self.calls: list[ApiCall] = []
        self.limited: list[float] = []
        self.waits: list[float] = []

    def called(self, call: ApiCall) -> None:
        self.calls.append(call)

    def rate_limited(self, wait_seconds: float) -> None:
        self.limited.append(wait_seconds)

    def paced(self, waited_seconds: float) -> None:
        self.waits.append(waited_seconds)

    @property
    def outcomes(self) -> list[str]:
        return [call.outcome.value for call in self.calls]


def settings_for(base_url: str, **others: Any) -> LinkSettings:
    """Return the settings of the test's account: no limits, so that nothing waits."""
    defaults: dict[str, Any] = {
        "requests_per_second": None,
        "requests_per_minute": None,
        "request_timeout_seconds": 5.0,
        "max_attempts": 3,
    }
    return LinkSettings("main", base_url, "seller", SecretStr(PASSWORD), **(defaults | others))


@pytest.fixture
async def marketplace() -> AsyncIterator[Marketplace]:
    """Run a scripted marketplace."""
    scripted = Marketplace()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", scripted.answer)
    async with TestServer(app) as server:
        scripted.url = str(server.make_url("/api-3"))
        yield scripted


@pytest.fixture
async def link(marketplace: Marketplace) -> AsyncIterator[AccountLink]:
    """Connect an account to the scripted marketplace."""
    async with AccountLink(settings_for(marketplace.url)) as link:
        yield link


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every wait after a failure short: how long they are, other tests show."""
    monkeypatch.setattr("emag_syncd.marketplace.link.LONGEST_BACKOFF", 0.01)
    monkeypatch.setattr("emag_syncd.marketplace.link.LONGEST_PAUSE", 0.05)


@pytest.fixture
def noted() -> Noted:
    """Keep what the client tells."""
    return Noted()


@pytest.fixture
def client(link: AccountLink, noted: Noted) -> Client:
    """Give a client of the account."""
    return Client(link, noted)
