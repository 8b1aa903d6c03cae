"""Server-sent events: what runs do, as it happens. A reader that is slow misses events; it never holds up a sync."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from itertools import count, islice
from typing import Any
from uuid import UUID, uuid4

import msgspec
import structlog
from aiohttp import hdrs, web

from emag_syncd.domain.errors import DatabaseError
from emag_syncd.web.answers import ProblemError
from emag_syncd.web.elsewhere import Elsewhere
from emag_syncd.web.openapi import Text, operation
from emag_syncd.web.parts import API, WebParts

KEPT = 1000
"""Events that a reader who comes back may have missed."""

PROGRESS_SECONDS = 0.25
"""The least time between two events on the progress of one run."""

LOOK_SECONDS = 2.0
"""How often runs of other processes, and the health of this one, are looked at while somebody reads."""

PULSE_LOOKS = 5
"""Of so many looks one is told of, for what shows how long ago things were."""

SILENCE_SECONDS = 15.0
"""After which a line is sent to show that the connection lives, to us and to what stands between."""

PATIENCE_SECONDS = 60.0
"""How long a reader may take nothing of what is there for it."""

MOST_READERS = 200

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened; numbers count up from 1."""

    number: int
    name: str
    data: dict[str, Any]


class Hub:
    """Keeps the latest events, and wakes whoever waits for the next."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with none."""
        self.name = uuid4().hex[:8]
        """Tells the events of this process from those of its predecessor."""
        self.closed = False
        self._clock = clock
        self._kept: deque[Event] = deque(maxlen=KEPT)
        self._more = asyncio.Event()
        self._count = 0
        self._progressed: dict[str, float] = {}

    @property
    def latest(self) -> int:
        """The number of the latest event."""
        return self._count

    def publish(self, name: str, data: dict[str, Any]) -> None:
        """Add an event. Returns at once, however many read, and drops progress that comes too often."""
        if self._is_too_often(name, data):
            return
        self._count += 1
        self._kept.append(Event(self._count, name, data))
        self._wake()

    def close(self) -> None:
        """Let every reader go."""
        self.closed = True
        self._wake()

    def missed(self, after: int) -> bool:
        """Whether events after this number are gone already."""
        first = self._kept[0].number if self._kept else self._count + 1
        return after + 1 < first or after > self._count

    def since(self, after: int) -> list[Event]:
        """Return the events after this number."""
        fresh = min(self._count - after, len(self._kept))
        return list(islice(self._kept, len(self._kept) - fresh, None))

    async def wait(self, after: int, seconds: float) -> None:
        """Return when there are events after this number, when the hub closes, or after ``seconds``."""
        if self._count > after or self.closed:
            return
        try:
            async with asyncio.timeout(seconds):
                await self._more.wait()
        except TimeoutError:
            return

    def _wake(self) -> None:
        self._more.set()
        self._more = asyncio.Event()

    def _is_too_often(self, name: str, data: dict[str, Any]) -> bool:
        run = data.get("id", "")
        if name != "progress":
            self._progressed.pop(run, None)
            return False
        now = self._clock()
        if now - self._progressed.get(run, float("-inf")) < PROGRESS_SECONDS:
            return True
        self._progressed[run] = now
        return False


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

    def _heard(self, event: str, data: dict[str, Any]) -> None:
        """Pass on what a run of this process does, with times as the ledger has them."""
        left = data.get("seconds_left")
        completion = None if left is None else datetime.now(UTC) + timedelta(seconds=left)
        self.hub.publish(event, data | {"estimated_completion": completion} if event == "progress" else data)

    @operation(
        "Server-sent events: what runs do, as it happens",
        answers={HTTPStatus.OK: Text("text/event-stream")},
        headers={"Last-Event-ID": "The id of the last event that was seen: those after it come first"},
    )
    async def _stream(self, request: web.Request) -> web.StreamResponse:
        with self._reader():
            response = web.StreamResponse(
                headers={hdrs.CONTENT_TYPE: "text/event-stream", "X-Accel-Buffering": "no"},
            )
            # Readers come and go, some before their stream begins: nothing went wrong.
            with suppress(ConnectionError):
                await response.prepare(request)
                await self._tell(request, response)
            return response

    async def _tell(self, request: web.Request, response: web.StreamResponse) -> None:
        """Write what there is after what the reader has seen, until one of the two ends. Raises ConnectionError."""
        after = self._begin(request.headers.get("Last-Event-ID", ""))
        await self._send(request, response, f"retry: 2000\nid: {self.hub.name}-{after}\n\n".encode())
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

    def _begin(self, last: str) -> int:
        """Return the number of the event after which a reader goes on that has seen ``last``."""
        name, _, number = last.rpartition("-")
        if not last:
            return self.hub.latest
        return int(number) if name == self.hub.name and number.isascii() and number.isdigit() else -1

    def _written(self, event: Event) -> bytes:
        data = msgspec.json.encode(event.data).decode()
        return f"id: {self.hub.name}-{event.number}\nevent: {event.name}\ndata: {data}\n\n".encode()

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
