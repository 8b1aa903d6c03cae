"""Runs as the daemon does, tries what it must not be able to, and prints what it could do all the same."""

import ctypes
import json
import mmap
import os
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import NamedTemporaryFile

EVERYBODY = "4294967295"
EXECUTABLE = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
NEW_USER_NAMESPACE = 0x10000000
OF_32_BITS = 0x0008
LIBRARY = ctypes.CDLL(None, use_errno=True)


def called(name: str, *arguments: int) -> None:
    """Call a function of the C library; raise OSError where it refuses."""
    if getattr(LIBRARY, name)(*arguments) == -1:
        raise OSError(ctypes.get_errno(), name)


def something(found: bool) -> None:
    """Raise OSError where nothing was found."""
    if not found:
        raise FileNotFoundError


def with_set_user_id() -> None:
    """Make a file that runs as its owner."""
    with NamedTemporaryFile() as file:
        Path(file.name).chmod(0o4755)


def with_a_control_group() -> None:
    """Make a control group, and remove it."""
    group = Path("/sys/fs/cgroup/other")
    group.mkdir()
    group.rmdir()


def processes() -> set[str]:
    """Return the processes that can be seen."""
    return {path.name for path in Path("/proc").iterdir() if path.name.isdigit()} - {str(os.getpid())}


FORBIDDEN: dict[str, Callable[[], object]] = {
    "MemoryDenyWriteExecute": lambda: mmap.mmap(-1, 4096, prot=EXECUTABLE),
    "RestrictAddressFamilies": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
    "RestrictRealtime": lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)),
    "RestrictSUIDSGID": with_set_user_id,
    "LockPersonality": lambda: called("personality", OF_32_BITS),
    "ProtectClock": lambda: time.clock_settime(time.CLOCK_REALTIME, time.time()),
    "ProtectHostname": lambda: socket.sethostname(socket.gethostname()),
    "ProtectKernelTunables": lambda: Path("/proc/sys/kernel/domainname").write_text("other"),
    "ProtectControlGroups": with_a_control_group,
    "ProtectHome": lambda: something(any(Path("/root").iterdir())),
    "ProtectSystem": lambda: Path("/etc/other").write_text(""),
    "ProtectSystem of /opt": lambda: Path("/opt/other").write_text(""),
    "PrivateDevices": lambda: Path("/dev/net").lstat(),
    "PrivateTmp": lambda: Path("/tmp/everybodys").read_text(),
    "PrivateUsers": lambda: something(EVERYBODY in Path("/proc/self/uid_map").read_text()),
    "ProtectProc": lambda: something(bool(processes())),
    "SystemCallFilter=~@privileged": lambda: os.chroot("/"),
    "SystemCallFilter=~@resources": lambda: os.setpriority(os.PRIO_PROCESS, 0, 5),
    "root's secrets": lambda: Path("/etc/emag-syncd/credentials/http.token").read_text(),
    # The last one: in a namespace of its own a process can do less.
    "RestrictNamespaces": lambda: called("unshare", NEW_USER_NAMESPACE),
}


def possible(attempt: Callable[[], object]) -> bool:
    """Whether it can be done."""
    try:
        attempt()
    except OSError:
        return False
    return True


def main() -> None:
    """Try everything."""
    status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line)
    kept = Path(os.environ["STATE_DIRECTORY"], "probe")
    kept.write_text("")
    kept.unlink()
    seen = {
        "could": [line for line, attempt in FORBIDDEN.items() if possible(attempt)],
        "capabilities": sum(int(status[name], 16) for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb", "CapInh")),
        "no_new_privileges": status["NoNewPrivs"],
        "seccomp": status["Seccomp"],
        "umask": status["Umask"],
        "credentials": sorted(path.name for path in Path(os.environ["CREDENTIALS_DIRECTORY"]).iterdir()),
    }
    sys.stdout.write(json.dumps(seen) + "\n")


if __name__ == "__main__":
    main()
