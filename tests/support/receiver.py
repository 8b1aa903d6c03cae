"""A receiver of webhooks on a real socket, which verifies what comes as docs/webhooks.md says."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from aiohttp import web
from standardwebhooks import Webhook

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo="

Reply: TypeAlias = Callable[["Heard"], Any]


@dataclass(frozen=True)
class Heard:
    """One message as it came, its signature verified."""

    id: str
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def account(self) -> str:
        """Whose message it is."""
        return str(self.body["data"]["account"])

    @property
    def key(self) -> str:
        """What the message is about: a run, or the changes of a page."""
        data = self.body["data"]
        return f"{self.body['type']} {data['run']['id']} {[change['id'] for change in data.get('changes', ())]}"


@dataclass
class Receiver:
    """What came. ``reply`` decides on the answer: a status, or a whole response, awaited if need be."""

    url: str = ""
    secret: str = SECRET
    reply: Reply = lambda _: 200
    heard: list[Heard] = field(default_factory=list)
    accepted: list[Heard] = field(default_factory=list)
    requests: dict[str, web.Request] = field(default_factory=dict)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Verify the message, note it, and answer."""
        headers = dict(request.headers)
        body = Webhook(self.secret).verify(await request.read(), headers)
        message = Heard(headers["webhook-id"], headers, body)
        self.requests[message.id] = request
        self.heard.append(message)
        answer = self.reply(message)
        answer = await answer if asyncio.iscoroutine(answer) else answer
        if isinstance(answer, web.StreamResponse):
            return answer
        if answer < 300:
            self.accepted.append(message)
        return web.Response(status=answer)

    def types(self) -> list[str]:
        """Return what was accepted, by type."""
        return [message.body["type"] for message in self.accepted]


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """Run a receiver; a message that it can't verify is answered with 500, and noted nowhere."""
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/hook", receiver.handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    receiver.url = f"http://{host}:{port}/hook?token=t0ken-in-the-url"
    try:
        yield receiver
    finally:
        await runner.cleanup()
