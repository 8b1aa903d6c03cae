"""The simulated marketplace, a database, and what syncs the one into the other."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any, TypeAlias

import asyncpg
import pytest
import structlog

from emag_syncd.sandbox import AccountSpec, Sandbox
from tests.support.syncing import Syncing, syncing

Open: TypeAlias = Callable[..., Awaitable[Syncing]]
Sql: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every wait after a failure short: how long they are, other tests show."""
    monkeypatch.setattr("emag_syncd.marketplace.link.LONGEST_BACKOFF", 0.01)
    monkeypatch.setattr("emag_syncd.marketplace.link.LONGEST_PAUSE", 0.05)
    monkeypatch.setattr("emag_syncd.sync.patience.FIRST_WAIT", 0.05)
    monkeypatch.setattr("emag_syncd.supervision.supervisor.FINISH_WAITS", (0.05, 0.06))


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Leave out what runs say when all is well: there are thousands of them."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    yield
    structlog.reset_defaults()


@pytest.fixture
async def open_syncing(database_url: str) -> AsyncIterator[Open]:
    """Give what opens a marketplace with these offers and syncs it; afterwards it must have no complaint."""
    async with AsyncExitStack() as stack:
        opened: list[Sandbox] = []

        async def open_one(*names: str, dsn: str = database_url, sections: Any = None, **spec: Any) -> Syncing:
            specs = {name: AccountSpec(**{"limited": False, **spec}) for name in names or ("main",)}
            opened.append(await stack.enter_async_context(Sandbox(specs)))
            return await stack.enter_async_context(syncing(opened[-1], dsn, **(sections or {})))

        yield open_one
        for sandbox in opened:
            for account in (*(one.stats for one in sandbox.accounts.values()), sandbox.strangers):
                assert list(account.violations) == []
