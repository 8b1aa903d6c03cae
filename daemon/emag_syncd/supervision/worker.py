"""Who a process is, so that a successor on the same host can tell whether it still lives."""

import os
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Worker:
    """One daemon process: ``host/boot/pid/start/instance``, never used twice.

    ``boot`` names the running kernel and the namespace of process numbers, within which a pid means something;
    ``start`` is when the process began, as the kernel counts, because pids are used again.
    """

    host: str
    boot: str
    pid: int
    start: str
    instance: str

    def __str__(self) -> str:
        """Return the id as ``worker_id`` keeps it."""
        return f"{self.prefix}{self.boot}/{self.pid}/{self.start}/{self.instance}"

    @property
    def prefix(self) -> str:
        """How the ids of all workers of this host begin."""
        return f"{self.host}/"

    def outlived(self, worker_id: str) -> bool:
        """Whether the process that called itself ``worker_id`` is known to be dead. When in doubt it is not."""
        try:
            host, boot, pid, start, _ = worker_id.split("/")
            number = int(pid)
        except ValueError:
            return False
        if host != self.host or boot != self.boot:
            return False
        found = _start_of(number)
        return not _exists(number) if found is None else found != start


def this_worker() -> Worker:
    """Return the identity of this process."""
    pid = os.getpid()
    return Worker(
        host=socket.gethostname().replace("/", "_"),
        boot=f"{_first_line('sys/kernel/random/boot_id')[:8]}-{_pid_namespace()}",
        pid=pid,
        start=_start_of(pid) or "0",
        instance=secrets.token_hex(4),
    )


def _first_line(path: str) -> str:
    try:
        return (_PROC / path).read_text().strip()
    except OSError:
        return "unknown"


def _pid_namespace() -> str:
    try:
        return str((_PROC / "self/ns/pid").stat().st_ino)
    except OSError:
        return "0"


def _exists(pid: int) -> bool:
    """Whether there is such a process, also where /proc shows none but our own (``ProtectProc=invisible``)."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def _start_of(pid: int) -> str | None:
    """Return when the process began, in the kernel's ticks since boot; "" for a dead one; None where none is seen."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    # The command in parentheses may hold anything; the fields after it are numbers. The 22nd is the start.
    state, *fields = stat.rpartition(")")[2].split()
    return "" if state in {"Z", "X"} else fields[18]
