"""Writing batches while the next is prepared: PostgreSQL and this process work at the same time."""

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Coroutine, Iterable
from functools import partial
from types import TracebackType
from typing import Any, Self

from emag_syncd.storage.mirror import Turn
from emag_syncd.sync.reading import StoppedError

WRITES_AT_ONCE = 2
"""While one batch is committed, the rows of the next are copied: each takes a processor's core of PostgreSQL."""


class Overlap:
    """The writes under way, in order. ``async with`` ends when they are done, or have been cancelled by an error."""

    def __init__(self) -> None:
        """Begin with nothing under way."""
        self._writes: deque[tuple[asyncio.Task[None], Collection[int]]] = deque()

    async def __aenter__(self) -> Self:
        """Return itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for the writes under way; after an error, other than the wish to stop, cancel them."""
        try:
            if error is None or isinstance(error, StoppedError):
                await self.settle()
        finally:
            for write, _ in self._writes:
                write.cancel()
            await asyncio.gather(*(write for write, _ in self._writes), return_exceptions=True)

    def has(self, ids: Iterable[int]) -> bool:
        """Return whether one of the offers ``ids`` is being written."""
        return any(emag_id in written for emag_id in ids for _, written in self._writes)

    async def settle(self) -> None:
        """Wait for the writes under way. Raises what the first of them raises that fails."""
        await self._leave(0)

    async def follow(self, write: Callable[[Turn], Coroutine[Any, Any, None]], ids: Collection[int]) -> None:
        """Begin ``write`` of the offers ``ids``, which gets its turn to commit when the one before has committed.

        Waits until few enough are under way. Raises what the first of them raises that fails.
        """
        await self._leave(WRITES_AT_ONCE - 1)
        before = self._writes[-1][0] if self._writes else None
        self._writes.append((asyncio.create_task(write(partial(_committed, before)), name="commit"), ids))

    async def _leave(self, most: int) -> None:
        while len(self._writes) > most:
            await self._writes[0][0]
            self._writes.popleft()


async def _committed(write: asyncio.Task[None] | None) -> None:
    if write is not None:
        # Whoever waits may be cancelled: the write that is waited for is not to be.
        await asyncio.wait((write,))
        write.result()
