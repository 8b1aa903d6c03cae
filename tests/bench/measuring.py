"""What processes take: time, processor, memory."""

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil


class Stopwatch:
    """Measures from its creation; ``report`` prints a line of JSON."""

    def __init__(self) -> None:
        """Start."""
        self._began = time.perf_counter()
        self._cpu = time.process_time()

    def report(self, rows: int, **more: object) -> None:
        """Print seconds, rows a second, CPU seconds and the peak memory of the process in MB."""
        seconds = time.perf_counter() - self._began
        json.dump(
            {
                "rows": rows,
                "seconds": seconds,
                "rows_per_second": rows / seconds,
                "cpu_seconds": time.process_time() - self._cpu,
                "peak_mb": peak_mb(),
                **more,
            },
            sys.stdout,
        )


def peak_mb(pid: int | str = "self") -> float:
    """Return the peak memory since the program was loaded: what ``getrusage`` tells began before, with its parent's."""
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text("ascii").splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


def cpu_seconds(pid: int) -> float:
    """Return the processor time of a process, without its children's."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def family_cpu_seconds(pid: int) -> float:
    """Return the processor time of a process and its children, those that have ended included."""
    parent = psutil.Process(pid)
    total = sum(parent.cpu_times()[:4])
    for child in parent.children():
        try:
            total += sum(child.cpu_times()[:4])
        except psutil.NoSuchProcess:
            # It ended a moment ago: its parent has its time now, or will have by the next look.
            continue
    return float(total)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that ``share`` of the values don't exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def per_thousand(seconds: float, rows: int) -> float:
    """Return milliseconds for a thousand rows."""
    return seconds * 1e6 / rows if rows else 0.0


Figures = dict[str, Any]
"""What one measurement found, by name; names end with their unit."""
