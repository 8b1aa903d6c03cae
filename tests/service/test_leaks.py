"""What is started and stopped again and again leaves nothing behind."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from emag_syncd.service.background import Background
from emag_syncd.service.core import Core
from emag_syncd.service.gauges import Gauges
from emag_syncd.storage.database import Database
from emag_syncd.supervision.health import Health
from emag_syncd.supervision.loops import LagProbe
from emag_syncd.supervision.prospects import Prospects
from emag_syncd.supervision.schedule import Schedule
from tests.support.engines import core_on, until_stopped
from tests.support.offers import Connection
from tests.support.scale import scaled
from tests.support.waiting import until

STARTS = scaled(50)
OWN = {"main": {"schedule": {"full": "1s", "incremental": "1s"}}}
GONE = """
SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'emag-syncd'
"""


async def live(core: Core) -> None:
    """Be a daemon until a run is under way, and end in good order."""
    prospects = Prospects(core.ledger, core.scans, resume_within_seconds=3600)
    schedule = Schedule(core.accounts, core.supervisor, prospects, core.metrics, core.settings.schedule)
    lag = LagProbe(core.metrics.loop_lag)
    loops = [*core.loops(), Gauges(core).loop]
    health = Health(core.database.dedicated(), [loop.pulse for loop in loops])
    async with Background(on_failure=core.fail) as background:
        for loop in (*loops, health.loop):
            background.start(loop.pulse.name, loop.run())
        background.start(lag.pulse.name, lag.run())
        schedule.start()
        await until(core.supervisor.handles)
        await schedule.stop()
        await core.drain()
    await core.close()
    assert not core.failed


def held() -> dict[str, Any]:
    """Return what this process holds."""
    return {
        "tasks": {task.get_name() for task in asyncio.all_tasks()},
        "descriptors": len(list(Path("/proc/self/fd").iterdir())),
        "threads": threading.active_count(),
    }


@pytest.mark.timeout(60 * scaled(1))
async def test_starts_and_stops(database_url: str, sql: Connection) -> None:
    """No task, no descriptor, no connection to PostgreSQL and no thread is left."""
    before: dict[str, Any] = {}
    for _ in range(STARTS):
        database = await Database.open(database_url, pool_max_size=3)
        async with core_on(database, until_stopped, "main", own=OWN) as core:
            await live(core)
        await database.close()
        before = before or held()
        # Without a record everything is due again.
        assert await sql.fetchval("DELETE FROM emag_sync_logs WHERE status = 'cancelled' RETURNING 1")
    assert held() == before
    assert await sql.fetchval("SELECT count(*) FROM emag_sync_logs") == 0
    # A backend ends a moment after its client has said goodbye.
    await until(lambda: sql.fetchval(GONE))
