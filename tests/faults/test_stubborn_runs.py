"""Runs that won't end, and runs that end with what no program should catch."""

import signal
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from emag_syncd.sandbox import Sandbox
from tests.support.hosts import LONGEST, PATIENCE, completed, configured, planted, synced
from tests.support.offers import Connection
from tests.support.processes import DaemonProcess, daemon_process
from tests.support.recovery import Recovery
from tests.support.waiting import until

pytestmark = pytest.mark.timeout(LONGEST)

TIMES = {"lease_seconds": 5, "timeout_seconds": 1, "abandon_after_seconds": 1}
TIMETABLES = {
    "main": {"full": "1d", "incremental": "off"},
    "fbe": {"full": "off", "incremental": "1s"},
}
# What the runs of main do instead of reading; those of fbe are left alone.
RUNS = """
import asyncio, threading
from emag_syncd.sync.engine import Engine

class Custom(BaseException):
    pass

async def swallow():
    while True:
        try:
            await asyncio.sleep(3600)
        except BaseException:
            pass

async def thread():
    await asyncio.to_thread(threading.Event().wait)

async def stubborn_thread():
    work = asyncio.ensure_future(asyncio.to_thread(threading.Event().wait))
    while not work.done():
        try:
            await asyncio.shield(work)
        except asyncio.CancelledError:
            pass

async def raising(error):
    raise error

async def child(error):
    await asyncio.create_task(raising(error))

read = Engine.run

acts = iter([{acts}])

async def run(engine, context, link, settings):
    if context.lease.account == "main" and (act := next(acts, None)):
        await act()
    return await read(engine, context, link, settings)

Engine.run = run
"""
HANGS = {
    "swallows its cancellation": "swallow",
    "hangs in a thread and waits for it": "stubborn_thread",
}
CRASHES = [
    f"lambda: {how}({error})"
    for how in ("raising", "child")
    for error in ("SystemExit(0)", "KeyboardInterrupt()", "GeneratorExit()", "Custom()")
    # These two end the loop, wherever they come from.
    if how == "raising" or error in {"GeneratorExit()", "Custom()"}
]
END = "SELECT status, errors -> -1 ->> 'kind', errors -> -1 ->> 'error' FROM emag_sync_logs WHERE account_type = 'main'"


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """Run a marketplace with few offers."""
    async with Sandbox.of("main", "fbe", offers=20) as sandbox:
        yield sandbox


async def metric(daemon: DaemonProcess, line: str) -> str:
    """Return the value of a metric."""
    address = (await daemon.logged("ready"))["address"]
    async with aiohttp.request("GET", f"{address}/metrics") as response:
        values = dict(one.rsplit(" ", 1) for one in (await response.text()).splitlines() if one[0] != "#")
    return values[line]


async def other_runs_go_on(sql: Connection) -> None:
    """Wait for two more runs of the other account."""
    done = await sql.fetchval("SELECT count(*) FROM emag_sync_logs WHERE account_type = 'fbe'")
    await completed(sql, done + 2, "fbe")


@pytest.mark.parametrize("how", HANGS)
async def test_a_run_that_will_not_end(
    sandbox: Sandbox, database_url: str, sql: Connection, tmp_path: Path, recovery: Recovery, how: str
) -> None:
    """It is timed out, abandoned with its place in the log, and the process ends for systemd to start it anew."""
    config = configured(tmp_path, sandbox, database_url, TIMETABLES, sync=TIMES)
    async with daemon_process(config, **planted(tmp_path, RUNS.replace("{acts}", HANGS[how]))) as daemon:
        await completed(sql, 1, "fbe")
        assert await daemon.ended() == 1
        assert "sitecustomize.py" in "".join(daemon.lines("run_abandoned")[0]["where"])
    assert tuple(await sql.fetchrow(END) or ()) == ("failed", "timeout", "Product sync timed out after 1 seconds")
    assert not await sql.fetchval("SELECT count(*) FROM emag_sync_logs WHERE status = 'running'")
    patient = configured(tmp_path, sandbox, database_url, TIMETABLES)
    with recovery.timed(f"a run that {how}, the process started anew", 2, 10):
        async with daemon_process(patient) as daemon:
            assert await synced(daemon) == "completed"


async def test_a_run_that_leaves_a_thread_behind(
    sandbox: Sandbox, database_url: str, sql: Connection, tmp_path: Path
) -> None:
    """It is timed out and counted; the daemon goes on, and the thread keeps it from leaving no longer than a moment."""
    config = configured(tmp_path, sandbox, database_url, TIMETABLES, sync=TIMES)
    async with daemon_process(config, **planted(tmp_path, RUNS.replace("{acts}", "thread"))) as daemon:
        await until(lambda: sql.fetchval(f"{END} AND status <> 'running'"), within=PATIENCE)
        assert tuple(await sql.fetchrow(END) or ()) == ("failed", "timeout", "Product sync timed out after 1 seconds")
        assert await metric(daemon, 'emag_sync_timeouts_total{account="main"}') == "1.0"
        assert await metric(daemon, 'emag_sync_abandoned_total{account="main"}') == "0.0"
        await other_runs_go_on(sql)
        daemon.send(signal.SIGTERM)
        assert await daemon.ended() == 0
        assert daemon.lines("leftovers")


async def test_runs_that_crash(sandbox: Sandbox, database_url: str, sql: Connection, tmp_path: Path) -> None:
    """Each is recorded as failed by an error inside, and counted; neither the daemon nor the other account notices."""
    config = configured(tmp_path, sandbox, database_url, {**TIMETABLES, "main": TIMETABLES["fbe"]})
    async with daemon_process(config, **planted(tmp_path, RUNS.replace("{acts}", ", ".join(CRASHES)))) as daemon:
        await completed(sql, 1, "main")
        ends = [tuple(row)[:2] for row in await sql.fetch(f"{END} AND status <> 'completed' AND status <> 'running'")]
        assert ends == [("failed", "internal")] * len(CRASHES)
        assert all("sitecustomize.py" in line["exception"] for line in daemon.lines("run_failed"))
        await other_runs_go_on(sql)
        counted = await metric(daemon, 'emag_sync_errors_total{account="main",kind="internal"}')
        assert float(counted) == len(CRASHES)
        assert await daemon.get("/livez") == 200
        daemon.send(signal.SIGTERM)
        assert await daemon.ended() == 0


@pytest.mark.parametrize("error", ["SystemExit(0)", "KeyboardInterrupt()"])
async def test_a_task_that_ends_the_loop(
    sandbox: Sandbox, database_url: str, sql: Connection, tmp_path: Path, recovery: Recovery, error: str
) -> None:
    """The process ends as failed, for systemd to start it anew, and the next one ends the run that was left."""
    config = configured(tmp_path, sandbox, database_url, TIMETABLES)
    async with daemon_process(config, **planted(tmp_path, RUNS.replace("{acts}", f"lambda: child({error})"))) as daemon:
        assert await daemon.ended() not in {0, 75, 78}
    with recovery.timed("a task of a run that ends the event loop, the process started anew", 2):
        async with daemon_process(config) as daemon:
            await daemon.logged("ready")
            assert tuple(await sql.fetchrow(END) or ())[:2] == ("failed", "interrupted")
