"""Worker: the daemon as it is, with a probe on its event loop. Its configuration comes in ``EMAG_SYNCD_BENCH``.

It writes its address once it is ready, and at its end what the probe measured: pairs of the time by the monotonic
clock and the lag, in seconds, as JSON.
"""

import asyncio
import json
import os
import sys
import time
from array import array
from pathlib import Path

from emag_syncd.cli.loops import run_loop
from emag_syncd.config import Log, Settings
from emag_syncd.sandbox.__main__ import die_with_parent
from emag_syncd.service.daemon import Daemon
from emag_syncd.supervision.loops import LagProbe
from emag_syncd.telemetry.logging import configure_logging

PROBED_EVERY = 0.01
"""Seconds."""


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def main() -> int:
    """Run until told to stop, or until the benchmark is gone."""
    die_with_parent()
    configure_logging(Log(level="error"))
    settings = Settings.of(json.loads(os.environ["EMAG_SYNCD_BENCH"]), Path.cwd())
    # Narrow: the probe's own notes must not be what makes memory grow with the catalogue.
    times, lags = array("d"), array("f")

    def note(lag: float) -> None:
        times.append(time.monotonic())
        lags.append(lag)

    probe = asyncio.create_task(LagProbe(note, interval=PROBED_EVERY).run())
    code = await Daemon(settings, on_ready=_say).run()
    probe.cancel()
    _say(json.dumps(list(zip(times, lags, strict=True))))
    return code


if __name__ == "__main__":
    sys.exit(run_loop(main()))
