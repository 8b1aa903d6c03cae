"""Server-sent events: what runs do, as it happens. A reader that is slow misses events; it never holds up a sync."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from itertools import count
from typing import Any
from uuid import UUID

import msgspec
import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from emag_syncd.domain.errors import DatabaseError
from emag_syncd.web.answers import ProblemError
from emag_syncd.web.elsewhere import Elsewhere
from emag_syncd.web.hub import Event, Hub
from emag_syncd.web.openapi import Text, operation
from emag_syncd.web.parameters import EventsParameters, read_query
from emag_syncd.web.parts import API, WebParts

LOOK_SECONDS = 2.0
"""How often runs of other processes, and the health of this one, are looked at while somebody reads."""

PULSE_LOOKS = 5
"""Of so many looks one is told of, for what shows how long ago things were."""

SILENCE_SECONDS = 15.0
"""After which a line is sent to show that the connection lives, to us and to what stands between."""

PATIENCE_SECONDS = 60.0
"""How long a reader may take nothing of what is there for it."""

MOST_READERS = 200

SEEN = web.RequestKey("SEEN", str)
"""The id of the latest event when the request came: whatever is read for its answer is no older."""

log = structlog.get_logger(__name__)


class Events:
    """The stream of events."""

    def __init__(self, parts: WebParts) -> None:
        """Tell of the runs of this process, and of those that the ledger shows elsewhere."""
        self.hub = Hub()
        self._parts = parts
        self._elsewhere = Elsewhere(parts.ledger, self._is_here, self.hub.publish)
        self._readers = 0
        self._stuck: set[asyncio.Transport] = set()
        self._looker: asyncio.Task[None] | None = None
        self._health: list[bool] = []
        self._unsubscribe = parts.recorder.subscribe(self._heard)
        self._uncount = parts.counts.subscribe(lambda: self.hub.publish("counted", {}))

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        # Without HEAD, whose answers have no body: a stream would write one.
        return [web.get(f"{API}/events", self._stream, allow_head=False)]

    async def close(self, _app: web.Application) -> None:
        """Let the readers go; they come back to the next process."""
        self._unsubscribe()
        self._uncount()
        self.hub.close()
        for transport in self._stuck:
            transport.abort()
        if self._looker is not None:
            self._looker.cancel()

    @web.middleware
    async def noted(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let a page know after which event it was made."""
        request[SEEN] = self.hub.id_of(self.hub.latest)
        return await handler(request)

    def _heard(self, event: str, data: dict[str, Any]) -> None:
        """Pass on what a run of this process does, with times as the ledger has them."""
        left = data.get("seconds_left")
        completion = None if left is None else datetime.now(UTC) + timedelta(seconds=left)
        self.hub.publish(event, data | {"estimated_completion": completion} if event == "progress" else data)

    @operation(
        "Server-sent events: what runs do, as it happens",
        query=EventsParameters,
        answers={HTTPStatus.OK: Text("text/event-stream")},
        headers={"Last-Event-ID": "The id of the last event that was seen, which counts before ``after``"},
    )
    async def _stream(self, request: web.Request) -> web.StreamResponse:
        # A browser that comes back asks for the same address, and says by the header what it has seen since.
        last = request.headers.get("Last-Event-ID") or read_query(request, EventsParameters).after
        with self._reader():
            response = web.StreamResponse(
                headers={hdrs.CONTENT_TYPE: "text/event-stream", "X-Accel-Buffering": "no"},
            )
            # Readers come and go, some before their stream begins: nothing went wrong.
            with suppress(ConnectionError):
                await response.prepare(request)
                await self._tell(request, response, after=self.hub.latest if last is None else self.hub.number_of(last))
            return response

    async def _tell(self, request: web.Request, response: web.StreamResponse, after: int) -> None:
        """Write what there is after what the reader has seen, until one of the two ends. Raises ConnectionError."""
        await self._send(request, response, f"retry: 2000\nid: {self.hub.id_of(after)}\n\n".encode())
        while not self.hub.closed:
            if self.hub.missed(after):
                after = self.hub.latest
                await self._send(request, response, self._written(Event(after, "missed", {})))
            events = self.hub.since(after)
            text = b"".join(map(self._written, events)) or b": alive\n\n"
            await self._send(request, response, text)
            after = events[-1].number if events else after
            await self.hub.wait(after, SILENCE_SECONDS)

    async def _send(self, request: web.Request, response: web.StreamResponse, text: bytes) -> None:
        """Write, and drop a reader that takes nothing, or that does so when the stream ends."""
        transport = request.transport
        if transport is None:
            raise ConnectionResetError
        self._stuck.add(transport)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await response.write(text)
        except TimeoutError:
            transport.abort()
            raise ConnectionResetError from None
        finally:
            self._stuck.discard(transport)

    def _written(self, event: Event) -> bytes:
        data = msgspec.json.encode(event.data).decode()
        return f"id: {self.hub.id_of(event.number)}\nevent: {event.name}\ndata: {data}\n\n".encode()

    @contextmanager
    def _reader(self) -> Iterator[None]:
        if self._readers >= MOST_READERS:
            raise ProblemError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"{MOST_READERS} clients follow the events already: close some, and try again",
                headers={hdrs.RETRY_AFTER: "5"},
            )
        self._readers += 1
        if self._looker is None:
            self._looker = asyncio.create_task(self._look(), name="events")
        try:
            yield
        finally:
            self._readers -= 1
            if not self._readers and self._looker is not None:
                self._looker.cancel()
                self._looker = None

    async def _look(self) -> None:
        """See what other processes do, and how this one is, as long as somebody wants to know."""
        for look in count():
            if look % PULSE_LOOKS == 0:
                self.hub.publish("pulse", {})
            checks = [check.ok for check in (*self._parts.health.live(), *self._parts.health.ready())]
            if self._health not in ([], checks):
                self.hub.publish("health", {"ok": all(checks)})
            self._health = checks
            try:
                await self._elsewhere.look()
            except DatabaseError as error:
                log.debug("runs elsewhere not seen", action="events_look_failed", error=str(error))
            await asyncio.sleep(LOOK_SECONDS)

    def _is_here(self, run_id: UUID) -> bool:
        return any(handle.lease.run_id == run_id for handle in self._parts.supervisor.handles())
