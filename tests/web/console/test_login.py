"""Logging in and out with a real browser."""

import re

import pytest
from playwright.async_api import Page, expect

from emag_syncd.sandbox import Sandbox
from tests.support.daemon import Site
from tests.support.offers import Connection
from tests.support.waiting import until
from tests.web.conftest import TOKEN, hang
from tests.web.console.conftest import Opener

pytestmark = pytest.mark.timeout(180)


async def logged_in(site: Site, visit: Opener, path: str = "/") -> Page:
    """Open a page by way of the login."""
    page = await visit(site, path, live=False)
    await page.get_by_label("Token").fill(TOKEN)
    await page.get_by_role("button", name="Log in").click()
    await page.locator("body[data-connection=live]").wait_for()
    return page


async def test_a_browser_logs_in_and_out(locked: Site, visit: Opener) -> None:
    """A page leads to the login, a wrong token is told, the right one leads back to a live page."""
    page = await visit(locked, "/runs", live=False)
    await expect(page).to_have_url(re.compile(r"/login\?next=/runs$"))
    await page.get_by_label("Token").fill("wrong")
    await page.get_by_role("button", name="Log in").click()
    await expect(page.get_by_role("alert").filter(has_text="This is not the token.")).to_be_visible()
    await page.get_by_label("Token").fill(TOKEN)
    await page.get_by_role("button", name="Log in").click()
    await expect(page).to_have_url(re.compile(r"/runs$"))
    await page.locator("body[data-connection=live]").wait_for()
    await page.get_by_role("button", name="Log out").click()
    await expect(page).to_have_url(re.compile(r"/login$"))


async def test_every_button_works_for_who_is_logged_in(
    locked: Site, sandbox: Sandbox, visit: Opener, sql: Connection
) -> None:
    """With a session and no token in sight: a run is started and cancelled, a connection tried, what is stuck ended."""
    page = await logged_in(locked, visit)
    toasts = page.locator("#toasts")
    await page.click("#test-main")
    await expect(toasts).to_contain_text("main works: the marketplace has 250 of its offers.")
    hang(sandbox, "main")
    await page.click("#sync-main")
    await page.locator("dialog#sync").get_by_role("button", name="Start").click()
    await expect(toasts).to_contain_text("The sync of main has started.")
    await page.click("#cancel-main")
    await expect(toasts).to_contain_text("The sync of main was cancelled.")
    assert await sql.fetchval("SELECT triggered_by || ' ' || status FROM emag_sync_logs") == "console cancelled"
    await sql.execute(
        "INSERT INTO emag_sync_logs (account_type, operation, started_at)"
        " VALUES ('fbe', 'full_sync', now() - interval '20 minutes')"
    )
    await page.click("#ask-clean-up")
    await page.locator("dialog#clean-up").get_by_role("button", name="End them").click()
    await expect(toasts).to_contain_text("1 run was ended.")
    await page.get_by_role("button", name="Log out").click()
    await expect(page).to_have_url(re.compile(r"/login$"))


@pytest.mark.parametrize("button", ["#test-main", "#ask-sync"])
async def test_a_button_after_the_session_leads_to_the_login(
    locked: Site, visit: Opener, sql: Connection, button: str
) -> None:
    """Whoever was logged out in another window gets nothing done, and is asked for the token."""
    page = await logged_in(locked, visit)
    other = await page.context.new_page()
    await other.goto("/health")
    await other.get_by_role("button", name="Log out").click()
    await expect(other).to_have_url(re.compile(r"/login$"))
    if button == "#ask-sync":
        await page.click(button)
        await page.locator("dialog#sync").get_by_role("button", name="Start").click()
    else:
        await page.click(button)
    await expect(page).to_have_url(re.compile(r"/login$"))
    assert await sql.fetchval("SELECT count(*) FROM emag_sync_logs") == 0
    await page.get_by_label("Token").fill(TOKEN)
    await page.get_by_role("button", name="Log in").click()
    await page.locator("body[data-connection=live]").wait_for()
    await until(lambda: page.locator("#test-main").is_visible())
