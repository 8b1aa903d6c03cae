"""A proxy that can go silent, as a network does when a router dies: nothing arrives, nothing is closed."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Self, TypeAlias

Streams: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Target: TypeAlias = str | tuple[str, int]


class Proxy:
    """Pass bytes between a port of 127.0.0.1 and ``target``: a socket's path, or host and port.

    What is held back while silent arrives after ``resume``, as TCP sends again what was lost.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._open = asyncio.Event()
        self._open.set()
        self._left: int | None = None
        self._on_limit: Callable[[], None] = self.cut
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
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
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
        await self._open.wait()
        try:
            there, back = await self._connect()
        except OSError:
            writer.transport.abort()
            return
        self._writers.add(back)
        self._spawn(self._pump(reader, back))
        self._spawn(self._pump(there, writer))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self) -> Streams:
        if isinstance(self._target, str):
            return await asyncio.open_unix_connection(self._target)
        return await asyncio.open_connection(*self._target)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                await self._pass(data, writer)
        await self._open.wait()
        writer.close()

    async def _pass(self, data: bytes, writer: asyncio.StreamWriter) -> None:
        await self._open.wait()
        if self._left is not None and len(data) >= self._left:
            now, data = data[: self._left], data[self._left :]
            self._left = None
            await self._write(now, writer)
            self._on_limit()
            await self._open.wait()
        elif self._left is not None:
            self._left -= len(data)
        await self._write(data, writer)

    async def _write(self, data: bytes, writer: asyncio.StreamWriter) -> None:
        self.passed += len(data)
        writer.write(data)
        await writer.drain()
