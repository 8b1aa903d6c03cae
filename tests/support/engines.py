"""Engines that do what a test wants of a run, and everything around them as the daemon has it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar, TypeAlias, cast
from weakref import WeakSet

from emag_syncd.config import Settings
from emag_syncd.domain.runs import ErrorKind, Operation, Outcome, RunRequest, Status, Trigger
from emag_syncd.service.core import Core
from emag_syncd.storage.database import Database
from emag_syncd.supervision.supervisor import Handle
from emag_syncd.sync.context import RunContext
from emag_syncd.sync.engine import Engine

Act: TypeAlias = Callable[[RunContext], Awaitable[Outcome]]

DONE = Outcome(Status.COMPLETED, scan_done=True)
STOPPED = Outcome.of(Status.CANCELLED, ErrorKind.SHUTDOWN, "stopped between two pages")


class StubEngine:
    """Does ``act`` as each run; ``began`` gives the runs' contexts as they begin."""

    def __init__(self, act: Act) -> None:
        """Begin with no run."""
        self.act = act
        self.began: asyncio.Queue[RunContext] = asyncio.Queue()

    async def run(self, context: RunContext, _link: object, _settings: object) -> Outcome:
        """Do the act."""
        self.began.put_nowait(context)
        return await self.act(context)


async def at_once(_context: RunContext) -> Outcome:
    """Have nothing to do."""
    return DONE


async def until_stopped(context: RunContext) -> Outcome:
    """Go on until asked to stop, as a run with many pages does."""
    await asyncio.shield(context.stop)
    return STOPPED


async def for_ever(_context: RunContext) -> Outcome:
    """Wait for a page that never comes; take no notice of the wish to stop, but of being cancelled."""
    await asyncio.Event().wait()
    return DONE


class Deaf:
    """A run that swallows every cancellation until ``released``; ``heard`` counts them."""

    all: ClassVar["WeakSet[Deaf]"] = WeakSet()

    def __init__(self) -> None:
        """Begin deaf."""
        self.all.add(self)
        self.released = asyncio.Event()
        self.left = asyncio.Event()
        self.heard = 0

    async def __call__(self, _context: RunContext) -> Outcome:
        """Come back only when released."""
        while not self.released.is_set():
            try:
                await self.released.wait()
            except asyncio.CancelledError:
                self.heard += 1
        self.left.set()
        return DONE


def by_account(**acts: Act) -> Act:
    """Let each account's runs do another act."""

    def act(context: RunContext) -> Awaitable[Outcome]:
        return acts[context.lease.account](context)

    return act


def settings_of(*accounts: str, own: Mapping[str, Any] | None = None, **sections: Any) -> Settings:
    """Return settings with accounts that nobody can reach and that run nothing by themselves.

    ``own`` has more settings for some of them.
    """
    one = {
        "base_url": "http://127.0.0.1:9/api-3",
        "username": "seller",
        "password": "hunter2",
        "schedule": {"full": "off", "incremental": "off"},
    }
    each = {name: {**one, **(own or {}).get(name, {})} for name in accounts or ("main", "fbe")}
    values = {"accounts": each, "schedule": {"jitter_seconds": 0}, **sections}
    return Settings.of(values, Path("/nonexistent"))


@asynccontextmanager
async def core_on(database: Database, act: Act, *accounts: str, **sections: Any) -> AsyncIterator[Core]:
    """Give a daemon's core whose runs do ``act``; its loops stand still. ``sections`` are settings."""
    core = Core(settings_of(*accounts, **sections), database, asyncio.Event())
    core.supervisor._engine = cast("Engine", StubEngine(act))
    try:
        yield core
    finally:
        # The loop of the test would wait for them for ever.
        for deaf in Deaf.all:
            deaf.released.set()
        for handle in core.supervisor.handles():
            handle.interrupt(None)
        await core.supervisor.stop()
        await core.accounts.close()


def engine_of(core: Core) -> StubEngine:
    """Return the engine of a core made by ``core_on``."""
    return cast("StubEngine", core.supervisor._engine)


async def start(core: Core, account: str = "main", operation: Operation = Operation.FULL, **wanted: Any) -> Handle:
    """Start a run and wait for it to begin."""
    handle = await core.supervisor.start(RunRequest(account, operation, Trigger.API, **wanted))
    async with asyncio.timeout(20):
        while await engine_of(core).began.get() is not handle.context:
            """Somebody else started that one."""
    return handle


def sample(core: Core, name: str, **labels: str) -> float | None:
    """Return the value of a metric."""
    return core.metrics.registry.get_sample_value(name, labels)


def gate(core: Core, outcome: Outcome = DONE) -> asyncio.Event:
    """Let the runs of ``core`` end as ``outcome`` says once the returned event is set."""
    opened = asyncio.Event()

    async def act(_context: RunContext) -> Outcome:
        await opened.wait()
        return outcome

    engine_of(core).act = act
    return opened
