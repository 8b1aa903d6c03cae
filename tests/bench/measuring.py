"""What a worker says of itself when it is done."""

import json
import resource
import sys
import time


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
                "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                **more,
            },
            sys.stdout,
        )
