"""A desk for each test, and a marketplace."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from emag_syncd.sandbox import Sandbox
from tests.cli.support import Desk, configuration


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """Give a folder without a configuration."""
    return Desk(tmp_path)


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """Give a marketplace with two accounts of 250 offers each."""
    async with Sandbox.of("main", "fbe", offers=250) as sandbox:
        yield sandbox


@pytest.fixture
def ready(desk: Desk, database_url: str, sandbox: Sandbox) -> Desk:
    """Give a desk whose configuration is good, with a database and a marketplace that work."""
    desk.configure(configuration(database_url, sandbox.base_url))
    return desk
