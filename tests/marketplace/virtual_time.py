"""A clock that only moves when everybody sleeps, for whatever takes a clock and a sleep."""

import asyncio
import heapq
from collections.abc import Iterable, Iterator
from itertools import chain, count, repeat
from typing import Any


class VirtualTime:
    """Wakes sleepers in order, each as late as ``lateness`` says (seconds, one for each wake-up)."""

    def __init__(self, lateness: Iterable[float] = ()) -> None:
        self.now = 1000.0
        self._lateness: Iterator[float] = chain(lateness, repeat(0.0))
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = count()

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        woken = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now + seconds, next(self._order), woken))
        await woken

    async def settle(self) -> None:
        """Let everybody run until nobody has anything to do before time moves."""
        for _ in range(8):
            await asyncio.sleep(0)

    async def step(self) -> None:
        """Wake the next sleeper."""
        await self.settle()
        when, _, woken = heapq.heappop(self._sleepers)
        self.now = max(self.now, when + next(self._lateness))
        if not woken.done():
            woken.set_result(None)
        await self.settle()

    async def finish(self, tasks: Iterable["asyncio.Task[Any]"]) -> None:
        """Step until all tasks are done."""
        tasks = list(tasks)
        await self.settle()
        while not all(task.done() for task in tasks):
            await self.step()
