"""Daemons in processes of their own: what is sent to them, what they log, and how they end."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from tests.support.waiting import until

ROOT = Path(__file__).parents[2]


def write_toml(path: Path, values: Mapping[str, Any]) -> None:
    """Write nested ``values`` as a configuration file."""
    path.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in _flat(values)))


def _flat(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from ((f"{name}.{below}", one) for below, one in _flat(value))
        else:
            yield name, value


class DaemonProcess:
    """``emag-syncd run`` as its own process."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        """Watch a process that writes its log to ``log``."""
        self._process = process
        self._log = log

    def lines(self, action: str) -> list[dict[str, Any]]:
        """Return the lines of the log about this."""
        whole = [line for line in self._log.read_text().splitlines(keepends=True) if line.endswith("\n")]
        found = [json.loads(line) for line in whole if line.startswith("{")]
        return [line for line in found if line.get("action") == action]

    async def logged(self, action: str, *, times: int = 1) -> dict[str, Any]:
        """Return the line of the log about this, once there are so many."""

        def look() -> list[dict[str, Any]]:
            assert self.code is None, self._log.read_text()
            return self.lines(action)[times - 1 :]

        line: dict[str, Any] = (await until(look, within=60))[0]
        return line

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    @property
    def text(self) -> str:
        """All that it wrote to its error stream."""
        return self._log.read_text()

    async def wrote(self, words: str) -> None:
        """Wait until it wrote this."""
        await until(lambda: words in self.text, within=60)

    async def get(self, path: str) -> int:
        """Return the status of one of its pages."""
        address = (await self.logged("ready"))["address"]
        async with aiohttp.request("GET", address + path) as response:
            return response.status

    @property
    def code(self) -> int | None:
        """How it ended."""
        return self._process.returncode

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    async def ended(self, *, within: float = 60.0) -> int:
        """Return the exit code once it ended."""
        async with asyncio.timeout(within):
            return await self._process.wait()


@asynccontextmanager
async def daemon_process(config: Path, **environ: str) -> AsyncIterator[DaemonProcess]:
    """Start a daemon; it is killed afterwards if it still runs."""
    log = config.with_suffix(f".{len(list(config.parent.iterdir()))}.log")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("EMAG_SYNCD_", "NOTIFY_"))}
    with log.open("wb") as stream:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "emag_syncd", "--config", str(config), "run"),
            cwd=config.parent,
            env={**clean, "PYTHONPATH": str(ROOT / "daemon"), **environ},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
        )
    daemon = DaemonProcess(process, log)
    try:
        yield daemon
    finally:
        if daemon.code is None:
            process.kill()
            await process.wait()


class Manager:
    """The service manager's end of systemd's socket."""

    def __init__(self, path: Path) -> None:
        """Listen at ``path``."""
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind(str(path))

    def heard(self) -> list[str]:
        """Return the messages since the last time."""
        messages: list[str] = []
        while True:
            try:
                messages.append(self._socket.recv(4096).decode())
            except BlockingIOError:
                return messages

    async def hears(self, message: str) -> list[str]:
        """Return the messages since the last time, once this one is among them."""
        messages: list[str] = []

        def look() -> bool:
            messages.extend(self.heard())
            return message in messages

        await until(look)
        return messages

    def close(self) -> None:
        """Listen no more."""
        self._socket.close()
