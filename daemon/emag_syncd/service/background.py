"""The tasks that live as long as the daemon: one that dies takes the daemon along, in good order."""

import asyncio
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self

import structlog

log = structlog.get_logger(__name__)


class Background:
    """Tasks that are not supposed to end. ``async with`` cancels them all at its end."""

    def __init__(self, *, on_failure: Callable[[], None]) -> None:
        """Call ``on_failure`` when one of them ends by itself."""
        self._on_failure = on_failure
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        """Begin with none."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Cancel all of them."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Run ``work``."""
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._ended)
        self._tasks.append(task)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            return
        log.critical("a part of the daemon died", action="part_died", part=task.get_name(), exc_info=task.exception())
        self._on_failure()
