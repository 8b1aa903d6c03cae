"""The latest events, for whoever waits for the next."""

import asyncio
from collections import deque
from dataclasses import dataclass
from itertools import islice
from typing import Any
from uuid import uuid4

KEPT = 1000
"""Events that a reader who comes back may have missed."""

PROGRESS_SECONDS = 0.25
"""The least time between two events on the progress of one run."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened; numbers count up from 1."""

    number: int
    name: str
    data: dict[str, Any]


class Hub:
    """Keeps the latest events, and wakes whoever waits for the next."""

    def __init__(self) -> None:
        """Begin with none."""
        self.closed = False
        # Tells the events of this process from those of its predecessor.
        self._name = uuid4().hex[:8]
        self._kept: deque[Event] = deque(maxlen=KEPT)
        self._more = asyncio.Event()
        self._count = 0
        self._resting: dict[str, asyncio.TimerHandle] = {}
        self._held: dict[str, dict[str, Any]] = {}

    @property
    def latest(self) -> int:
        """The number of the latest event."""
        return self._count

    def id_of(self, number: int) -> str:
        """Return what a reader knows the event of this number by."""
        return f"{self._name}-{number}"

    def number_of(self, known: str) -> int:
        """Return the number of the event that a reader knows by this, or -1 where it is not of this process."""
        name, _, number = known.rpartition("-")
        return int(number) if name == self._name and number.isascii() and number.isdigit() else -1

    def publish(self, name: str, data: dict[str, Any]) -> None:
        """Add an event. Returns at once, however many read.

        Of progress that comes too often only the latest is told, when it is time or when something else comes of its
        run.
        """
        run = data.get("id", "")
        if name != "progress":
            self._end_rest(run)
        elif run in self._resting:
            self._held[run] = data
            return
        else:
            self._rest(run)
        self._add(name, data)

    def close(self) -> None:
        """Let every reader go."""
        self.closed = True
        for run in list(self._resting):
            self._end_rest(run)
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

    def _add(self, name: str, data: dict[str, Any]) -> None:
        self._count += 1
        self._kept.append(Event(self._count, name, data))
        self._wake()

    def _wake(self) -> None:
        self._more.set()
        self._more = asyncio.Event()

    def _rest(self, run: str) -> None:
        self._resting[run] = asyncio.get_running_loop().call_later(PROGRESS_SECONDS, self._rested, run)

    def _rested(self, run: str) -> None:
        del self._resting[run]
        if data := self._held.pop(run, None):
            self.publish("progress", data)

    def _end_rest(self, run: str) -> None:
        if timer := self._resting.pop(run, None):
            timer.cancel()
        if data := self._held.pop(run, None):
            self._add("progress", data)
