"""How long the console's pages take over a catalogue that SQL made: on the server, and until they are drawn."""

import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import Browser, BrowserContext
from rich.console import Console
from rich.table import Table

from emag_syncd.sandbox import Sandbox
from tests.support.daemon import Site, serving, settings_for
from tests.support.waiting import until
from tests.web.console.chromium import DESKTOP, chromium, launched

ROUNDS = 10
HTML = {"Accept": "text/html"}
PAGES = ("/", "/runs", "/products", "/products?search=monitor", "/products?search=c4ca42", "/changes", "/health")

FIRST_PAINT = """new Promise(found => new PerformanceObserver(list => {
    for (const entry of list.getEntriesByName('first-contentful-paint')) found(entry.startTime);
}).observe({type: 'paint', buffered: true}))"""


async def show_console(console: Console, dsn: str) -> None:
    """Print how long each page takes: the first time, then the median and the worst, and the same until it is drawn.

    First in another tab of a browser that was there before, then in one that has kept nothing and has to start the
    processes of a page first.
    """
    table = Table("page", "first GET, ms", "GET, ms", "worst", "first paint, ms", "worst", "in a new browser", "worst")
    with tempfile.TemporaryDirectory() as folder:
        async with Sandbox.of("main", "fbe", offers=10) as sandbox:
            for path in PAGES:
                async with serving(settings_for(sandbox, Path(folder)), dsn) as site:
                    await _add(table, site, path)
    console.print(table)


async def _add(table: Table, site: Site, path: str) -> None:
    first = await _got(site, path)
    await until(site.core.counts.latest)
    got = [await _got(site, path) for _ in range(ROUNDS)]
    tabs: list[float] = []
    browsers: list[float] = []
    if (program := chromium()) is not None:
        async with launched(program) as browser:
            async with _visitor(browser, site) as visitor:
                await (await visitor.new_page()).goto("/livez")
                tabs = [await _painted(visitor, path) for _ in range(ROUNDS + 1)][1:]
            for _ in range(ROUNDS):
                async with _visitor(browser, site) as visitor:
                    browsers.append(await _painted(visitor, path))
    table.add_row(path, f"{first:.0f}", *_of(got), *_of(tabs), *_of(browsers))


def _of(times: list[float]) -> tuple[str, str]:
    return (f"{statistics.median(times):.0f}", f"{max(times):.0f}") if times else ("", "")


async def _got(site: Site, path: str) -> float:
    began = time.perf_counter()
    assert (await site.get(path, headers=HTML)).status == 200
    return (time.perf_counter() - began) * 1000


@asynccontextmanager
async def _visitor(browser: Browser, site: Site) -> AsyncIterator[BrowserContext]:
    context = await browser.new_context(base_url=site.address, viewport=DESKTOP)
    yield context
    await context.close()


async def _painted(visitor: BrowserContext, path: str) -> float:
    """Return after how many milliseconds a new tab shows something of the page."""
    page = await visitor.new_page()
    await page.goto(path, wait_until="commit")
    painted = float(await page.evaluate(FIRST_PAINT))
    await page.wait_for_load_state()
    await page.close()
    return painted
