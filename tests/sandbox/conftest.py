"""A running marketplace and clients of it."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from emag_syncd.sandbox import Sandbox

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.sandbox.caller import Caller


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """Give a marketplace with two accounts."""
    async with Sandbox.of("main", "fbe", offers=250) as running:
        yield running


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """Give a session to call it with."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as opened:
        yield opened


@pytest.fixture
def main(sandbox: Sandbox, session: aiohttp.ClientSession) -> Caller:
    """Give who calls as main."""
    return Caller(session, sandbox.base_url, sandbox.accounts["main"])


@pytest.fixture
def fbe(sandbox: Sandbox, session: aiohttp.ClientSession) -> Caller:
    """Give who calls as fbe."""
    return Caller(session, sandbox.base_url, sandbox.accounts["fbe"])
