"""The event loop is held up for longer than systemd's watchdog allows."""

import re
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from emag_syncd.sandbox import Sandbox
from tests.support.hosts import DAILY, LONGEST, completed, configured, in_mid_run, planted, slowed
from tests.support.offers import Connection
from tests.support.processes import Manager, daemon_process
from tests.support.recovery import Recovery
from tests.support.waiting import until

pytestmark = pytest.mark.timeout(LONGEST)

WATCHDOG = {"WATCHDOG_USEC": "1000000"}
BUSY = """
import ctypes, signal, time

def sleep(*_):
    time.sleep(3600)

def turn(*_):
    while True:
        pass

def lock(*_):
    # A mutex that its own thread waits for, with the interpreter's lock held: no Python code runs any more.
    library, mutex = ctypes.PyDLL(None), ctypes.create_string_buffer(256)
    library.pthread_mutex_lock(mutex)
    library.pthread_mutex_lock(mutex)

signal.signal(signal.SIGUSR1, sleep)
signal.signal(signal.SIGUSR2, turn)
signal.signal(signal.SIGURG, lock)
"""


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """Run a marketplace that takes its time for each page."""
    async with Sandbox.of("main", offers=100) as sandbox:
        slowed(sandbox, 0.2)
        yield sandbox


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    """Give the service manager."""
    manager = Manager(tmp_path / "notify")
    yield manager
    manager.close()


@pytest.mark.parametrize("how", [signal.SIGUSR1, signal.SIGUSR2], ids=["blocked", "busy"])
async def test_a_loop_that_hangs(
    sandbox: Sandbox,
    database_url: str,
    sql: Connection,
    manager: Manager,
    tmp_path: Path,
    recovery: Recovery,
    how: signal.Signals,
) -> None:
    """Nothing reaches systemd; its SIGABRT ends the process with every task's and every thread's stack in the log."""
    config = configured(tmp_path, sandbox, database_url, {"main": DAILY})
    environ = {"NOTIFY_SOCKET": str(manager.path), **WATCHDOG, **planted(tmp_path, BUSY)}
    async with daemon_process(config, **environ) as daemon:
        run_id = await in_mid_run(sql)
        await manager.hears("WATCHDOG=1")
        daemon.send(how)
        await daemon.wrote("Timeout (0:00:01)!")
        manager.heard()
        daemon.send(signal.SIGABRT)
        assert await daemon.ended() == -signal.SIGABRT
        assert manager.heard() == []
        stacks = {line["task"]: line["where"] for line in daemon.lines("task_stack")}
        assert {"heartbeat", "watchdog", "health", "systemd", f"run {run_id}"} <= stacks.keys()
        assert "sync/engine.py" in "".join(stacks[f"run {run_id}"])
        assert "Fatal Python error: Aborted" in daemon.text
        assert re.search(r'sitecustomize.py", line \d+ in (sleep|turn)', daemon.text)
    slowed(sandbox, 0)
    with recovery.timed("a blocked event loop ended by systemd's watchdog", 2, 5):
        async with daemon_process(config) as daemon:
            await completed(sql)


async def test_a_call_that_never_returns(sandbox: Sandbox, database_url: str, manager: Manager, tmp_path: Path) -> None:
    """No Python code runs any more, so that no task can be shown; the threads are, before SIGABRT comes."""
    environ = {"NOTIFY_SOCKET": str(manager.path), **WATCHDOG, **planted(tmp_path, BUSY)}
    async with daemon_process(configured(tmp_path, sandbox, database_url), **environ) as daemon:
        await manager.hears("WATCHDOG=1")
        daemon.send(signal.SIGURG)
        await daemon.wrote("Timeout (0:00:01)!")
        await until(lambda: re.search(r'sitecustomize.py", line \d+ in lock', daemon.text))
        daemon.send(signal.SIGABRT)
        manager.heard()
        daemon.send(signal.SIGKILL)
        assert await daemon.ended() == -signal.SIGKILL
        assert manager.heard() == []


async def test_a_loop_that_turns(sandbox: Sandbox, database_url: str, tmp_path: Path) -> None:
    """Where it is only a part that hangs SIGABRT shows the same: where each task waits."""
    config = configured(tmp_path, sandbox, database_url)
    async with daemon_process(config, EMAG_SYNCD_LOG__LEVEL="debug") as daemon:
        await daemon.logged("ready")
        # From then on every other thread waits: Python can't show one that runs without the risk of a crash.
        await daemon.logged("pages_prepared")
        daemon.send(signal.SIGABRT)
        assert await daemon.ended() == -signal.SIGABRT
        stacks = {line["task"]: line["where"] for line in daemon.lines("task_stack")}
        assert "supervision/loops.py" in stacks["heartbeat"][0]
        assert "service/daemon.py" in stacks["daemon"][-2]
