"""The daemon as a process, and how a process ends whose parts would not."""

import signal
import socket

import aiohttp
import pytest

from emag_syncd.sandbox import Sandbox
from tests.cli.support import Desk, configuration, ended, said, spawned
from tests.support.server import reachable_folder


async def test_the_daemon_migrates_serves_and_leaves(desk: Desk, empty_database_url: str, sandbox: Sandbox) -> None:
    """On an empty database it becomes ready by itself, answers, and ends with 0 on SIGTERM."""
    desk.configure(configuration(empty_database_url, sandbox.base_url))
    async with desk.started("run") as process:
        ready = await said(process.stderr, '"action": "ready"')
        address = ready.rpartition('"address": "')[2].partition('"')[0]
        async with aiohttp.ClientSession() as browser, browser.get(f"{address}/livez") as response:
            assert response.status == 200
        process.send_signal(signal.SIGTERM)
        result = await ended(process)
    assert (result.code, result.out) == (0, "")
    assert '"action": "migrated"' in ready
    assert '"action": "stopping"' in result.err


async def test_a_reload_keeps_the_old_configuration_when_the_new_one_is_bad(ready: Desk) -> None:
    """SIGHUP takes over a good file; a bad one, or one without accounts, is refused in a line of the log."""
    good = ready.file.read_text()
    async with ready.started("run") as process:
        await said(process.stderr, '"action": "ready"')
        for text, action in (("htp.port = 1", "reload_refused"), ("", "reload_refused"), (good, "reloaded")):
            ready.configure(text)
            process.send_signal(signal.SIGHUP)
            await said(process.stderr, f'"action": "{action}"')
        process.send_signal(signal.SIGINT)
        assert (await ended(process)).code == 0


async def test_a_port_in_use_is_said(ready: Desk) -> None:
    """What keeps the daemon from listening is one line, and a matter of configuration."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = await ready.run("run", EMAG_SYNCD_HTTP__PORT=str(port))
    assert refused.code == 78
    assert f"http.port {port} is in use" in refused.err.splitlines()[-1]


async def test_warnings_of_the_configuration_are_logged(ready: Desk) -> None:
    """What is probably not meant stands in the daemon's log."""
    ready.file.chmod(0o644)
    async with ready.started("run") as process:
        logged = await said(process.stderr, '"action": "ready"')
        process.send_signal(signal.SIGTERM)
        await ended(process)
    assert '"action": "configuration_warning"' in logged


async def test_sigabrt_shows_where_every_thread_was(ready: Desk) -> None:
    """A daemon that hangs is ended by systemd's watchdog with SIGABRT: the journal then has the stacks."""
    ready.environ["EMAG_SYNCD_LOG__LEVEL"] = "debug"
    async with ready.started("run") as process:
        # From then on every other thread waits: Python can't show one that runs without the risk of a crash.
        await said(process.stderr, '"action": "pages_prepared"')
        process.send_signal(signal.SIGABRT)
        result = await ended(process)
    assert result.code == -signal.SIGABRT
    assert "Fatal Python error: Aborted" in result.err
    assert "loops.py" in result.err


async def test_commands_join_the_daemon_s_embedded_database(desk: Desk, sandbox: Sandbox) -> None:
    """Without database.url the daemon brings its own, and a sync beside it uses that one."""
    with reachable_folder() as folder:
        desk.configure(configuration("", sandbox.base_url))
        desk.environ["STATE_DIRECTORY"] = str(folder / "state")
        async with desk.started("run") as process:
            await said(process.stderr, '"action": "ready"')
            synced, status = await desk.run("sync", "main"), await desk.run("status")
            process.send_signal(signal.SIGTERM)
            daemon = await ended(process)
        later = await desk.run("status")
    assert [result.code for result in (synced, status, daemon, later)] == [0, 0, 0, 0]
    assert "completed" in status.out
    assert "completed" in later.out


LEFT = {
    "a task that ignores its cancellation": """
        async def stubborn():
            while True:
                try:
                    await asyncio.sleep(3600)
                except asyncio.CancelledError:
                    pass
        async def work():
            global task
            task = asyncio.create_task(stubborn(), name="stubborn")
            await asyncio.sleep(0)
            return 3
    """,
    "a thread that hangs": """
        async def work():
            threading.Thread(target=threading.Event().wait, name="stubborn").start()
            return 3
    """,
    "a call on a worker thread that hangs": """
        async def work():
            asyncio.get_running_loop().run_in_executor(None, threading.Event().wait)
            return 3
    """,
}


@pytest.mark.parametrize("what", LEFT)
async def test_nothing_keeps_a_finished_command_from_leaving(desk: Desk, what: str) -> None:
    """The process ends with its own exit code, says what it left behind, and waits for none of it."""
    script = (
        "import asyncio, sys, textwrap, threading\n"
        "from emag_syncd.cli.loops import run_loop\n"
        "from emag_syncd.config import Log\n"
        "from emag_syncd.telemetry.logging import configure_logging\n"
        "configure_logging(Log())\n"
        f"exec(textwrap.dedent({LEFT[what]!r}))\n"
        "sys.exit(run_loop(work()))\n"
    )
    async with spawned("-c", script, environ=desk.environ) as process:
        result = await ended(process)
    assert result.code == 3
    assert '"action": "leftovers"' in result.err
    assert "stubborn" in result.err or "worker" in result.err
