"""A real browser in front of the pages; without Chromium what needs it is skipped."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, TypeAlias

import pytest
from playwright.async_api import Browser, ConsoleMessage, Page, Response, ViewportSize, expect

from tests.support.daemon import Site
from tests.web.console.chromium import DESKTOP, chromium, launched

PATIENCE_MS = 30_000
"""How long the browser waits for what is about to happen: it may share its machine."""

expect.set_options(timeout=PATIENCE_MS)

Opener: TypeAlias = Callable[..., Awaitable[Page]]


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """Run a browser."""
    path = chromium()
    if path is None:
        pytest.skip("chromium is not installed")
    async with launched(path) as browser:
        yield browser


JUDGED_BY_THE_PAGE = ("Failed to load resource", "net::", "htmx:sendError", "htmx:afterRequest")


class Faults:
    """What goes wrong in the browser: exceptions of scripts, and what the browser refused to load or run."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def watch(self, page: Page) -> None:
        """Take note of what goes wrong on ``page``."""
        page.on("pageerror", lambda error: self.found.append(f"{page.url}: {error}"))
        page.on("console", self._said)
        page.on("response", self._answered)

    def _said(self, message: ConsoleMessage) -> None:
        # What somebody types or chooses next takes the place of the request before it.
        if message.text.startswith(("htmx:afterRequest", "htmx:sendAbort")):
            return
        # Answers that are no success, and connections that end, are judged by what the page makes of them.
        if message.type == "error" and not any(words in message.text for words in JUDGED_BY_THE_PAGE):
            self.found.append(message.text)

    def _answered(self, response: Response) -> None:
        if response.status == 500:
            self.found.append(f"{response.url} answered 500")


@pytest.fixture
async def faults() -> AsyncIterator[Faults]:
    """Watch pages; at the end of the test nothing must have gone wrong in them."""
    faults = Faults()
    yield faults
    assert faults.found == []


@pytest.fixture
async def visit(browser: Browser, faults: Faults) -> AsyncIterator[Opener]:
    """Give a way to open pages, each with cookies of its own. ``live`` waits until the page follows the events."""
    async with AsyncExitStack() as stack:

        async def opener(
            site: Site | str,
            path: str = "/",
            *,
            language: str = "en",
            viewport: ViewportSize | None = None,
            dark: bool = False,
            live: bool = True,
            **more: Any,
        ) -> Page:
            context = await browser.new_context(
                base_url=site if isinstance(site, str) else site.address,
                locale=language,
                viewport=viewport or DESKTOP,
                color_scheme="dark" if dark else "light",
                timezone_id="Europe/Bucharest",
                **more,
            )
            stack.push_async_callback(context.close)
            context.set_default_timeout(PATIENCE_MS)
            page = await context.new_page()
            faults.watch(page)
            await page.goto(path)
            if live:
                # From here on whatever happens reaches the page.
                await page.locator("body[data-connection=live]").wait_for()
            return page

        yield opener
