"""The marketplace itself: accounts behind one address, on real sockets."""

import asyncio
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Final, Self

from aiohttp import web

from emag_syncd.sandbox.account import Account, AccountSpec
from emag_syncd.sandbox.answers import RATE_EXCEEDED, Answer, bad_ip, failed
from emag_syncd.sandbox.asked import Asked, read_request
from emag_syncd.sandbox.content import SOURCES
from emag_syncd.sandbox.control import CONTROL, Control
from emag_syncd.sandbox.faults import CONTENT_KINDS, Fault
from emag_syncd.sandbox.stats import Exchange, Stats
from emag_syncd.sandbox.wire import REDIRECTED, SENDERS, replaced, rewritten, whole

BASE: Final = "/api-3"
_TICK: Final = 0.2
_MAX_BODY: Final = 1 << 20


class Sandbox:
    """The simulated marketplace, as an async context manager.

    It listens from entering to leaving, on a port of its own choice unless told. `strangers` records requests
    whose credentials belong to no account; they are answered with `strangers_status` (401 or 403).
    """

    def __init__(
        self,
        accounts: Mapping[str, AccountSpec],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        clock: Callable[[], float] = time.time,
        control: bool = False,
    ) -> None:
        """Opens the accounts; `clock` is the gateway's, `control` opens `/_control` to whoever comes."""
        self.accounts = {name: Account.begin(name, spec, clock) for name, spec in accounts.items()}
        self.strangers = Stats("")
        self.strangers_status = 401
        self._by_header = {account.authorization: account for account in self.accounts.values()}
        self._closing = asyncio.Event()
        self._address = (host, port)
        self._app = web.Application(client_max_size=_MAX_BODY)
        self._app.router.add_route("*", REDIRECTED, self._redirected)
        self._app.router.add_route("*", BASE + "/{name}/{action}", self._handle)
        if control:
            self._app.router.add_post(CONTROL, Control(self.accounts).handle)
        self._runner = web.AppRunner(
            self._app,
            access_log=None,
            handler_cancellation=True,
            shutdown_timeout=0.5,
        )
        self._mover: asyncio.Task[None] | None = None

    @classmethod
    def of(cls, *names: str, offers: int = 250, limited: bool = False) -> Self:
        """A marketplace with accounts of those names, without limits unless asked for."""
        return cls({name: AccountSpec(offers=offers, limited=limited) for name in names})

    async def __aenter__(self) -> Self:
        """Starts to listen.

        Raises:
            OSError: The address cannot be had.
        """
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, *self._address).start()
        except OSError:
            await self._runner.cleanup()
            raise
        self._address = (self._address[0], self._runner.addresses[0][1])
        self._mover = asyncio.create_task(self._move(), name="sandbox mover")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stops at once, whatever hangs."""
        self._closing.set()
        try:
            if self._mover:
                await self._mover
        finally:
            await self._runner.cleanup()

    @property
    def base_url(self) -> str:
        """What a client is configured with."""
        return f"http://{self._address[0]}:{self.port}{BASE}"

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._address[1]

    def move(self, seconds: float) -> None:
        """Lets every account's catalogue change as it does in that time."""
        for account in self.accounts.values():
            account.move(seconds)

    async def _move(self) -> None:
        while not self._closing.is_set():
            try:
                async with asyncio.timeout(_TICK):
                    await self._closing.wait()
            except TimeoutError:
                self.move(_TICK)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        resource = f"{request.match_info['name']}/{request.match_info['action']}"
        account = self._by_header.get(request.headers.get("Authorization", ""))
        stats = account.stats if account else self.strangers
        exchange = stats.begin(resource)
        try:
            if account is None:
                return _finish(exchange, failed(self.strangers_status), "stranger")
            return await self._serve(request, account, exchange)
        except (ConnectionError, asyncio.CancelledError):
            # The client left before it had its answer.
            exchange.outcome = "gone" if exchange.outcome == "pending" else exchange.outcome
            raise
        finally:
            stats.end(exchange)

    async def _serve(self, request: web.Request, account: Account, exchange: Exchange) -> web.StreamResponse:
        verdict = account.limits.admit()
        if not verdict.allowed:
            account.stats.refused_by_limit += 1
            if verdict.own_fault:
                account.stats.violate("rate", exchange.resource)
            return _finish(exchange, Answer(429, RATE_EXCEEDED), "rate_limited", verdict.headers)
        asked = await read_request(request, exchange.resource, account.stats.violate)
        exchange.body, exchange.page, exchange.size = asked.body, asked.page, asked.size
        if refused := _refused(request, account, asked):
            return _finish(exchange, refused, "refused", verdict.headers)
        fault = account.faults.draw(asked.resource, asked.page, asked.size)
        if delay := account.latency.delay(asked.size):
            await asyncio.sleep(delay)
        if fault is None or fault.kind in CONTENT_KINDS:
            answer = SOURCES[asked.resource](account, asked, fault)
            return _finish(exchange, answer, fault.kind if fault else "ok", verdict.headers)
        return await self._fail(request, account, asked, fault, exchange)

    async def _fail(
        self, request: web.Request, account: Account, asked: Asked, fault: Fault, exchange: Exchange
    ) -> web.StreamResponse:
        exchange.outcome = fault.kind
        if answer := replaced(request, fault):
            return _finish(exchange, answer, fault.kind, fault.headers)
        answer = rewritten(fault.kind, SOURCES[asked.resource](account, asked, None))
        if sender := SENDERS.get(fault.kind):
            return await sender(request, fault, answer, self._closing)
        return _finish(exchange, answer, fault.kind, fault.headers)

    async def _redirected(self, request: web.Request) -> web.StreamResponse:
        stats = self._by_header[header].stats if (header := _header(request)) in self._by_header else self.strangers
        stats.violate("redirect_followed", "with credentials" if header else "without credentials")
        return whole(failed(404))


def _header(request: web.Request) -> str:
    return request.headers.get("Authorization", "")


def _refused(request: web.Request, account: Account, asked: Asked) -> Answer | None:
    access = account.access
    if access.refused:
        return failed(access.refused)
    if access.allowed_ips is not None and request.remote not in access.allowed_ips:
        return Answer(access.ip_status, bad_ip(request.remote))
    if asked.resource not in SOURCES:
        account.stats.violate("unknown_path", request.path)
        return failed(404)
    return None if asked.sane else failed(400)


def _finish(
    exchange: Exchange, answer: Answer, outcome: str, headers: dict[str, str] | None = None
) -> web.StreamResponse:
    exchange.status, exchange.outcome, exchange.rows = answer.status, outcome, answer.rows
    return whole(answer, headers)
