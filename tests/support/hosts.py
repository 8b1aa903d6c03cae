"""The host of a daemon that has a process of its own: its configuration, its clock, and the faults planted in it."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import pytest

from emag_syncd.sandbox import Sandbox
from tests.support.daemon import UNPACED, account_of
from tests.support.offers import Connection
from tests.support.processes import ROOT, DaemonProcess, write_toml
from tests.support.waiting import until

PATIENCE = 90
"""Seconds for what takes two when the machine has nothing else to do."""

LONGEST = 240
"""Seconds for a whole test."""

OFF = {"full": "off", "incremental": "off"}
DAILY = {"full": "1d", "incremental": "off"}


def configured(
    folder: Path,
    sandbox: Sandbox,
    database_url: str,
    timetables: Mapping[str, Mapping[str, str]] | None = None,
    **sections: Any,
) -> Path:
    """Write the configuration of a daemon with short times and return its path.

    ``timetables`` are the schedules of the accounts by name; an account without one runs nothing by itself.
    """
    accounts = {
        name: account_of(sandbox, name, schedule=(timetables or {}).get(name, OFF)) for name in sandbox.accounts
    }
    values = {
        "accounts": accounts,
        "database": {"url": database_url, "migrate": False},
        "http": {"port": 0},
        "marketplace": {**UNPACED, "page_size": 10, "max_concurrent_requests": 2},
        "schedule": {"jitter_seconds": 0},
        "sync": {"lease_seconds": 5},
        "watchdog": {"interval_seconds": 0.5},
        "log": {"format": "json"},
        "shutdown_seconds": 10,
    }
    path = folder / "config.toml"
    write_toml(path, {**values, **sections})
    path.chmod(0o600)
    return path


def slowed(sandbox: Sandbox, seconds: float) -> None:
    """Let every page take so long."""
    for account in sandbox.accounts.values():
        account.latency.low = account.latency.high = seconds


def planted(folder: Path, code: str) -> dict[str, str]:
    """Return the environment in which a daemon runs ``code`` before anything else."""
    place = folder / "planted"
    place.mkdir()
    (place / "sitecustomize.py").write_text(code)
    return {"PYTHONPATH": f"{ROOT / 'daemon'}{os.pathsep}{place}"}


class Clock:
    """A wall clock of its own for the processes that get ``environ``. Their monotonic clock is the machine's."""

    def __init__(self, folder: Path) -> None:
        """Show the right time. Skips the test where libfaketime is missing."""
        libraries = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
        if not libraries:
            pytest.skip("libfaketime is not installed")
        self._file = folder / "faketime"
        self.set(0)
        self.environ = {
            "LD_PRELOAD": str(libraries[0]),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            # With it libfaketime lets a thread that waits for the interpreter's lock ask for the time without end.
            "FAKETIME_FORCE_MONOTONIC_FIX": "0",
        }

    def set(self, seconds: int) -> None:
        """Be so far ahead of the right time, from now on."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{seconds:+d}\n")
        new.chmod(0o644)
        new.replace(self._file)


async def in_mid_run(sql: Connection, pages: int = 2, account: str = "main") -> UUID:
    """Return the id of a run once it has read so many pages."""
    running = "SELECT id FROM emag_sync_logs WHERE status = 'running' AND pages_processed >= $1 AND account_type = $2"
    found: UUID = await until(lambda: sql.fetchval(running, pages, account), within=PATIENCE)
    return found


async def ended_as(sql: Connection, run_id: UUID) -> tuple[str, str | None]:
    """Return how a run ended, and the kind of its last error."""
    end = await sql.fetchrow("SELECT status, errors -> -1 ->> 'kind' FROM emag_sync_logs WHERE id = $1", run_id)
    return tuple(end or ())


async def synced(daemon: DaemonProcess) -> str:
    """Let the daemon make a full sync of its main account and return how it ended."""
    address = (await daemon.logged("ready"))["address"]
    order = {"account_type": "main", "mode": "full"}
    async with aiohttp.request("POST", f"{address}/api/v1/emag/products/sync", json=order) as response:
        return str((await response.json())["status"])


async def completed(sql: Connection, times: int = 1, account: str = "main") -> None:
    """Wait until so many runs of the account read everything."""
    count = "SELECT count(*) >= $1 FROM emag_sync_logs WHERE status = 'completed' AND account_type = $2"
    await until(lambda: sql.fetchval(count, times, account), within=PATIENCE)
