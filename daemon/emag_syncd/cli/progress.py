"""How far runs are: bars on a terminal, and now and then a line elsewhere. On the error stream."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from emag_syncd.cli.printing import note
from emag_syncd.supervision.recorder import Recorder
from emag_syncd.supervision.supervisor import Handle

LINE_SECONDS = 5.0


class Bars:
    """A bar for each run."""

    def __init__(self, progress: Progress) -> None:
        """Show them in ``progress``."""
        self._progress = progress
        self._bars: dict[str, TaskID] = {}

    def began(self, handle: Handle) -> None:
        """Begin a run's bar."""
        run_id, lease = str(handle.lease.run_id), handle.lease
        self._bars[run_id] = self._progress.add_task(lease.account, total=None, pace="", mode=lease.operation.mode)

    def heard(self, event: str, data: dict[str, Any]) -> None:
        """Show what a run did."""
        bar = self._bars.get(data["id"])
        if bar is None:
            return
        if event == "progress":
            done, total = data["processed_items"], data["total_items"]
            self._progress.update(bar, completed=done, total=max(done, total), pace=_pace(data))
        elif event == "ended":
            self._progress.update(bar, pace=data["status"])
            self._progress.stop_task(bar)


class Lines:
    """A line when a run begins, and every few seconds one that says how far it is."""

    def __init__(self) -> None:
        """Begin with no run."""
        self._said: dict[str, float] = {}

    def began(self, handle: Handle) -> None:
        """Say that a run began."""
        note(f"{handle.lease.account}: {handle.lease.operation.mode} sync began, run {handle.lease.run_id}")

    def heard(self, event: str, data: dict[str, Any]) -> None:
        """Say what a run did, unless something was said about it just now."""
        account, now = data["account_type"], time.monotonic()
        if event != "progress" or now - self._said.get(account, -LINE_SECONDS) < LINE_SECONDS:
            return
        self._said[account] = now
        note(f"{account}: {data['processed_items']} of {data['total_items']} offers, {_pace(data)}")


@contextmanager
def shown(recorder: Recorder) -> Iterator[Bars | Lines]:
    """Show how far the runs are that ``recorder`` tells of; call ``began`` for each."""
    console = Console(stderr=True)
    if not console.is_interactive:
        lines = Lines()
        unsubscribe = recorder.subscribe(lines.heard)
        yield lines
        unsubscribe()
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description} {task.fields[mode]}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[pace]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        bars = Bars(progress)
        unsubscribe = recorder.subscribe(bars.heard)
        yield bars
        unsubscribe()


def _pace(data: dict[str, Any]) -> str:
    rate, left = data["items_per_second"], data["seconds_left"]
    return f"{rate or 0:.0f}/s" + (f", {left:.0f} s left" if left else "")
