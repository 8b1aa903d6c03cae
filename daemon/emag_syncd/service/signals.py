"""SIGINT and SIGTERM: the first asks for a good end, the second ends the process at once."""

import asyncio
import os
import signal

import structlog

log = structlog.get_logger(__name__)


def stop_on_signals(stop: asyncio.Event) -> list[signal.Signals]:
    """Set ``stop`` at the first signal, from now on, and return the list that it is put into when it comes."""
    received: list[signal.Signals] = []

    def handle(number: signal.Signals) -> None:
        if stop.is_set():
            log.warning("stopped at once by a second signal", action="stop_now", signal=number.name)
            os._exit(1)
        log.info("stopping", action="stopping", signal=number.name)
        received.append(number)
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, handle, number)
    return received
