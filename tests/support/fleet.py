"""What daemons of their own processes are configured with, to be quick in all they do by themselves."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.daemon import UNPACED
from tests.support.processes import DaemonProcess, write_toml
from tests.support.waiting import until

LEASE_SECONDS = 5.0
WATCHDOG_SECONDS = 1.0

QUICK: Mapping[str, Any] = {
    "http": {"port": 0},
    "sync": {"lease_seconds": LEASE_SECONDS, "timeout_seconds": 60, "abandon_after_seconds": 5},
    "watchdog": {"interval_seconds": WATCHDOG_SECONDS},
    "schedule": {"jitter_seconds": 0},
    "log": {"format": "json"},
}


async def up(daemon: DaemonProcess) -> None:
    """Wait until a daemon is ready, which takes seconds where others keep the machine busy."""
    await until(lambda: daemon.lines("ready"), within=90)


def account(name: str, base_url: str, **more: Any) -> dict[str, Any]:
    """Return the settings of an account of the simulated marketplace, read anew every second."""
    return {
        "base_url": base_url,
        "username": f"{name}@sandbox.example",
        "password": f"sandbox-{name}",
        "schedule": {"full": "1s", "incremental": "off"},
        **more,
    }


def configure(path: Path, database_url: str, accounts: Mapping[str, Any], **settings: Any) -> Path:
    """Write the configuration of a daemon; ``settings`` add to those of ``QUICK``."""
    values: dict[str, Any] = {**QUICK, "marketplace": {"page_size": 10, **UNPACED}}
    for name, value in settings.items():
        values[name] = {**values.get(name, {}), **value} if isinstance(value, Mapping) else value
    write_toml(path, {**values, "database": {"url": database_url}, "accounts": accounts})
    path.chmod(0o600)
    return path
