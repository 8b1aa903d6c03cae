"""A Debian of its own in which systemd has booted, and what an operator does there as root."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.support.processes import ROOT

RELEASES = {"bookworm": "3.11", "trixie": "3.13"}
PACKAGES = "systemd,systemd-sysv,dbus,libpam-systemd,python3,python3-venv,postgresql,procps,ca-certificates,openssl"
MIRROR = "http://deb.debian.org/debian"
TOOLS = ("systemd-nspawn", "debootstrap", "nsenter")
ENVIRON = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8"}
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64", "any")
SOURCES, WHEELS = "/mnt/sources", "/mnt/wheels"


class Machine:
    """A machine that runs; everything in it goes away with it."""

    def __init__(self, leader: int) -> None:
        """Work in the machine whose first process is ``leader``."""
        self._leader = leader

    def run(self, script: str, *, check: bool = True, within: float = 240.0, **environ: str) -> str:
        """Run a shell script as root, which ends at its first failure; return what it wrote."""
        words = ["nsenter", f"--target={self._leader}", "--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wd"]
        done = subprocess.run(
            [*words, "/bin/bash", "-euo", "pipefail", "-c", script],
            env={**ENVIRON, **environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=within,
            check=False,
        )
        if check and done.returncode:
            pytest.fail(f"{script}\nexit status {done.returncode}\n{done.stdout}")
        return done.stdout.strip()

    def write(self, path: str, text: str) -> None:
        """Write a file, and the folders above it."""
        self.run(f"mkdir -p {Path(path).parent}; printf %s {shlex.quote(text)} > {path}")

    def until(self, script: str, *, within: float = 120.0) -> str:
        """Run a script until it succeeds, and return what it wrote then."""
        late = time.monotonic() + within
        while True:
            said = self.run(f"({script}) && echo done", check=False)
            if said.endswith("done"):
                return said.removesuffix("done").strip()
            if time.monotonic() > late:
                pytest.fail(f"still not after {within} s: {script}\n{said}\n{self.run('journalctl --no-pager -n 60')}")
            time.sleep(0.5)


@contextmanager
def booted(release: str) -> Iterator[Machine]:
    """Boot a Debian release whose changes are kept in memory. Skips the test where this host can't."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing or os.geteuid() != 0:
        pytest.skip(f"a machine needs root, and {', '.join(missing) or 'root alone is missing'}")
    root, wheels = _root(release), _wheels(RELEASES[release])
    words = ["systemd-nspawn", "--quiet", "--boot", f"--directory={root}", "--volatile=overlay", "--console=pipe"]
    # Neither a service manager nor a network is asked of the host.
    words += ["--register=no", "--keep-unit", "--private-network", "--resolv-conf=off", "--timezone=off"]
    words += ["--link-journal=no", f"--bind-ro={ROOT}:{SOURCES}", f"--bind-ro={wheels}:{WHEELS}"]
    with TemporaryDirectory() as folder, _group() as entered, (log := Path(folder) / "console").open("wb") as console:
        host = subprocess.Popen(
            [*entered, *words, f"--machine=emag-syncd-{os.getpid()}"],
            env={**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
            start_new_session=True,
        )
        try:
            yield _up(host, log)
        finally:
            _down(host)


@contextmanager
def _group() -> Iterator[list[str]]:
    """Make a control group for one machine, and give the words that a command in it begins with."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    places = [Path(place) for _, place, kind, *_ in mounts if kind == "cgroup2"]
    if not places or not os.access(places[0], os.W_OK):
        pytest.skip("a machine needs a control group of its own, and there is no cgroup2 that can be written to")
    group = places[0] / f"emag-syncd-{os.getpid()}"
    group.mkdir()
    try:
        yield ["/bin/sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', str(group)]
    finally:
        # One that is still in use for a moment stays behind empty, and is in nobody's way.
        with suppress(OSError):
            for folder, _, _ in os.walk(group, topdown=False):
                Path(folder).rmdir()


def _up(host: "subprocess.Popen[bytes]", log: Path) -> Machine:
    late = time.monotonic() + 120
    while time.monotonic() < late and host.poll() is None:
        children = Path(f"/proc/{host.pid}/task/{host.pid}/children").read_text().split()
        if children:
            machine = Machine(int(children[0]))
            state = machine.run("systemctl is-system-running", check=False)
            # Units that a container can't have may have failed; those that matter here are looked at one by one.
            if state in {"running", "degraded"}:
                return machine
        time.sleep(0.5)
    if host.poll() is not None:
        pytest.skip(f"systemd-nspawn can't boot here: {log.read_text(errors='replace')[-2000:]}")
    pytest.fail(f"systemd did not boot: {log.read_text(errors='replace')[-4000:]}")


def _down(host: "subprocess.Popen[bytes]") -> None:
    # To systemd-nspawn a request to shut the machine down.
    host.send_signal(signal.SIGTERM)
    try:
        host.wait(60)
    except subprocess.TimeoutExpired:
        os.killpg(host.pid, signal.SIGKILL)
        host.wait()


def _cache() -> Path:
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "emag-syncd-systemd"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _root(release: str) -> Path:
    """Return the release's files: made once, and never changed."""
    root = _cache() / release
    if not root.exists():
        # Under another name until it is whole.
        made = root.with_suffix(".new")
        shutil.rmtree(made, ignore_errors=True)
        subprocess.run(
            ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", release, made, MIRROR],
            stdout=sys.stderr,
            check=True,
        )
        made.rename(root)
    return root


def _wheels(python: str) -> Path:
    """Return a folder with all that pip needs for the page in a machine without a network."""
    folder = _cache() / f"wheels-{python}"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [*project["project"]["dependencies"], *project["build-system"]["requires"]]
    made_for = ["--only-binary=:all:", f"--python-version={python}", "--implementation=cp"]
    abis = [f"--abi={abi}" for abi in (f"cp{python.replace('.', '')}", "abi3", "none")]
    platforms = [f"--platform={platform}" for platform in PLATFORMS]
    constraints = f"--constraint={ROOT / 'constraints.txt'}"
    words = ["download", "--quiet", constraints, f"--find-links={folder}", f"--dest={folder}"]
    subprocess.run(
        [sys.executable, "-m", "pip", *words, *made_for, *abis, *platforms, *wanted], stdout=sys.stderr, check=True
    )
    return folder
