"""The tasks that live as long as the daemon."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import structlog

from emag_syncd.service.background import Background


async def wait_for_ever() -> None:
    """Turn as a loop that is well."""
    await asyncio.Event().wait()


async def fail() -> None:
    """Die of a fault."""
    raise ZeroDivisionError("gone wrong")


async def end() -> None:
    """End although nobody said so."""


@pytest.mark.parametrize(("work", "logged_error"), [(fail, ZeroDivisionError), (end, None)])
async def test_a_part_that_dies_takes_the_daemon_along(
    work: Callable[[], Coroutine[Any, Any, None]], logged_error: type[Exception] | None
) -> None:
    """By a fault or just so: it is said which part, and the daemon is told to end; the others go on until then."""
    stop = asyncio.Event()
    with structlog.testing.capture_logs() as logged:
        async with Background(on_failure=stop.set) as background:
            background.start("heartbeat", wait_for_ever())
            background.start("watchdog", work())
            await asyncio.wait_for(stop.wait(), 20)
            assert {"heartbeat"} <= {task.get_name() for task in asyncio.all_tasks()}
    assert [(line["action"], line["part"]) for line in logged] == [("part_died", "watchdog")]
    error = logged[0]["exc_info"]
    assert type(error) is logged_error if logged_error else error is None


async def test_all_parts_end_with_the_daemon() -> None:
    """Leaving cancels every part and waits for it; that is no failure."""
    failures: list[bool] = []
    cleaned = asyncio.Event()

    async def slow_to_end() -> None:
        try:
            await wait_for_ever()
        finally:
            await asyncio.sleep(0)
            cleaned.set()

    async with Background(on_failure=lambda: failures.append(True)) as background:
        background.start("slow", slow_to_end())
        background.start("watchdog", wait_for_ever())
        await asyncio.sleep(0)
    assert cleaned.is_set()
    assert failures == []
    assert len(asyncio.all_tasks()) == 1
