"""Whether there is room for another run: what is under way holds pages in memory, and more would be done no sooner."""

import asyncio
from collections.abc import Callable

BREATH_SECONDS = 0.02
LATE_SECONDS = 0.05
BREATHS = 100
"""After so many it has been waited for long enough, two seconds at least: no run waits for ever for the others."""


class Room:
    """There is room when the event loop comes back from a short sleep in time, and nobody waits for the database."""

    def __init__(self, is_exhausted: Callable[[], bool] = lambda: False) -> None:
        """Ask ``is_exhausted`` whether somebody does."""
        self._is_exhausted = is_exhausted

    async def comes(self) -> bool:
        """Wait for room, but not for ever; return whether there is."""
        loop = asyncio.get_running_loop()
        for _ in range(BREATHS):
            due = loop.time() + BREATH_SECONDS
            await asyncio.sleep(BREATH_SECONDS)
            if loop.time() - due < LATE_SECONDS and not self._is_exhausted():
                return True
        return False
