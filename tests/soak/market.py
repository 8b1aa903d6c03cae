"""The marketplace of a soak: a process of its own, whose catalogues move and which is told to fail."""

import asyncio
import random
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from emag_syncd.sandbox import UNUSABLE, Kind
from tests.sync.reference import Rows, expected

ACCOUNTS = ("main", "fbe")
MOST_UNUSABLE = 4
STATUSES = (204, 400, 401, 403, 404, 408, 422, 429, 500, 502, 504)
VALUES = {Kind.STATUS: STATUSES, Kind.BAD_IP: (200, 403), Kind.SHORT_PAGE: (1, 3), Kind.COUNT_OFF: (-2, 2)}


class Market:
    """The accounts ``ACCOUNTS`` behind ``base_url``."""

    def __init__(self, base_url: str, browser: aiohttp.ClientSession) -> None:
        self.base_url = base_url
        self._control = f"{base_url.removesuffix('/api-3')}/_control"
        self._browser = browser
        self._unusable = 0

    async def tell(self, operation: str, account: str, **arguments: Any) -> Any:
        """Turn one of its knobs, and return what it answers."""
        body = {"op": operation, "account": account, **arguments}
        async with self._browser.post(self._control, json=body) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()

    async def truth(self, account: str) -> Rows:
        """Return what the mirror of an account must hold."""
        found: Rows = {}
        async with self._browser.post(self._control, json={"op": "truth", "account": account}) as answer:
            for line in (await answer.read()).splitlines():
                head, _, offer = line.partition(b',"offer":')
                found[int(head.removeprefix(b'{"id":'))] = expected(offer[:-1])[0]
        return found

    async def moves(self, dice: random.Random) -> None:
        """Let offers come, go and change places until cancelled; prices and stocks move by themselves."""
        while True:
            await asyncio.sleep(dice.uniform(0.5, 2))
            account = dice.choice(ACCOUNTS)
            ids = await self.tell("ids", account)
            match dice.randrange(6):
                case 0 | 1:
                    await self.tell("remove", account, ids=dice.sample(ids, 2))
                case 2 | 3:
                    await self.tell("add", account, number=2)
                case 4:
                    await self.tell("move_to_front", account, id=dice.choice(ids))
                case _ if self._unusable < MOST_UNUSABLE:
                    self._unusable += 1
                    await self.tell("add_unusable", account, kind=dice.choice(list(UNUSABLE)), place=dice.randrange(50))

    async def fails(self, dice: random.Random) -> str:
        """Begin to fail in a way that is drawn, and return which."""
        kind, account = dice.choice(list(Kind)), dice.choice(ACCOUNTS)
        fault: dict[str, Any] = {"kind": kind, "times": None, "probability": dice.choice([0.1, 0.5, 1.0])}
        if kind in VALUES:
            fault["value"] = dice.choice(VALUES[kind])
        await self.tell("fault", account, **fault)
        value = f" {fault['value']}" if "value" in fault else ""
        return f"marketplace: {kind}{value} for {account}, {fault['probability']:.0%}"

    async def behaves(self) -> None:
        """End every failure."""
        for account in ACCOUNTS:
            await self.tell("clear_faults", account)

    async def rests(self) -> None:
        """Change nothing any more."""
        for account in ACCOUNTS:
            await self.tell("set", account, moving=0)


@asynccontextmanager
async def market(seed: int, browser: aiohttp.ClientSession) -> AsyncIterator[Market]:
    """Run a marketplace."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "emag_syncd.sandbox", "--accounts", ",".join(ACCOUNTS), "--offers", "300"),
        *("--seed", str(seed), "--limits", "off", "--latency", "0.01,0.15", "--moving", "5", "--exit-with-parent"),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        announced = (await process.stdout.readline()).decode()
        yield Market(announced.removeprefix("listening on ").strip(), browser)
    finally:
        process.terminate()
        await process.wait()
