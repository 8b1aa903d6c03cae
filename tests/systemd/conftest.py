"""A machine on which everything was installed by the page."""

import os
import re
from collections.abc import Iterator

import pytest

from tests.support.processes import ROOT
from tests.systemd.machine import RELEASES, SOURCES, WHEELS, Machine, booted

SETTING = "EMAG_SYNCD_TEST_SYSTEMD"
PAGE = (ROOT / "docs" / "install.md").read_text()
SOURCE = "/usr/src/emag-syncd"
MARKET = "http://127.0.0.1:8900"
CONFIGURATION = f"""
database.url = "postgresql://emag-syncd@/emag?host=/run/postgresql"
[accounts.main]
username = "main@sandbox.example"
base_url = "{MARKET}/api-3"
schedule = {{ full = "1d", incremental = "off" }}
"""
LOCAL = """
EMAG_SYNCD_MARKETPLACE__PAGE_SIZE=10
EMAG_SYNCD_MARKETPLACE__MAX_CONCURRENT_REQUESTS=2
EMAG_SYNCD_MARKETPLACE__REQUESTS_PER_SECOND=1000
EMAG_SYNCD_MARKETPLACE__REQUESTS_PER_MINUTE=60000
EMAG_SYNCD_SCHEDULE__JITTER_SECONDS=0
PYTHONPATH=/usr/local/lib/planted
"""
# What an operator types into the editor.
ANSWERS = {"config.toml": CONFIGURATION, "accounts.main.password": "sandbox-main\n"}
EDITOR = """#!/bin/sh
answer=/usr/local/share/answers/${1##*/}
if [ -e "$answer" ]; then cat "$answer" > "$1"; fi
"""
PLANTED = "import signal, time\nsignal.signal(signal.SIGUSR1, lambda *_: time.sleep(3600))\n"
MARKETPLACE = (
    "systemd-run --quiet --unit marketplace /opt/emag-syncd/bin/python -m emag_syncd.sandbox"
    " --port 8900 --limits off --accounts main --offers 400 --latency 0.5"
)


def blocks(kind: str = "") -> list[str]:
    """Return the page's commands of a kind, a text a block."""
    return re.findall(rf"^```sh{' ' if kind else ''}{kind}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="session", params=os.environ.get(SETTING, "").split(",") or [""])
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """Boot a Debian release: those that the environment names."""
    if request.param not in RELEASES:
        pytest.skip(f"{SETTING} names none of {', '.join(RELEASES)}: make test-systemd does")
    with booted(request.param) as machine:
        machine.write("/etc/pip.conf", f"[global]\nno-index = true\nfind-links = {WHEELS}\n")
        machine.write("/usr/local/bin/answering", EDITOR)
        machine.write("/usr/local/lib/planted/sitecustomize.py", PLANTED)
        for name, answer in ANSWERS.items():
            machine.write(f"/usr/local/share/answers/{name}", answer)
        parts = "daemon migrations systemd docs pyproject.toml constraints.txt README.md LICENSE"
        machine.run(f"chmod +x /usr/local/bin/answering; mkdir {SOURCE}; cd {SOURCES}; cp -r {parts} {SOURCE}")
        machine.until("systemctl is-active postgresql")
        yield machine


def follow(machine: Machine, kind: str = "", folder: str = SOURCE) -> list[str]:
    """Do what the page says, block by block, and return what each wrote."""
    said = []
    for block in blocks(kind):
        said.append(machine.run(f"cd {folder}\n{block}", EDITOR="answering"))
        if "-m venv" in block and not kind:
            # The marketplace is there before anybody asks it.
            machine.write("/etc/default/emag-syncd", LOCAL)
            machine.run(MARKETPLACE)
            machine.until("exec 3<>/dev/tcp/127.0.0.1/8900")
    return said


@pytest.fixture(scope="session")
def installed(machine: Machine) -> Machine:
    """Give the machine once the page's commands were run, each of them with success."""
    said = "\n".join(follow(machine))
    for line in ("configuration: ok", "database: ok", "schema: ok", "main: ok", "Active: active (running)"):
        assert line in said
    return machine
