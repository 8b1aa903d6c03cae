"""Every page for every reader: by keyboard, screen reader, telephone, in the dark."""

import pytest
from playwright.async_api import expect

from emag_syncd.sandbox import Sandbox
from tests.support.daemon import Site
from tests.support.offers import Connection
from tests.web.conftest import API, hang, running
from tests.web.console.accessibility import assert_usable
from tests.web.console.chromium import DESKTOP, PHONE
from tests.web.console.conftest import Opener
from tests.web.console.stock import fill

pytestmark = pytest.mark.timeout(180)


@pytest.mark.parametrize("phone", [False, True], ids=["desktop", "phone"])
async def test_the_pages_are_usable(site: Site, sandbox: Sandbox, visit: Opener, *, phone: bool) -> None:
    """axe-core finds nothing serious on any page, light or dark, and none is wider than its window."""
    sandbox.accounts["fbe"].access.refused = 403
    failed = (await site.post(f"{API}/sync", {"account_type": "fbe", "mode": "full"})).json["sync_id"]
    await site.post(f"{API}/sync", {"account_type": "main", "mode": "full"})
    hang(sandbox, "main")
    await running(site, "main")
    await site.core.call_log.flush()
    page = await visit(site, viewport=PHONE if phone else DESKTOP, language="ro" if phone else "en")
    product = f"/products/main/{sandbox.accounts['main'].catalogue.ids[0]}"
    for path in ("/", "/runs", f"/runs/{failed}", "/products", product, "/changes", "/health", "/nowhere"):
        await page.goto(path)
        for scheme in ("light", "dark"):
            await page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
            await assert_usable(page)
    await page.goto("/")
    await page.click("#ask-sync")
    await page.locator("dialog#sync summary").click()
    await assert_usable(page)


async def test_the_current_tab_is_in_sight_on_a_phone(site: Site, visit: Opener) -> None:
    """The tabs are wider than a narrow screen: they are scrolled to the one that is open, and the page is not."""
    page = await visit(site, "/health", viewport={"width": 320, "height": 640}, language="ro")
    tabs = page.locator("header nav")
    assert await tabs.evaluate("nav => nav.scrollWidth > nav.clientWidth")
    await expect(tabs.locator("[aria-current=page]")).to_be_in_viewport(ratio=1)
    assert await page.evaluate("[scrollX, scrollY]") == [0, 0]


async def test_the_keyboard_is_enough(site: Site, visit: Opener) -> None:
    """The first key leads past the bar; a dialog opens, takes the focus, and gives it back on Escape."""
    page = await visit(site)
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await expect(page.locator("main")).to_be_focused()
    await page.locator("#ask-sync").focus()
    await page.keyboard.press("Enter")
    await expect(page.locator("dialog#sync")).to_be_visible()
    assert await page.evaluate("document.activeElement.closest('dialog')?.id") == "sync"
    await page.keyboard.press("Escape")
    await expect(page.locator("#ask-sync")).to_be_focused()


@pytest.mark.parametrize("path", ["/", "/products", "/products/main/1", "/changes"])
async def test_a_page_weighs_little(site: Site, sql: Connection, visit: Opener, path: str) -> None:
    """All that a page needs comes to less than 150 KB."""
    await fill(sql)
    await site.post(f"{API}/sync", {"account_type": "fbe", "mode": "full"})
    page = await visit(site, path)
    sizes = await page.evaluate(
        "performance.getEntriesByType('resource').concat(performance.getEntriesByType('navigation'))"
        ".filter(one => !one.name.endsWith('/events')).map(one => one.transferSize)"
    )
    assert len(sizes) >= 4
    assert sum(sizes) < 150_000
