"""Waiting for what is about to happen, and not for time to pass."""

import asyncio
from collections.abc import Callable
from inspect import isawaitable
from typing import Any


async def until(look: Callable[[], Any], *, within: float = 60.0) -> Any:
    """Return what ``look`` returns, or awaits, as soon as that is true; what takes longer never happens."""
    async with asyncio.timeout(within):
        while True:
            seen = look()
            if found := (await seen if isawaitable(seen) else seen):
                return found
            await asyncio.sleep(0.01)
