"""Logging in and out with a real browser."""

import re

from playwright.async_api import expect

from tests.support.daemon import Site
from tests.web.conftest import TOKEN
from tests.web.console.conftest import Opener


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
