"""The page on health in a browser."""

from pathlib import Path

import pytest
from playwright.async_api import expect

from emag_syncd.sandbox import Sandbox
from tests.support.daemon import Site, serving, settings_for
from tests.support.server import database_proxy
from tests.web.conftest import API
from tests.web.console.conftest import Opener

pytestmark = pytest.mark.timeout(180)


async def test_all_is_well(site: Site, sandbox: Sandbox, visit: Opener) -> None:
    """Checks, loops, the pool and the settings in force are there, and nothing secret is."""
    page = await visit(site, "/health")
    await expect(page.locator("#verdict")).to_contain_text("All is well.")
    await expect(page.locator("#surroundings")).to_contain_text("database")
    for loop in ("scheduler", "heartbeat", "watchdog"):
        await expect(page.locator("#loops")).to_contain_text(loop)
    await page.get_by_text("Show all settings").click()
    await expect(page.locator("pre")).to_contain_text("[accounts.main]")
    assert sandbox.accounts["main"].password not in await page.content()


async def test_requests_are_counted_against_the_budget(site: Site, visit: Opener) -> None:
    """What an account asked of the marketplace in the last minute shows by itself."""
    page = await visit(site, "/health")
    meter = page.locator("meter").first
    assert await meter.evaluate("meter => meter.value") == 0
    await site.post(f"{API}/sync", {"account_type": "main", "mode": "full"})
    await expect(page.locator("#budgets .budget .num").first).not_to_contain_text("0 / ")
    assert await meter.evaluate("meter => meter.value") >= 3


async def test_a_database_that_is_away_is_named(
    sandbox: Sandbox, database_url: str, tmp_path: Path, visit: Opener
) -> None:
    """The page needs no database: it goes on, and says what fails."""
    async with (
        database_proxy(database_url) as (proxy, through),
        serving(settings_for(sandbox, tmp_path), through) as site,
    ):
        page = await visit(site, "/health")
        proxy.point_at(("127.0.0.1", 1))
        await site.health.probe()
        await expect(page.locator("#verdict .verdict.bad")).to_be_visible()
        await expect(page.locator("#surroundings tr", has_text="database").locator(".badge")).to_have_text("fails")
