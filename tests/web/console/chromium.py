"""Debian's Chromium, without a window."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from playwright.async_api import Browser, ViewportSize, async_playwright

DESKTOP: ViewportSize = {"width": 1280, "height": 800}
PHONE: ViewportSize = {"width": 390, "height": 844}


def chromium() -> str | None:
    """Return where Chromium is, if it is installed."""
    return shutil.which("chromium")


@asynccontextmanager
async def launched(path: str) -> AsyncIterator[Browser]:
    """Give a browser, until leaving."""
    # As root, Chromium runs only without its sandbox.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=arguments)
        try:
            yield browser
        finally:
            await browser.close()
