"""How much of the marketplace's budget is used: its windows are fixed, its answers slow. The cases run side by side."""

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from tests.bench.database import database
from tests.bench.processes import Marketplace, account_settings, daemon, marketplace

PERMITTED_PER_SECOND = 3.0
READ = "product_offer/read"


@dataclass(frozen=True, slots=True)
class Case:
    """A marketplace and the settings that it is read with. ``latency`` in seconds an answer, from and to."""

    offers: int
    latency: tuple[float, float]
    accounts: tuple[str, ...] = ("main",)
    page_size: int = 100
    max_concurrent_requests: int = 24
    runs: int = 1


CASES = {
    "usual pages": Case(36_000, (0.3, 3)),
    "slow pages": Case(30_000, (8, 8), max_concurrent_requests=32),
    "small pages of a minute": Case(8_000, (60, 60), page_size=25, max_concurrent_requests=200),
    "two accounts at once": Case(24_000, (0.3, 3), accounts=("main", "fbe")),
    "the replaced system's accounts": Case(1_275, (3, 8), accounts=("main", "fbe"), runs=2),
}
"""The last one runs twice: the first load, and one of a catalogue that is known."""


async def measure(server_dsn: str, cases: dict[str, Case]) -> dict[str, dict[str, Any]]:
    """Run the cases at the same time, each with a database of its own; return what was found of each run."""
    found = await asyncio.gather(*(_case(server_dsn, case) for case in cases.values()))
    named: dict[str, dict[str, Any]] = {}
    for name, runs in zip(cases, found, strict=True):
        named[name] = runs[0]
        named |= {f"{name}, again": run for run in runs[1:]}
    return named


async def _case(server_dsn: str, case: Case) -> list[dict[str, Any]]:
    low, high = case.latency
    options = ("--limits", "on", "--latency", f"{low},{high}")
    # The daemon makes its schema itself: of several threads at once Alembic serves one.
    async with (
        database(server_dsn, migrated=False) as dsn,
        marketplace(case.offers, *options, accounts=case.accounts) as market,
        daemon(_settings(case, dsn, market)) as ours,
    ):
        found = []
        for _ in range(case.runs):
            for account in case.accounts:
                await market.control(account, "reset_stats")
            began = time.monotonic()
            await ours.sync()
            seconds = time.monotonic() - began
            stats = [await market.control(account, "stats") for account in case.accounts]
            exchanges = [await market.control(account, "exchanges") for account in case.accounts]
            found.append(
                {
                    "accounts": len(case.accounts),
                    "offers": case.offers,
                    "latency": case.latency,
                    "page_size": case.page_size,
                    "max_concurrent_requests": case.max_concurrent_requests,
                    "seconds": seconds,
                    "shares": [_share(each) for each in exchanges],
                    "requests": [each["requests"] for each in stats],
                    "refused": sum(each["refused_by_limit"] for each in stats),
                }
            )
        return found


def _settings(case: Case, dsn: str, market: Marketplace) -> dict[str, Any]:
    return {
        "database": {"url": dsn},
        "http": {"port": 0},
        "marketplace": {"page_size": case.page_size, "max_concurrent_requests": case.max_concurrent_requests},
        "accounts": account_settings(market),
    }


def _share(exchanges: list[dict[str, Any]]) -> float:
    """Return the rate of pages from the first one's request to the last one's, as a share of what is permitted."""
    at: list[float] = sorted(exchange["at"] for exchange in exchanges if exchange["resource"] == READ)
    return (len(at) - 1) / (at[-1] - at[0]) / PERMITTED_PER_SECOND
