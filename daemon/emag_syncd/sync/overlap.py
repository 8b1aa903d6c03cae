"""Writing one batch while the next is prepared: PostgreSQL and this process work at the same time."""

import asyncio
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self

from emag_syncd.sync.reading import StoppedError


class Overlap:
    """One write under way at a time. ``async with`` ends when it is done, or has been cancelled by an error."""

    def __init__(self) -> None:
        """Begin with nothing under way."""
        self._write: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Return itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for the write under way; after an error, other than the wish to stop, cancel it."""
        if self._write is None:
            return
        if error is not None and not isinstance(error, StoppedError):
            self._write.cancel()
            await asyncio.gather(self._write, return_exceptions=True)
            return
        await self.settle()

    async def settle(self) -> None:
        """Wait for the write under way. Raises what it raises."""
        write, self._write = self._write, None
        if write is not None:
            await write

    async def follow(self, write: Coroutine[Any, Any, None]) -> None:
        """Begin ``write`` once the one before is done. Raises what that one raises."""
        try:
            await self.settle()
        except BaseException:
            write.close()
            raise
        self._write = asyncio.create_task(write, name="commit")
