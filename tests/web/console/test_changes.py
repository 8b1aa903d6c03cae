"""The feed of changes in a browser."""

import re

import pytest
from playwright.async_api import expect

from emag_syncd.sandbox import Sandbox
from tests.support.daemon import Site
from tests.support.offers import Connection
from tests.web.conftest import API
from tests.web.console.chromium import PHONE
from tests.web.console.conftest import Opener
from tests.web.console.stock import fill

pytestmark = pytest.mark.timeout(180)

MANY = """
INSERT INTO emag_product_changes (account_type, emag_id, kind, changes, changed_at)
SELECT 'main', n, 'updated', jsonb_build_object('general_stock', jsonb_build_object('old', n, 'new', n + 1)), now()
FROM generate_series(1, 120) AS n
"""


async def test_each_filter_leaves_what_matches(site: Site, sql: Connection, visit: Opener) -> None:
    """Account, kind and field narrow the feed, together and in the address; what matches nothing is said."""
    await fill(sql)
    page = await visit(site, "/changes")
    feed = page.locator(".feed > li")
    await expect(feed).to_have_count(6)
    for name, choice, count, query in [
        ("by-account", "fbe", 1, "account_type=fbe"),
        ("by-kind", "back again", 1, "kind=restored"),
        ("by-kind", "changed", 3, "kind=updated"),
        ("by-field", "Price", 3, "field=sale_price"),
        ("by-field", "something else", 1, "field=raw"),
    ]:
        await page.locator(f"#{name}").select_option(label=choice)
        await expect(feed).to_have_count(count)
        await expect(page).to_have_url(f"{site.address}/changes?{query}")
        await page.locator(f"#{name}").select_option(index=0)
        await expect(feed).to_have_count(6)
    await page.locator("#by-kind").select_option("updated")
    await page.locator("#by-account").select_option("fbe")
    await expect(feed).to_have_count(1)
    await expect(feed).to_contain_text("Cablu USB-C 1 m fbe · CB-1")
    await expect(feed).to_contain_text("Name Cablu <vechi> →to Cablu USB-C 1 m")
    await page.locator("#by-field").select_option("ean")
    await expect(page.locator("#found")).to_contain_text("No change matches.")


async def test_the_feed_goes_back_page_by_page(site: Site, sql: Connection, visit: Opener) -> None:
    """Each change comes once, newest first, and there is a way back to the newest."""
    await sql.execute(MANY)
    page = await visit(site, "/changes", viewport=PHONE)
    seen: list[str] = []
    for count in (50, 50, 20):
        await expect(page.locator(".feed > li")).to_have_count(count)
        seen += await page.locator(".feed > li .named").all_inner_texts()
        if count == 50:
            await page.get_by_role("link", name="Older").click()
            await expect(page.locator(".named").first).not_to_have_text(seen[-50])
    assert seen == [str(number) for number in range(120, 0, -1)]
    await page.get_by_role("link", name="Newest").click()
    await expect(page.locator(".named").first).to_have_text("120")


async def test_the_feed_is_live(site: Site, sandbox: Sandbox, visit: Opener) -> None:
    """What a run finds appears by itself, above what was there, and is marked as new."""
    page = await visit(site, "/changes")
    await expect(page.locator("#feed")).to_contain_text("Nothing has changed yet.")
    await site.post(f"{API}/sync", {"account_type": "main", "mode": "full"})
    await expect(page.locator(".feed > li")).to_have_count(50)
    await expect(page.locator(".feed > li .badge").first).to_have_text("new")
    catalogue = sandbox.accounts["main"].catalogue
    catalogue.update(catalogue.ids[7], name="Cu totul altfel")
    await site.post(f"{API}/sync", {"account_type": "main", "mode": "full"})
    await expect(page.locator(".feed > li").first).to_contain_text("to Cu totul altfel")
    await expect(page.locator(".feed > li.fresh").first).to_be_visible()


async def test_of_one_run(site: Site, sql: Connection, visit: Opener) -> None:
    """The page of a run leads to its changes, and from there to all."""
    await fill(sql)
    answer = await site.post(f"{API}/sync", {"account_type": "fbe", "mode": "full"})
    page = await visit(site, f"/changes?sync_log_id={answer.json['sync_id']}&field=brand&kind=created")
    await expect(page.locator(".feed > li")).to_have_count(50)
    await page.goto(f"/changes?sync_log_id={answer.json['sync_id']}&kind=removed")
    await expect(page.locator(".feed > li")).to_have_text(re.compile("removed Cablu USB-C 1 m"))
    await page.locator("#by-kind").select_option(index=0)
    await page.locator("#by-run").select_option(index=0)
    await page.locator("#by-account").select_option("main")
    await expect(page.locator(".feed > li")).to_have_count(5)
