"""Runs the event loop of a command to its end, and ends the process also when something in it would not."""

import asyncio
import gc
import logging
import os
import sys
import threading
import time
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import structlog

from emag_syncd.cli.endings import ExitCode, delivered, reported

COLLECTED_AFTER = 10_000
"""New objects after which the garbage collector looks at the youngest ones: a page of offers has so many."""

SWITCH_SECONDS = 0.001
"""How long a thread may keep the interpreter from the event loop, which waits for it each time that it turns."""

GRACE_SECONDS = 1.0
"""How long what is left when a command is done may take to end. asyncio's own runner waits without limit."""

log = structlog.get_logger(__name__)


def run_loop(work: Coroutine[Any, Any, int]) -> int:
    """Run ``work`` and return its exit code; what goes wrong is reported.

    Leaves the process at once, with that code, where a task or a thread ignores that it is over.
    """
    workers = ThreadPoolExecutor(thread_name_prefix="worker")
    sys.setswitchinterval(SWITCH_SECONDS)
    _spare_collector()
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        loop.set_default_executor(workers)
        code = reported(lambda: _run(runner, work))
        left = [*loop.run_until_complete(_end_tasks()), *_end_threads(workers)]
        if left:
            log.critical("leaving although something still runs", action="leftovers", left=left)
            _leave(code)
    return code


def _run(runner: asyncio.Runner, work: Coroutine[Any, Any, int]) -> int:
    try:
        return runner.run(work)
    except SystemExit as error:
        # Only a fault raises that in here. Whatever code it has, it must not look like a good end.
        log.critical("something ended the event loop", action="loop_ended", exc_info=error)
        return ExitCode.FAILED


async def _end_tasks() -> list[str]:
    """Cancel every task and return the names of those that go on all the same."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    if not tasks:
        return []
    _, left = await asyncio.wait(tasks, timeout=GRACE_SECONDS)
    return [task.get_name() for task in left]


def _end_threads(workers: ThreadPoolExecutor) -> list[str]:
    """Send the workers home and return the names of the threads that the interpreter would wait for."""
    workers.shutdown(wait=False, cancel_futures=True)
    deadline = time.monotonic() + GRACE_SECONDS
    threads = [one for one in threading.enumerate() if not one.daemon and one is not threading.main_thread()]
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return [thread.name for thread in threads if thread.is_alive()]


def _leave(code: int) -> None:
    code = delivered(code)
    logging.shutdown()
    sys.stderr.flush()
    os._exit(code)


def _spare_collector() -> None:
    """Keep what was imported out of the garbage collector's rounds: decoding offers sets off many, all in vain."""
    gc.freeze()
    gc.set_threshold(COLLECTED_AFTER, 20, 20)
