"""The demo: everything in one process, with nothing configured."""

import os
import pty
import signal
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import pytest

from tests.cli.support import Desk, ended, said
from tests.support.server import reachable_folder
from tests.support.waiting import until


@pytest.fixture
def place() -> Iterator[Path]:
    """Give a folder that PostgreSQL's user can reach."""
    with reachable_folder() as folder:
        yield folder


def _demo(place: Path, *more: str) -> list[str]:
    return ["demo", "--offers", "120", "--data-dir", str(place / "demo"), *more]


async def test_once_copies_everything_and_the_second_time_nothing_changed(desk: Desk, place: Path) -> None:
    """--once fills an empty database from a marketplace that is the same at the next start, and sums up."""
    rows = []
    for _ in range(2):
        result = await desk.run(*_demo(place, "--once"))
        assert result.code == 0, result.err
        header, *lines = [line.split() for line in result.out.splitlines() if line.strip()]
        assert header == [
            *("account", "offers", "created", "updated", "unchanged", "pages", "seconds", "requests/s", "status")
        ]
        rows.append({line[0]: line for line in lines})
        assert "main: full sync began" in result.err
    first, second = rows
    assert [first[name][1:5] for name in ("main", "fbe")] == [["120", "120", "0", "0"]] * 2
    for name in ("main", "fbe"):
        assert second[name][1:3] == ["120", "0"]
        assert int(second[name][4]) > 100
        assert second[name][-1] == "completed"
    smaller = await desk.run("demo", "--once", "--offers", "20", "--data-dir", str(place / "demo"))
    assert smaller.code == 0, "a smaller catalogue is another one, not one that lost offers"


async def test_the_demo_serves_syncs_and_leaves_on_ctrl_c(desk: Desk, place: Path) -> None:
    """It prints where its pages are, syncs both accounts by itself, and Ctrl-C ends it with 0 and no row running."""
    async with desk.started(*_demo(place)) as process:
        welcome = await said(process.stdout, "Ctrl-C")
        address = welcome.partition("http://")[2].partition("/ ")[0]
        async with aiohttp.ClientSession() as browser, browser.get(f"http://{address}/livez") as response:
            assert response.status == 200
        log = ""
        while not all(f'"account": "{name}", "errors": []' in log for name in ("main", "fbe")):
            log += await said(process.stderr, '"action": "run_ended"')
        process.send_signal(signal.SIGINT)
        result = await ended(process)
    assert result.code == 0
    again = await desk.run(*_demo(place, "--once"))
    assert [line.split()[1] for line in again.out.splitlines()[1:]] == ["120", "120"]


class Browser:
    """What BROWSER names: it takes note of what it is asked for, and keeps who started it until it is closed."""

    def __init__(self, folder: Path) -> None:
        self.program, self._asked = folder / "browser", folder / "asked"
        self.program.write_text(
            f'#!/bin/sh\nexec >/dev/null 2>&1\necho "$1" >>{self._asked}\nwhile [ -e "$0" ]; do sleep 0.1; done\n'
        )
        self.program.chmod(0o700)

    def asked(self) -> str:
        """Return the addresses, a line each."""
        return self._asked.read_text() if self._asked.exists() else ""

    def close(self) -> None:
        """Let it end."""
        self.program.unlink()


@pytest.fixture
def stand_in(tmp_path: Path) -> Iterator[Browser]:
    """Give a browser that is none."""
    browser = Browser(tmp_path)
    yield browser
    browser.close()


@pytest.mark.parametrize(
    ("more", "environ", "opened"),
    [
        ([], {"DISPLAY": ":99"}, True),
        (["--no-browser"], {"DISPLAY": ":99"}, False),
        ([], {}, False),
        ([], {"DISPLAY": ":99", "BROWSER": "/nowhere/browser"}, False),
    ],
    ids=["desktop", "told not to", "no display", "no browser"],
)
async def test_the_console_opens_by_itself_where_somebody_looks(
    desk: Desk, place: Path, stand_in: Browser, more: list[str], environ: dict[str, str], *, opened: bool
) -> None:
    """On a terminal of a desktop the browser gets the address; the browser keeps the demo neither going nor waiting."""
    terminal, theirs = pty.openpty()
    environ = {"BROWSER": str(stand_in.program), **environ}
    async with desk.started(*_demo(place, "--port", "0", *more), stdout=theirs, **environ) as process:
        os.close(theirs)
        await said(process.stderr, '"action": "ready"')
        if opened:
            await until(stand_in.asked)
        process.send_signal(signal.SIGINT)
        assert (await ended(process)).code == 0
    shown = os.read(terminal, 4096).decode()
    os.close(terminal)
    address = shown.partition("The demo runs at ")[2].partition(" ")[0]
    assert address.startswith("http://127.0.0.1:")
    assert stand_in.asked() == (f"{address}\n" if opened else "")


async def test_no_browser_is_opened_where_nobody_looks(desk: Desk, place: Path, stand_in: Browser) -> None:
    """What writes into a pipe, and a single sync, open nothing, display or not."""
    environ = {"BROWSER": str(stand_in.program), "DISPLAY": ":99"}
    async with desk.started(*_demo(place, "--port", "0"), **environ) as process:
        await said(process.stdout, "Ctrl-C")
        process.send_signal(signal.SIGINT)
        assert (await ended(process)).code == 0
    assert (await desk.run(*_demo(place, "--once"), **environ)).code == 0
    assert stand_in.asked() == ""


async def test_after_a_kill_the_next_demo_works(desk: Desk, place: Path) -> None:
    """After kill -9 there is neither a server nor a lock left that would keep the next one from its data."""
    async with desk.started(*_demo(place)) as process:
        await said(process.stdout, "Ctrl-C")
        process.kill()
        await ended(process)
    assert (await desk.run(*_demo(place, "--once"))).code == 0


async def test_two_demos_on_one_folder_are_one_too_many(desk: Desk, place: Path) -> None:
    """The second names the first, and what to do instead."""
    async with desk.started(*_demo(place)) as process:
        await said(process.stdout, "Ctrl-C")
        refused = await desk.run(*_demo(place, "--once"))
        process.send_signal(signal.SIGTERM)
        assert (await ended(process)).code == 0
    assert refused.code == 78
    assert f"in use by process {process.pid}" in refused.line


async def test_an_explicit_port_that_is_busy_is_refused(desk: Desk, place: Path) -> None:
    """Whoever names a port wants that one."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        refused = await desk.run(*_demo(place, "--port", port))
    assert (refused.code, refused.line) == (
        78,
        f"emag-syncd: port {port} is in use: stop what listens there, or choose another",
    )


async def test_the_usual_port_that_is_busy_is_no_obstacle(desk: Desk, place: Path) -> None:
    """Without --port a free one is found, and the move is said."""
    with _port_taken(9320):
        async with desk.started(*_demo(place)) as process:
            welcome = await said(process.stdout, "Ctrl-C")
            process.send_signal(signal.SIGTERM)
            result = await ended(process)
    assert result.code == 0
    assert "port 9320 is in use" in result.err
    assert "http://127.0.0.1:9320/" not in welcome


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's folders are closed to PostgreSQL's user")
async def test_a_folder_that_postgresql_can_not_reach_is_said(desk: Desk) -> None:
    """A private folder of root's is refused with the remedy, not with a crash of the server."""
    with tempfile.TemporaryDirectory() as private:
        refused = await desk.run("demo", "--once", "--data-dir", private)
    assert refused.code == 78
    assert "choose a data directory that it can reach" in refused.line


@contextmanager
def _port_taken(port: int) -> Iterator[None]:
    """Hold the port, unless somebody else does already."""
    try:
        server = socket.create_server(("127.0.0.1", port))
    except OSError:
        yield
        return
    with server:
        yield
