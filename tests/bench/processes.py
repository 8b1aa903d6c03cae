"""The processes of a measurement: the simulated marketplace, the workers and daemons that are measured."""

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from emag_syncd.sandbox.account import AccountSpec
from tests.bench.measuring import Figures, cpu_seconds, per_thousand

UNTHROTTLED = ("--limits", "off")
PAGE = 100
AT_ONCE = 4
PATIENT = aiohttp.ClientTimeout(total=None)

LOOKED_EVERY = 0.25
BUSY = 0.03
"""Seconds of processor time, in that time, that an idle daemon does not take."""


def login(account: str) -> tuple[str, str]:
    """Return user and password of an account of the simulated marketplace."""
    return AccountSpec().credentials(account)


@dataclass(frozen=True, slots=True)
class Marketplace:
    """A simulated marketplace in a process of its own."""

    base_url: str
    accounts: Sequence[str]
    offers: int
    pid: int
    session: aiohttp.ClientSession

    async def control(self, account: str, op: str, **arguments: Any) -> Any:
        """Turn one of its knobs, or ask how it went."""
        url = self.base_url.rpartition("/")[0] + "/_control"
        body = {"op": op, "account": account, **arguments}
        async with self.session.post(url, json=body, raise_for_status=True) as answer:
            return await answer.json()

    async def change(self, share: float, *, seed: int) -> None:
        """Let that share of the first account's offers change, and make the answers anew."""
        await self.control(self.accounts[0], "mutate", number=round(self.offers * share), seed=seed)
        await self.serve_alone()

    async def serve_alone(self) -> Figures:
        """Read the whole catalogue and do nothing with it; return how fast that was."""
        auth = aiohttp.encode_basic_auth(*login(self.accounts[0]))
        numbers = iter(range(1, -(-self.offers // PAGE) + 1))
        size = 0

        async def read() -> None:
            nonlocal size
            for number in numbers:
                async with self.session.post(
                    f"{self.base_url}/product_offer/read",
                    json={"currentPage": number, "itemsPerPage": PAGE},
                    headers={"Authorization": auth},
                ) as answer:
                    size += len(await answer.read())

        cpu, began = cpu_seconds(self.pid), time.perf_counter()
        await asyncio.gather(*(read() for _ in range(AT_ONCE)))
        seconds = time.perf_counter() - began
        return {
            "rows_per_second": self.offers / seconds,
            "cpu_ms_per_1000": per_thousand(cpu_seconds(self.pid) - cpu, self.offers),
            "bytes_per_offer": size / self.offers,
        }


@asynccontextmanager
async def marketplace(offers: int, *options: str, accounts: Sequence[str] = ("main",)) -> AsyncIterator[Marketplace]:
    """Run a simulated marketplace whose answers are made before they are asked for."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "emag_syncd.sandbox", "--accounts", ",".join(accounts), "--offers", str(offers)),
        *("--port", "0", "--exit-with-parent", "--no-odd", "--preencode", str(offers), *options),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        announced = (await process.stdout.readline()).decode()
        async with aiohttp.ClientSession(timeout=PATIENT) as session:
            yield Marketplace(announced.removeprefix("listening on ").strip(), accounts, offers, process.pid, session)
    finally:
        process.terminate()
        await process.wait()


async def worker(module: str, *arguments: str) -> dict[str, Any]:
    """Run a worker and return what it measured."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", f"tests.bench.{module}", *arguments), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    if process.returncode:
        raise SystemExit(f"{module} {' '.join(_public(arguments))} failed")
    found: dict[str, Any] = json.loads(out)
    return found


def _public(arguments: Sequence[str]) -> list[str]:
    return [argument for argument in arguments if "://" not in argument]


class DaemonUnderTest:
    """A daemon in a process of its own, on whose event loop a probe measures the lag all the time."""

    def __init__(self, process: asyncio.subprocess.Process, session: aiohttp.ClientSession) -> None:
        """Talk to ``process`` over ``session``."""
        self._process = process
        self.session = session
        self.pid = process.pid
        self.lags: list[tuple[float, float]] = []

    async def settle(self) -> None:
        """Wait until the work of its start is done, sweeps and counts: a daemon runs for weeks."""
        spent = -BUSY
        while (now := cpu_seconds(self.pid)) - spent >= BUSY:
            spent = now
            await asyncio.sleep(LOOKED_EVERY)

    async def sync(self) -> dict[str, Any]:
        """Do a full sync of all accounts, and return what the API says of it."""
        body = {"account_type": "all", "mode": "full"}
        async with self.session.post("/api/v1/emag/products/sync", json=body, raise_for_status=True) as answer:
            said: dict[str, Any] = await answer.json()
        if said["status"] != "completed":
            raise SystemExit(f"a run ended as {said['status']}: {said['data']['errors']}")
        return said

    async def kill(self) -> None:
        """Kill it, as a crash does."""
        self._process.kill()
        await self._process.wait()

    async def end(self) -> None:
        """Let it end, and take over what its probe measured."""
        if self._process.returncode is None:
            self._process.terminate()
            out, _ = await self._process.communicate()
            self.lags = json.loads(out)

    def lags_since(self, when: float) -> list[float]:
        """Return the lags, in seconds, from a time of the monotonic clock on."""
        return [lag for at, lag in self.lags if at >= when]


@asynccontextmanager
async def daemon(settings: Mapping[str, Any]) -> AsyncIterator[DaemonUnderTest]:
    """Run a daemon that does nothing by itself, with sections of its configuration."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.bench.ours"),
        env={**os.environ, "EMAG_SYNCD_BENCH": json.dumps(settings)},
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    address = (await process.stdout.readline()).decode().strip()
    if not address:
        raise SystemExit("the daemon did not start")
    async with aiohttp.ClientSession(address, timeout=PATIENT) as session:
        ours = DaemonUnderTest(process, session)
        try:
            yield ours
        finally:
            await ours.end()


def account_settings(market: Marketplace) -> dict[str, Any]:
    """Return the section of the accounts for a marketplace."""
    off = {"full": "off", "incremental": "off"}
    return {
        name: {
            "base_url": market.base_url,
            "username": login(name)[0],
            "password": login(name)[1],
            "schedule": off,
        }
        for name in market.accounts
    }
