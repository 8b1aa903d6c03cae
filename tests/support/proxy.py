"""A proxy that can go silent, as a network does when a router dies: nothing arrives, nothing is closed."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from ssl import SSLContext
from typing import Any, Self, TypeAlias

Streams: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Target: TypeAlias = str | tuple[str, int]


class Proxy:
    """Pass bytes between a port of 127.0.0.1 and ``target``: a socket's path, or host and port.

    What is held back while silent arrives after ``resume``, as TCP sends again what was lost.
    """

    def __init__(self, target: Target, tls: SSLContext | None = None) -> None:
        """Speak TLS to those who connect, where there is ``tls``."""
        self._target = target
        self._tls = tls
        self._open = _opened()
        self._left: int | None = None
        self._on_limit: Callable[[], None] = self.cut
        self._words: tuple[bytes, Callable[[], None], bool] | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server
        self.passed = 0
        """How many bytes went through, in both directions together."""
        self.accepted = 0
        """How many connections came."""

    @property
    def port(self) -> int:
        """Where it listens, on 127.0.0.1."""
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def is_silent(self) -> bool:
        """Whether it holds back what comes."""
        return not self._open.is_set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        closed = (writer.wait_closed() for writer in self._writers)
        await asyncio.gather(*self._tasks, *closed, return_exceptions=True)

    def silence(self) -> None:
        """Hold every byte back and keep the connections open, new ones too."""
        self._open.clear()

    def resume(self) -> None:
        """Pass bytes again, those held back first."""
        self._left = None
        self._open.set()

    def cut(self) -> None:
        """Reset the connections; new ones are served."""
        for writer in self._writers:
            writer.transport.abort()

    def forget(self) -> None:
        """Hold back every byte of the connections there are, for ever; new ones are served."""
        self._open.clear()
        self._open = _opened()

    def point_at(self, target: Target) -> None:
        """Reset the connections; new ones go to another server."""
        self._target = target
        self.cut()

    def at(self, words: bytes, act: Callable[[], None], *, passed: bool) -> None:
        """Call ``act`` once, when these words come by: right before they go on, or right after with ``passed``."""
        self._words = words, act, passed

    @property
    def armed(self) -> bool:
        """Whether what was planned is still to come."""
        return self._left is not None or self._words is not None

    def cut_after(self, count: int) -> None:
        """Pass ``count`` more bytes, of both directions together, and reset the connections then."""
        self._left, self._on_limit = count, self.cut

    def silence_after(self, count: int) -> None:
        """Pass ``count`` more bytes, of both directions together, and go silent then."""
        self._left, self._on_limit = count, self.silence

    def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        self._writers.add(writer)
        self._spawn(self._carry(reader, writer))

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        gate = self._open
        await gate.wait()
        try:
            there, back = await self._connect()
        except OSError:
            writer.transport.abort()
            return
        self._writers.add(back)
        self._spawn(self._pump(reader, back, gate))
        self._spawn(self._pump(there, writer, gate))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self) -> Streams:
        if isinstance(self._target, str):
            return await asyncio.open_unix_connection(self._target)
        return await asyncio.open_connection(*self._target)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, gate: asyncio.Event) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                await self._pass(data, writer, gate)
        await gate.wait()
        writer.close()

    async def _pass(self, data: bytes, writer: asyncio.StreamWriter, gate: asyncio.Event) -> None:
        await gate.wait()
        if self._words is not None and self._words[0] in data:
            (_, act, passed), self._words = self._words, None
            if passed:
                await self._write(data, writer)
                data = b""
            act()
            await gate.wait()
        elif self._left is not None and len(data) >= self._left:
            now, data = data[: self._left], data[self._left :]
            self._left = None
            await self._write(now, writer)
            self._on_limit()
            await gate.wait()
        elif self._left is not None:
            self._left -= len(data)
        await self._write(data, writer)

    async def _write(self, data: bytes, writer: asyncio.StreamWriter) -> None:
        self.passed += len(data)
        writer.write(data)
        await writer.drain()


def _opened() -> asyncio.Event:
    gate = asyncio.Event()
    gate.set()
    return gate
