"""systemd is told the truth over a real socket, and its absence harms nobody."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import structlog

from emag_syncd.notify.systemd import LONGEST_STATUS, Notifier, watchdog_interval


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, dict[str, str]]]:
    """Give a service manager's socket, and the environment that names it."""
    address = str(tmp_path / "notify") if request.param == "path" else f"@emag-syncd-{uuid4()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(address.replace("@", "\0", 1))
        receiver.settimeout(5)
        yield receiver, {"NOTIFY_SOCKET": address}


def test_each_message_arrives(manager: tuple[socket.socket, dict[str, str]]) -> None:
    """Readiness with its status, status, watchdog and stopping are what the protocol calls them."""
    receiver, environ = manager
    notifier = Notifier(environ)
    notifier.ready("2 accounts, none running")
    notifier.status("main: page 3 of 26 — ok")
    notifier.watchdog()
    notifier.ready()
    notifier.stopping(27.5)
    assert [receiver.recv(4096).decode() for _ in range(5)] == [
        "READY=1\nSTATUS=2 accounts, none running",
        "STATUS=main: page 3 of 26 — ok",
        "WATCHDOG=1",
        "READY=1",
        "STOPPING=1\nEXTEND_TIMEOUT_USEC=27500000",
    ]


def test_a_status_can_not_smuggle_a_message(manager: tuple[socket.socket, dict[str, str]]) -> None:
    """Line breaks and control characters become spaces, and an endless text is cut."""
    receiver, environ = manager
    notifier = Notifier(environ)
    notifier.status("a\nWATCHDOG=1\r\x00b")
    assert receiver.recv(4096) == b"STATUS=a WATCHDOG=1  b"
    notifier.status("x" * 10_000)
    assert len(receiver.recv(65536)) == len("STATUS=") + LONGEST_STATUS


def test_nobody_listening_is_no_error() -> None:
    """Without systemd each call does nothing."""
    for environ in ({}, {"NOTIFY_SOCKET": ""}):
        Notifier(environ).ready()


@pytest.mark.parametrize("address", ["/nonexistent/notify", "/" + "x" * 200, "/null\0byte"])
def test_a_socket_that_is_away_is_said_once(address: str) -> None:
    """An address that leads nowhere never raises, and is one warning however often it is tried."""
    notifier = Notifier({"NOTIFY_SOCKET": address})
    with structlog.testing.capture_logs() as logged:
        notifier.ready()
        notifier.watchdog()
    assert [line["action"] for line in logged] == ["notify_failed"]


def test_a_manager_that_does_not_read_holds_nobody_up(manager: tuple[socket.socket, dict[str, str]]) -> None:
    """When the socket's queue is full the message is dropped, and later ones arrive again."""
    receiver, environ = manager
    notifier = Notifier(environ)
    with structlog.testing.capture_logs() as logged:
        while not logged:
            notifier.watchdog()
        receiver.recv(4096)
        notifier.stopping(1)
    assert len(logged) == 1
    assert b"STOPPING=1\nEXTEND_TIMEOUT_USEC=1000000" in iter(lambda: receiver.recv(4096), b"")


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "1500000", "WATCHDOG_PID": str(os.getpid())}, 1.5),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid() + 1)}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_watchdogs_interval_is_systemds(environ: dict[str, str], seconds: float | None) -> None:
    """It is read in microseconds, and holds for the process that it is meant for only."""
    assert watchdog_interval(environ) == seconds
