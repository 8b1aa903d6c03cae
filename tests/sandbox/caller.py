"""A client that talks to the simulated marketplace as an integration would."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import aiohttp

from emag_syncd.sandbox import Account

READ, COUNT, VAT = "product_offer/read", "product_offer/count", "vat/read"


async def until(condition: Callable[[], bool]) -> None:
    """Waits, ten seconds at most, for what no event tells."""
    async with asyncio.timeout(10):
        while True:
            if condition():
                return
            await asyncio.sleep(0.01)


@dataclass
class Reply:
    """What came back: status, headers and the whole body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def results(self) -> Any:
        assert self.json["isError"] is False
        return self.json["results"]

    @property
    def ids(self) -> list[Any]:
        return [offer["id"] for offer in self.results]


@dataclass
class Caller:
    """A client of one account."""

    session: aiohttp.ClientSession
    base_url: str
    account: Account

    async def post(self, resource: str, **body: Any) -> Reply:
        return await self.send("POST", resource, json=body)

    async def send(self, method: str, resource: str, **arguments: Any) -> Reply:
        user = aiohttp.encode_basic_auth(self.account.username, self.account.password)
        headers = {"Authorization": user} | arguments.pop("headers", {})
        arguments = {"allow_redirects": False} | arguments
        async with self.session.request(
            method, f"{self.base_url}/{resource}", headers=headers, **arguments
        ) as response:
            return Reply(response.status, dict(response.headers), await response.read())

    async def everything(self, size: int = 100, **filters: Any) -> list[Any]:
        """All rows, page by page until an empty one."""
        rows: list[Any] = []
        page = 1
        while results := (await self.post(READ, currentPage=page, itemsPerPage=size, **filters)).results:
            rows += results
            page += 1
        return rows

    @property
    def violations(self) -> set[str]:
        return {violation.kind for violation in self.account.stats.violations}
