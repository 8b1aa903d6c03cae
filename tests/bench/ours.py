"""Worker: one full sync by the daemon's own parts. Arguments: DSN, base URL, requests a second (0 is no limit)."""

import asyncio
import sys
from pathlib import Path

from emag_syncd.config import Log, Settings
from emag_syncd.domain.runs import Operation, RunRequest, Trigger
from emag_syncd.service.core import Core
from emag_syncd.service.databases import open_database
from emag_syncd.supervision.loops import LagProbe
from emag_syncd.telemetry.logging import configure_logging
from tests.bench.measuring import Stopwatch
from tests.bench.processes import PASSWORD, USERNAME

UNLIMITED = {"requests_per_second": 1_000_000, "requests_per_minute": 60_000_000}


async def main(dsn: str, base_url: str, *, limited: bool) -> None:
    """Sync, and say how it went."""
    configure_logging(Log(level="error"))
    account = {"base_url": base_url, "username": USERNAME, "password": PASSWORD}
    settings = Settings.of(
        {
            "database": {"url": dsn},
            "sync": {"timeout_seconds": 3600},
            "marketplace": {} if limited else UNLIMITED,
            "accounts": {"main": account},
        },
        Path.cwd(),
    )
    async with open_database(settings, dsn) as database:
        core = Core(settings, database, asyncio.Event())
        lags: list[float] = []
        watch = Stopwatch()
        probe = LagProbe(lags.append, interval=0.01)
        tasks = [asyncio.create_task(loop.run()) for loop in core.loops()]
        tasks.append(asyncio.create_task(probe.run()))
        handle = await core.supervisor.start(RunRequest("main", Operation.FULL, Trigger.CLI))
        row = await handle.finished
        assert row is not None
        lags.sort()
        watch.report(
            row["processed_items"],
            status=row["status"],
            pages=row["pages_processed"],
            requests=row["api_requests_made"],
            rate_limit_hits=row["rate_limit_hits"],
            run_seconds=row["duration_seconds"],
            lag_p99_ms=lags[int(len(lags) * 0.99)] * 1000 if lags else None,
        )
        await core.call_log.flush()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await core.accounts.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], limited=sys.argv[3] == "limited"))
