"""Where everything is that the process does: for its log, when it hangs and is about to be ended."""

import asyncio
import faulthandler
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

import structlog

log = structlog.get_logger(__name__)


def where(task: asyncio.Task[Any]) -> list[str]:
    """Return where a task is suspended, from the outside inwards. ``Task.get_stack`` knows the outermost frame only."""
    lines = []
    awaited: Any = task.get_coro()
    while frame := getattr(awaited, "cr_frame", None):
        lines.append(_line(frame))
        awaited = awaited.cr_await
    return lines


def _running(task: asyncio.Task[Any], innermost: FrameType | None) -> list[str]:
    """Return where a task is that runs, which awaits nothing: what it has called is on the stack of its thread."""
    outermost = getattr(task.get_coro(), "cr_frame", None)
    lines: list[str] = []
    frame = innermost
    while frame:
        lines.insert(0, _line(frame))
        if frame is outermost:
            return lines
        frame = frame.f_back
    return where(task)


def _line(frame: FrameType) -> str:
    return f"{frame.f_code.co_filename}:{frame.f_lineno} {frame.f_code.co_name}"


def show_stacks_on_abort() -> None:
    """Let SIGABRT, by which systemd's watchdog ends a daemon that hangs, log where every task and every thread is.

    The tasks can be shown when the main thread is back in Python. Most calls that block let a signal in; for the
    others there is ``threads_shown_when_late``.
    """
    faulthandler.enable()
    signal.signal(signal.SIGABRT, _aborted)


@contextmanager
def threads_shown_when_late() -> Iterator[Callable[[float], None]]:
    """Give what puts off, by seconds from then on, that the stacks of all threads go to the error stream.

    That needs no thread that lets Python code run: it works while a call into C holds up everything.
    """
    try:
        yield faulthandler.dump_traceback_later
    finally:
        faulthandler.cancel_dump_traceback_later()


def _aborted(_number: int, frame: FrameType | None) -> None:
    # Whatever goes wrong here, the process ends, and its threads are shown.
    with suppress(Exception):
        for task in _tasks():
            log.critical(
                "a task when the process was aborted",
                action="task_stack",
                task=task.get_name(),
                where=_running(task, frame),
            )
    faulthandler.disable()
    faulthandler.enable()  # in place of this very handler
    signal.raise_signal(signal.SIGABRT)


def _tasks() -> Iterable[asyncio.Task[Any]]:
    try:
        return asyncio.all_tasks()
    except RuntimeError:  # there is no loop yet, or no more
        return ()
