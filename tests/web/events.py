"""A reader of the event stream."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from emag_syncd.web.events import Events
from tests.support.daemon import Site
from tests.support.waiting import until
from tests.web.conftest import API


@dataclass(frozen=True)
class Heard:
    """One event."""

    id: str
    name: str
    data: dict[str, Any]


class Stream:
    """An open stream."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response

    async def next(self, name: str) -> Heard:
        """Return the next event of this name."""
        fields: dict[str, str] = {}
        async for line in self.response.content:
            if line.strip():
                key, _, value = line.decode().rstrip("\n").partition(": ")
                fields[key] = value
            elif fields.get("event") == name:
                return Heard(fields["id"], name, json.loads(fields["data"]))
            else:
                fields = {}
        raise AssertionError(f"the stream ended without an event {name}")


@asynccontextmanager
async def reading(site: Site, last: str = "", after: str = "") -> AsyncIterator[Stream]:
    """Open the stream, after the event that was seen ``last``, or ``after`` another; its first line has come."""
    headers = {"Last-Event-ID": last} if last else {}
    async with site.browser.get(f"{API}/events", headers=headers, params={"after": after}) as response:
        assert (response.status, response.content_type) == (200, "text/event-stream")
        assert (await response.content.readline()).startswith(b"retry: ")
        yield Stream(response)


def events_of(site: Site) -> Events:
    """Return what tells of events."""
    found = [getattr(one, "__self__", None) for one in site.web._runner.app.on_shutdown]
    return next(one for one in found if isinstance(one, Events))


@asynccontextmanager
async def following(site: Site) -> AsyncIterator[socket.socket]:
    """Open the stream through the smallest window there is, and read nothing."""
    with socket.socket() as reader:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        reader.setblocking(False)
        await asyncio.get_running_loop().sock_connect(reader, ("127.0.0.1", int(site.address.rpartition(":")[2])))
        await asyncio.get_running_loop().sock_sendall(
            reader, f"GET {API}/events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        )
        await until(lambda: events_of(site)._readers)
        yield reader


async def clog(site: Site) -> asyncio.Transport:
    """Tell so much that a reader that reads nothing can be told no more; return the way to it."""
    events = events_of(site)

    def stuck() -> asyncio.Transport | None:
        events.hub.publish("started", {"id": "", "padding": "x" * 10_000})
        return next(iter(events._stuck), None)

    found: asyncio.Transport = await until(stuck)
    return found
