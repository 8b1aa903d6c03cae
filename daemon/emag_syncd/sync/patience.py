"""Trying again while the database is away: nothing that may have been committed is repeated without looking."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from emag_syncd.domain.errors import DatabaseError

log = structlog.get_logger(__name__)

T = TypeVar("T")

FIRST_WAIT = 0.2
LONGEST_WAIT = 5.0


async def persist(work: Callable[[], Awaitable[T]], *, seconds: float) -> T:
    """Return what ``work`` returns, trying again with growing waits while the database is away.

    Raises DatabaseError when it is not back within ``seconds`` of the first failure, or at once for a failure that
    will not pass.
    """
    away_since: float | None = None
    wait = FIRST_WAIT
    while True:
        try:
            return await work()
        except DatabaseError as error:
            away_since = away_since or time.monotonic()
            if not error.may_pass or time.monotonic() - away_since + wait > seconds:
                raise
            log.warning("database away", action="database_retry", wait_seconds=wait, error=str(error))
        await asyncio.sleep(wait)
        wait = min(wait * 2, LONGEST_WAIT)
