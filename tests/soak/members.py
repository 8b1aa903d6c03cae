"""The daemons of a soak, and what stands in for systemd: whatever ends is started again."""

import asyncio
import signal
from pathlib import Path
from typing import Any

import aiohttp

from tests.support.processes import DaemonProcess, daemon_process
from tests.support.proxy import Proxy
from tests.support.waiting import until

RESTART_SECONDS = 0.5
KILLED = "on kill -9"
BY_ITSELF = "by itself"
STARTING = "while it started"
ANSWER = aiohttp.ClientTimeout(total=3)
LONG = 86400.0

BROKEN = ("part_died", "supervision_failed", "schedule_failed", "scheduler_event")
"""Lines of the log that no fault may lead to."""


class Member:
    """One place in the fleet: a daemon process after the other, behind a proxy of its own to the database."""

    def __init__(self, number: int, config: Path, proxy: Proxy, browser: aiohttp.ClientSession) -> None:
        self.number = number
        self.config = config
        self.proxy = proxy
        self.turn = asyncio.Lock()
        self.hindered = False
        self.is_leaving = False
        self.exits: list[tuple[str, int]] = []
        self.broken: list[str] = []
        self._browser = browser
        self._process: DaemonProcess | None = None
        self._address = ""
        self._why = ""

    def __str__(self) -> str:
        return f"daemon {self.number}"

    async def lives(self) -> None:
        """Run one process after the other, until cancelled or until the one that ends is to be the last."""
        while not self.is_leaving:
            self._address, self._why = "", ""
            async with daemon_process(self.config) as process:
                self._process = process
                try:
                    code = await process.ended(within=LONG)
                finally:
                    self.broken += [f"{self}: {line}" for action in BROKEN for line in process.lines(action)]
            was_up = bool(process.lines("ready"))
            self.exits.append((self._why or (BY_ITSELF if was_up else STARTING), code))
            self._process, self._address = None, ""
            await asyncio.sleep(RESTART_SECONDS)

    @property
    def is_able(self) -> bool:
        """Whether the daemon is up, and nothing is done to it."""
        return bool(self.address) and not self.hindered

    @property
    def address(self) -> str:
        """Where its pages are, once it is up."""
        if not self._address and self._process is not None and self._process.code is None:
            self._address = next((str(line["address"]) for line in self._process.lines("ready")), "")
        return self._address

    def send(self, number: signal.Signals, why: str = "") -> None:
        """Send a signal, and remember why if it may end the process."""
        # Whatever else is sent to a process that was killed does not matter any more.
        if self._why != KILLED:
            self._why = why or self._why
        if self._process is not None and self._process.code is None:
            self._process.send(number)

    async def ends(self, number: signal.Signals, why: str, *, within: float) -> bool:
        """Send a signal that ends the process; whether it did in time, or had already."""
        process = self._process
        self.send(number, why)
        try:
            # The process that was meant, not a later one in its place: that one has heard nothing.
            await until(lambda: process is None or self._process is not process, within=within)
        except TimeoutError:
            return False
        return True

    async def ask(self, method: str, path: str, body: Any = None) -> int:
        """Return the status of one of its pages; 0 when there is no answer."""
        if not self.address:
            return 0
        try:
            async with self._browser.request(method, self._address + path, json=body, timeout=ANSWER) as answer:
                return answer.status
        except (aiohttp.ClientError, TimeoutError, OSError):
            return 0

    async def is_ready(self) -> bool:
        """Whether it says that it can do its job."""
        return await self.ask("GET", "/readyz") == 200
