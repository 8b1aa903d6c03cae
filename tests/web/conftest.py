"""A simulated marketplace with two accounts, and the pages of a daemon that reads them."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from emag_syncd.sandbox import Fault, Kind, Sandbox
from tests.support.daemon import Site, serving, settings_for

API = "/api/v1/emag/products"
PROBLEM = "application/problem+json"
TOKEN = "s3cret-t0ken/with+signs=="


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """Run a marketplace where ``main`` and ``fbe`` have 250 offers each."""
    async with Sandbox.of("main", "fbe", offers=250, limited=False) as sandbox:
        yield sandbox


@pytest.fixture
async def site(sandbox: Sandbox, database_url: str, tmp_path: Path) -> AsyncIterator[Site]:
    """Serve the pages of a daemon without a token."""
    async with serving(settings_for(sandbox, tmp_path, shutdown_seconds=2.1), database_url) as site:
        yield site


@pytest.fixture
async def locked(sandbox: Sandbox, database_url: str, tmp_path: Path) -> AsyncIterator[Site]:
    """Serve the pages of a daemon with a token."""
    settings = settings_for(sandbox, tmp_path, http={"port": 0, "token": TOKEN})
    async with serving(settings, database_url) as site:
        yield site


async def send(site: Site, request: bytes) -> bytes:
    """Send bytes as they are, and return what comes back until the connection ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(site.address.rpartition(":")[2]))
    writer.write(request)
    try:
        return await asyncio.wait_for(reader.read(), 20)
    finally:
        writer.close()


def hang(sandbox: Sandbox, account: str, page: int | None = None) -> None:
    """Let the account's pages, or one of them, never come: its next run goes on until it is ended."""
    fault = Fault(Kind.HANG, resource="product_offer/read", page=page, times=None)
    sandbox.accounts[account].faults.add(fault)


async def running(site: Site, account: str, **more: Any) -> str:
    """Start a run and return its id."""
    body = {"account_type": account, "mode": "full", "run_async": True, **more}
    answer = await site.post(f"{API}/sync", body)
    assert answer.status == 202
    return str(answer.json["sync_id"])
