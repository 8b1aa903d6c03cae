"""Waiting for what is about to happen, and not for time to pass."""

import asyncio
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import TypeVar

T = TypeVar("T")


async def until(look: Callable[[], Awaitable[T] | T], *, within: float = 20.0) -> T:
    """Return what ``look`` returns as soon as that is true; whatever takes longer never happens."""
    async with asyncio.timeout(within):
        while True:
            seen = look()
            if found := (await seen if isawaitable(seen) else seen):
                return found
            await asyncio.sleep(0.01)
