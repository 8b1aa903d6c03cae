"""A reader of the event stream."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from tests.support.daemon import Site
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
async def reading(site: Site, last: str = "") -> AsyncIterator[Stream]:
    """Open the stream, after the event that was seen ``last``; its first line has come."""
    headers = {"Last-Event-ID": last} if last else {}
    async with site.browser.get(f"{API}/events", headers=headers) as response:
        assert (response.status, response.content_type) == (200, "text/event-stream")
        assert (await response.content.readline()).startswith(b"retry: ")
        yield Stream(response)
