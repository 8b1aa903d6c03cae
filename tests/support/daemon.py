"""The daemon's parts, put together as the daemon does it, with its pages on a real socket."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from emag_syncd.config import Settings
from emag_syncd.sandbox import Sandbox
from emag_syncd.service.core import Core
from emag_syncd.storage.database import Database
from emag_syncd.supervision.health import Health
from emag_syncd.supervision.prospects import Prospects
from emag_syncd.supervision.schedule import Schedule
from emag_syncd.web.server import WebParts, WebServer

OFF = {"full": "off", "incremental": "off"}
UNPACED = {"requests_per_second": 1000, "requests_per_minute": 60_000}


def account_of(sandbox: Sandbox, name: str, **more: Any) -> dict[str, Any]:
    """Return the settings of an account of the simulated marketplace that runs nothing by itself."""
    account = sandbox.accounts[name]
    login = {"username": account.username, "password": account.password}
    return {"base_url": sandbox.base_url, **login, "schedule": OFF, **more}


def settings_for(sandbox: Sandbox, state_dir: Path, **more: Any) -> Settings:
    """Return settings with all accounts of the simulated marketplace, no limits of its, and any free port."""
    accounts = {name: account_of(sandbox, name) for name in sandbox.accounts}
    values = {"accounts": accounts, "http": {"port": 0}, "marketplace": UNPACED, **more}
    return Settings.of(values, state_dir)


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    text: str
    json: Any = None


@dataclass
class Site:
    """The pages of a daemon, and what stands behind them."""

    core: Core
    schedule: Schedule
    health: Health
    address: str
    browser: aiohttp.ClientSession
    web: WebServer
    _waiting: dict[str, asyncio.Future[dict[str, Any]]] = field(default_factory=dict)

    def heard(self, event: str, data: dict[str, Any]) -> None:
        """Take note of what a run does."""
        waiting = self._waiting.pop(event, None)
        if waiting is not None:
            waiting.set_result(data)

    def next(self, event: str) -> asyncio.Future[dict[str, Any]]:
        """Return the next event of this name: ``started``, ``progress`` or ``ended``."""
        return self._waiting.setdefault(event, asyncio.get_running_loop().create_future())

    async def ask(self, method: str, path: str, **options: Any) -> Answer:
        """Make a request."""
        async with self.browser.request(method, path, **options) as response:
            answer = Answer(response.status, response.headers, await response.text())
            if response.content_type.endswith("json"):
                answer.json = await response.json(content_type=None)
            return answer

    async def get(self, path: str, **options: Any) -> Answer:
        """Make a GET request."""
        return await self.ask("GET", path, **options)

    async def post(self, path: str, body: Any = None, **options: Any) -> Answer:
        """Make a POST request, with ``body`` as JSON."""
        return await self.ask("POST", path, json=body, **options)


@asynccontextmanager
async def serving(settings: Settings, database_url: str) -> AsyncIterator[Site]:
    """Serve the pages of a daemon whose loops stand still: only what a test asks for happens."""
    database = await Database.open(database_url, pool_max_size=5)
    core = Core(settings, database, asyncio.Event())
    prospects = Prospects(core.ledger, core.scans, resume_within_seconds=settings.sync.resume_within_seconds)
    schedule = Schedule(core.accounts, core.supervisor, prospects, core.metrics, settings.schedule)
    health = Health(database.dedicated(), [schedule.pulse, *(loop.pulse for loop in core.loops())])
    await health.probe()
    web = WebServer(
        settings.http,
        WebParts(
            accounts=core.accounts,
            ledger=core.ledger,
            supervisor=core.supervisor,
            schedule=schedule,
            recorder=core.recorder,
            metrics=core.metrics,
            health=health,
            outbox=core.outbox,
            counts=core.counts,
            history=core.history,
            settings=lambda: core.settings,
            pool=database.pool_size,
            catalogue=core.catalogue,
        ),
    )
    await web.start()
    browser = aiohttp.ClientSession(web.address)
    site = Site(core, schedule, health, web.address, browser, web)
    core.recorder.subscribe(site.heard)
    try:
        yield site
    finally:
        await schedule.stop()
        await core.drain()
        await browser.close()
        await web.close()
        await core.counts.close()
        await core.accounts.close()
        await database.close()
