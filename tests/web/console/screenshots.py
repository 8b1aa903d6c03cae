"""Takes the pictures of docs/images: python -m tests.web.console.screenshots FOLDER.

They show a daemon that has been at work for a while, on a simulated marketplace: two accounts, of which one was
refused lately and the other is being read.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import Browser, Page, ViewportSize

from emag_syncd.config import Settings
from emag_syncd.domain.runs import Operation, RunRequest, Trigger
from emag_syncd.sandbox import AccountSpec, Oddities, Sandbox
from emag_syncd.supervision.supervisor import Handle
from tests.support.daemon import UNPACED, Site, account_of, serving
from tests.support.offers import Connection
from tests.support.outages import connected
from tests.support.server import TestServer, reachable_folder
from tests.support.waiting import until
from tests.web.console.chromium import PHONE, chromium, launched

WIDE: ViewportSize = {"width": 1200, "height": 740}
OFFERS = 2500
CHANGES = 60
SLOWLY = 0.6
"""Pages a second of the run that is under way."""

ROUNDS = 3
MOMENTS = (("emag_product_changes", "changed_at"), ("emag_products", "updated_at"), ("emag_products", "first_seen_at"))
LAST_RUN = """
SELECT id FROM emag_sync_logs WHERE account_type = 'main' AND updated_items > 0 AND api_requests_made > 0
    AND id IN (SELECT sync_log_id FROM emag_api_calls) ORDER BY started_at DESC LIMIT 1
"""
BUSIEST = """
SELECT emag_id FROM emag_product_changes WHERE account_type = 'main' AND changes ? 'sale_price'
GROUP BY emag_id ORDER BY count(*) DESC, emag_id LIMIT 1
"""

# A fortnight of runs such as a schedule makes: one in the small hours reads all, the others what is on sale.
PAST = """
INSERT INTO emag_sync_logs (account_type, operation, status, started_at, completed_at, duration_seconds, total_items,
    processed_items, unchanged_items, updated_items, pages_processed, api_requests_made, triggered_by, errors)
SELECT account, CASE WHEN hour % 24 = 3 THEN 'full_sync' ELSE 'incremental_sync' END, status, began,
    began + took * interval '1 second', took, 2500, 2500, 2500 - changed, changed, 25, 27, 'schedule',
    CASE status WHEN 'failed' THEN '[{"error": "The marketplace did not answer", "kind": "marketplace_unavailable"}]'
        ELSE '[]' END::jsonb
FROM (
    SELECT account, hour, now() - hour * interval '1 hour' AS began,
        CASE WHEN (hour * 7 + length(account)) % 61 = 0 THEN 'failed' WHEN (hour * 5) % 83 = 0 THEN 'partial'
            ELSE 'completed' END AS status,
        (CASE WHEN hour % 24 = 3 THEN 64 ELSE 22 END) + (hour * 37) % 11 AS took, (hour * 29) % 47 AS changed
    FROM unnest(ARRAY['main', 'fbe']) AS account, generate_series(2, 336, 2) AS hour
) AS runs
"""


@asynccontextmanager
async def at_work(dsn: str, folder: Path) -> AsyncIterator[Site]:
    """Serve the pages of a daemon with a past: offers that changed a few times, runs of a fortnight."""
    spec = AccountSpec(offers=OFFERS, seed="demo", oddities=Oddities(odd=0.2, unfit=0.02), limited=False)
    async with Sandbox(dict.fromkeys(("main", "fbe"), spec)) as sandbox:
        accounts = {
            name: account_of(sandbox, name, schedule={"full": "0 3 * * *", "incremental": "15m"})
            for name in sandbox.accounts
        }
        values = {"accounts": accounts, "http": {"port": 0}, "marketplace": UNPACED}
        async with serving(Settings.of(values, folder), dsn) as site:
            site.schedule._lay_out()
            async with connected(dsn) as conn:
                await _past(site, sandbox, conn)
            yield site


async def _past(site: Site, sandbox: Sandbox, conn: Connection) -> None:
    await conn.execute(PAST)
    for _ in range(ROUNDS):
        for name, account in sandbox.accounts.items():
            await ended(site, name, Operation.FULL)
            account.moving = CHANGES
            account.move(1)
            account.moving = 0
        # Histories that lie within a second would be a dot in each chart.
        for table, column in MOMENTS:
            await conn.execute(f"UPDATE {table} SET {column} = {column} - interval '1 day'")
    await ended(site, "main", Operation.INCREMENTAL)
    sandbox.accounts["fbe"].access.refused = 403
    await ended(site, "fbe", Operation.INCREMENTAL)
    await site.core.call_log.flush()
    await site.core.counts.count()


async def ended(site: Site, account: str, operation: Operation) -> None:
    """See a run to its end."""
    handle = await site.core.supervisor.start(RunRequest(account, operation, Trigger.SCHEDULE))
    await handle.finished


async def under_way(site: Site) -> Handle:
    """Begin a run that goes on for long enough, and return it when it is under way."""
    site.core.accounts.get("main").link.pacer.reconfigure(SLOWLY, None)
    handle = await site.core.supervisor.start(RunRequest("main", Operation.FULL, Trigger.CONSOLE))

    async def far() -> bool:
        return any(row["processed_items"] > OFFERS / 5 for row in await site.core.ledger.progress())

    await until(far, within=60)
    return handle


async def take(browser: Browser, site: Site, folder: Path, run: str, product: str) -> None:
    """Take every picture."""
    shots = {
        "overview": "/",
        "runs": "/runs",
        "run": f"/runs/{run}",
        "products": "/products",
        "product": f"/products/main/{product}",
        "changes": "/changes",
        "health": "/health",
    }
    for name, path in shots.items():
        for width, viewport in (("", WIDE), ("-phone", PHONE)):
            for scheme in ("light", "dark") if name == "overview" else ("light",):
                suffix = width + ("-dark" if scheme == "dark" else "")
                context = await browser.new_context(
                    base_url=site.address, viewport=viewport, color_scheme="dark" if scheme == "dark" else "light"
                )
                page = await context.new_page()
                await _ready(page, path)
                await page.screenshot(path=folder / f"{name}{suffix}.png")
                await context.close()


async def _ready(page: Page, path: str) -> None:
    answer = await page.goto(path)
    if answer is None or not answer.ok:
        raise SystemExit(f"{path} can't be shown: {answer and answer.status}")
    await page.locator("body[data-connection=live]").wait_for()


async def pictures(dsn: str, place: Path, path: str, folder: Path) -> None:
    """Take the pictures of a daemon on the database ``dsn`` with the browser at ``path``."""
    async with at_work(dsn, place) as site, launched(path) as browser, connected(dsn) as conn:
        run = str(await conn.fetchval(LAST_RUN))
        product = str(await conn.fetchval(BUSIEST))
        handle = await under_way(site)
        await take(browser, site, folder, run, product)
        await site.core.supervisor.cancel(handle.lease.run_id)


def main(folder: Path) -> None:
    """Take the pictures into ``folder``."""
    path = chromium()
    if path is None:
        raise SystemExit("chromium is not installed: apt-get install chromium")
    folder.mkdir(parents=True, exist_ok=True)
    with reachable_folder() as place, TestServer(place) as server, server.database(migrated=True) as dsn:
        asyncio.run(pictures(dsn, place, path, folder))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
