"""Loads of a whole catalogue, ours and the bare loops' in turn, and a load that was killed in the middle."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from emag_syncd.config.model import Configuration
from tests.bench.database import Observer, database
from tests.bench.measuring import Figures, cpu_seconds, peak_mb, per_thousand, percentile
from tests.bench.processes import (
    PAGE,
    UNTHROTTLED,
    DaemonUnderTest,
    Marketplace,
    account_settings,
    daemon,
    marketplace,
    worker,
)
from tests.support.waiting import until

UNLIMITED = {"requests_per_second": 1_000_000, "requests_per_minute": 60_000_000}
LIVEZ_EVERY = 0.05
"""Seconds."""

LOADS = {
    "first": ("upsert", None),
    "unchanged": ("hashes", 0.0),
    "changed_1_percent": ("hashes", 0.01),
    "changed_20_percent": ("hashes", 0.2),
}
"""The loads in their order: the bare loop that each is compared with, and the share of offers that changed before."""

KILLED = "after_kill"
ALL_LOADS = (*LOADS, KILLED)

OURS = ("emag_products",)
WITH_HISTORY = (*OURS, "emag_product_changes", "emag_sync_scan_pages")

Round = dict[str, dict[str, Figures]]
"""What one round found: by load, then ``ours`` or ``bare``, the figures."""


@dataclass(frozen=True, slots=True)
class Stage:
    """What a load runs on."""

    dsn: str
    market: Marketplace
    observer: Observer

    @property
    def settings(self) -> dict[str, Any]:
        """The configuration of a daemon on it that nothing holds back."""
        return {
            "database": {"url": self.dsn},
            "http": {"port": 0},
            "sync": {"timeout_seconds": 3600},
            "marketplace": UNLIMITED,
            "accounts": account_settings(self.market),
        }


@asynccontextmanager
async def stage(server_dsn: str, market: Marketplace) -> AsyncIterator[Stage]:
    """Give an empty database to load a marketplace's catalogue into."""
    async with database(server_dsn) as dsn, Observer.of(dsn) as observer:
        yield Stage(dsn, market, observer)


async def one_round(
    server_dsn: str, market: Marketplace, loads: Collection[str], *, number: int, alone: bool = False
) -> Round:
    """Do the loads, each by ours and, unless ``alone``, by its bare loop. Who begins alternates with the ``number``."""
    found: Round = {}
    async with stage(server_dsn, market) as on:
        for load, (bare, changed) in LOADS.items():
            if load not in loads:
                continue
            if changed:
                await market.change(changed, seed=number)
            found[load] = {}
            for side in ("ours", "bare") if number % 2 else ("bare", "ours"):
                if side == "ours":
                    found[load][side] = await _ours(on)
                elif not alone:
                    found[load][side] = await _bare(on, bare)
    if KILLED in loads:
        async with stage(server_dsn, market) as on:
            found[KILLED] = {"ours": await _after_kill(on)}
    return found


async def measure(
    server_dsn: str, offers: int, loads: Collection[str], rounds: range, *, ours_alone: bool
) -> AsyncGenerator[dict[str, Any], None]:
    """Measure how fast the marketplace is alone, and the loads of a catalogue in rounds; gives each round."""
    async with marketplace(offers, *UNTHROTTLED) as market:
        served = await market.serve_alone()
        for number in rounds:
            found = await one_round(server_dsn, market, loads, number=number, alone=ours_alone)
            yield {"marketplace": served, "rounds": [found]}


async def _ours(on: Stage) -> Figures:
    figures: Figures = {}
    async with daemon(on.settings) as ours:
        await ours.settle()
        async with on.observer.watched(figures), _probed(ours, figures), _first_rows(on, figures):
            cpu, began = cpu_seconds(ours.pid), time.monotonic()
            said = (await ours.sync())["data"]
            seconds, cpu = time.monotonic() - began, cpu_seconds(ours.pid) - cpu
        peak = peak_mb(ours.pid)
    assert said["total_processed"] == on.market.offers, "not all offers were read"
    lags = ours.lags_since(began)
    figures |= {"lag_p50_ms": percentile(lags, 0.5) * 1000, "lag_p99_ms": percentile(lags, 0.99) * 1000}
    figures |= {name: said[name] for name in ("created", "updated", "unchanged")}
    figures["table_bytes"] = await on.observer.table_bytes(*OURS)
    figures["table_and_history_bytes"] = await on.observer.table_bytes(*WITH_HISTORY)
    return _per_offer(figures, on.market.offers, seconds, cpu, peak)


async def _bare(on: Stage, loop: str) -> Figures:
    figures: Figures = {}
    async with on.observer.watched(figures):
        said = await worker("bare", loop, on.dsn, on.market.base_url)
    assert said["rows"] == on.market.offers, "not all offers were read"
    del figures["rows_written"]
    figures["table_bytes"] = await on.observer.table_bytes("bare")
    return _per_offer(figures, on.market.offers, said["seconds"], said["cpu_seconds"], said["peak_mb"])


async def _after_kill(on: Stage) -> Figures:
    """Kill a first load in the middle; measure the run that takes it up."""
    account = on.market.accounts[0]
    pages = on.market.offers // PAGE + 1
    await on.market.control(account, "reset_stats")
    async with daemon(on.settings) as killed:
        load = asyncio.create_task(killed.sync())
        await until(lambda: _half_done(on), within=3600)
        await killed.kill()
        await asyncio.gather(load, return_exceptions=True)
    async with daemon(on.settings) as ours:
        began = time.monotonic()
        said = (await ours.sync())["data"]
        seconds = time.monotonic() - began
    served = (await on.market.control(account, "stats"))["totals"]
    read = sum(number for what, number in served.items() if what.startswith("product_offer/read"))
    stored = await on.observer.conn.fetchval("SELECT count(*) FROM emag_products")
    assert stored == on.market.offers, "an offer is missing"
    return {
        "seconds": seconds,
        "offers_left": said["total_processed"],
        "pages": pages,
        "pages_read_again": read - pages,
        "most_unwritten": Configuration().marketplace.max_concurrent_requests,
    }


async def _half_done(on: Stage) -> bool:
    done = await on.observer.conn.fetchval("SELECT max(processed_items) FROM emag_sync_progress")
    return (done or 0) >= on.market.offers / 2


def _per_offer(figures: Figures, offers: int, seconds: float, cpu: float, peak: float) -> Figures:
    """Return the figures as what an offer, or a thousand of them, cost."""
    if (pg_cpu := figures.pop("pg_cpu_seconds", None)) is not None:
        figures["pg_cpu_ms_per_1000"] = per_thousand(pg_cpu, offers)
    for name in [name for name in figures if name.endswith("_bytes")]:
        figures[f"{name}_per_offer"] = figures.pop(name) / offers
    return {
        "seconds": seconds,
        "rows_per_second": offers / seconds,
        "cpu_ms_per_1000": per_thousand(cpu, offers),
        "peak_mb": peak,
        **figures,
    }


@asynccontextmanager
async def _probed(ours: DaemonUnderTest, figures: Figures) -> AsyncIterator[None]:
    """Ask ``/livez`` again and again; add to ``figures`` how long it took."""
    took: list[float] = []

    async def ask() -> None:
        while True:
            began = time.perf_counter()
            async with ours.session.get("/livez", raise_for_status=True) as answer:
                await answer.read()
            took.append(time.perf_counter() - began)
            await asyncio.sleep(LIVEZ_EVERY)

    asking = asyncio.create_task(ask())
    yield
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    if took:
        figures["livez_p99_ms"] = percentile(took, 0.99) * 1000


@asynccontextmanager
async def _first_rows(on: Stage, figures: Figures) -> AsyncIterator[None]:
    """Look for the first rows; add to ``figures`` when they were to be seen, where there were none before."""
    async with Observer.of(on.dsn) as other:
        look = "SELECT EXISTS (SELECT FROM emag_products)"
        if await other.conn.fetchval(look):
            yield
            return
        began = time.monotonic()

        async def look_out() -> float:
            await until(lambda: other.conn.fetchval(look), within=3600)
            return time.monotonic() - began

        seen = asyncio.create_task(look_out())
        yield
        figures["first_rows_seconds"] = await seen
