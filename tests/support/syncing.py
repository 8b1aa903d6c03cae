"""A small installation for tests: the simulated marketplace, a database, and everything that runs syncs."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from asyncpg import Record

from emag_syncd.domain.runs import Operation, RunRequest, Trigger
from emag_syncd.sandbox import Account, Sandbox
from emag_syncd.service.core import Core
from emag_syncd.service.databases import open_database
from emag_syncd.supervision.supervisor import Handle
from tests.support.daemon import settings_for

UNLIMITED = {"requests_per_second": 1_000_000, "requests_per_minute": 60_000_000}


@dataclass(frozen=True, slots=True)
class Ended:
    """The row of a run that has ended, with its JSON decoded."""

    row: Record

    def __getitem__(self, column: str) -> Any:
        """Return a column."""
        value = self.row[column]
        return msgspec.json.decode(value) if column in {"errors", "warnings", "sync_params"} else value

    @property
    def status(self) -> str:
        """How it ended."""
        return str(self.row["status"])

    @property
    def kinds(self) -> list[str]:
        """The kinds of its errors."""
        return [error["kind"] for error in self["errors"]]

    @property
    def said(self) -> str:
        """What its errors say."""
        return " ".join(error["error"] for error in self["errors"])

    def counted(self, *names: str) -> tuple[int, ...]:
        """Return the counters called ``names``, without their ``_items``."""
        return tuple(self.row[f"{name}_items"] for name in names)


class Syncing:
    """Starts runs and waits for them."""

    def __init__(self, sandbox: Sandbox, core: Core) -> None:
        """Sync the accounts of ``sandbox`` with ``core``."""
        self.sandbox = sandbox
        self.core = core

    @property
    def main(self) -> Account:
        """The first account of the marketplace."""
        return next(iter(self.sandbox.accounts.values()))

    async def start(self, operation: Operation = Operation.FULL, account: str | None = None, **request: Any) -> Handle:
        """Begin a run of the first account, or of the one that is named."""
        name = account or self.main.name
        return await self.core.supervisor.start(RunRequest(name, operation, Trigger.CLI, **request))

    async def sync(self, operation: Operation = Operation.FULL, account: str | None = None, **request: Any) -> Ended:
        """Do a whole run, and return its row."""
        return await ended(await self.start(operation, account, **request))


async def ended(handle: Handle) -> Ended:
    """Return the row of a run once it has ended in this process."""
    row = await handle.finished
    assert row is not None, "somebody else ended the run"
    return Ended(row)


@asynccontextmanager
async def syncing(sandbox: Sandbox, dsn: str, **sections: Mapping[str, Any]) -> AsyncIterator[Syncing]:
    """Give what syncs a running ``sandbox`` into the database of ``dsn``: no loops, no schedule, no pages.

    ``sections`` are those of the configuration; without them nothing limits the pace.
    """
    marketplace = {**UNLIMITED, "request_timeout_seconds": 5, **sections.pop("marketplace", {})}
    settings = settings_for(sandbox, Path("/nonexistent"), marketplace=marketplace, **sections)
    async with open_database(settings, dsn) as database:
        core = Core(settings, database, asyncio.Event())
        try:
            yield Syncing(sandbox, core)
        finally:
            for handle in core.supervisor.handles():
                handle.interrupt(None)
            await core.supervisor.stop()
            await core.accounts.close()
