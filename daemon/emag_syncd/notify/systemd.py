"""systemd's notification protocol: the service manager is told what the daemon is doing. See sd_notify(3)."""

import os
import socket
from collections.abc import Mapping

import structlog

LONGEST_STATUS = 200

_log = structlog.stdlib.get_logger(__name__)


class Notifier:
    """Tells systemd. Where nobody listens every call does nothing, and no call ever raises."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        """Find the socket in ``NOTIFY_SOCKET``; a leading ``@`` is the abstract namespace."""
        address = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._failed = False

    def ready(self, status: str = "") -> None:
        """Say that start-up is done, or that a reload is."""
        self._send("READY=1", *([_status(status)] if status else []))

    def status(self, text: str) -> None:
        """Say in one line what the daemon is doing; ``systemctl status`` shows it."""
        self._send(_status(text))

    def watchdog(self) -> None:
        """Say that every part still works."""
        self._send("WATCHDOG=1")

    def stopping(self, within: float) -> None:
        """Say that shutdown has begun and may take ``within`` seconds, whatever the unit allows for."""
        self._send("STOPPING=1", f"EXTEND_TIMEOUT_USEC={round(within * 1_000_000)}")

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                # A full queue must not hold up the loop: the next message says the same or more.
                sender.settimeout(0)
                sender.sendto("\n".join(lines).encode(), self._address)
        except (OSError, ValueError) as error:
            if not self._failed:
                _log.warning("systemd can't be told", action="notify_failed", error=str(error))
            self._failed = True
        else:
            self._failed = False


def watchdog_interval(environ: Mapping[str, str] = os.environ) -> float | None:
    """Return the seconds within which systemd expects each ``WATCHDOG=1``, or None where it expects none.

    Send at least twice as often.
    """
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    microseconds = environ.get("WATCHDOG_USEC", "")
    if not (microseconds.isascii() and microseconds.isdigit()) or int(microseconds) == 0:
        return None
    return int(microseconds) / 1_000_000


def _status(text: str) -> str:
    """Return the line for ``text``: a line break in it would begin another message."""
    return "STATUS=" + "".join(char if char.isprintable() else " " for char in text)[:LONGEST_STATUS]
