"""What the pages do by themselves, in a real browser."""

import pytest
from playwright.async_api import expect

from tests.support.daemon import Site
from tests.web.console.conftest import Opener

pytestmark = pytest.mark.timeout(180)


async def test_a_page_opens_without_a_fault_and_follows_the_daemon(site: Site, visit: Opener) -> None:
    """Nothing that the page brings is refused by its own policy, and it is live soon after it opened."""
    page = await visit(site)
    await expect(page.locator("h1")).to_have_text("Overview")
    await expect(page.locator(".live .when-live")).to_be_visible()
