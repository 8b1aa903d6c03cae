"""The pages say what the code does."""

import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from emag_syncd.config.model import Configuration, Sync

DOCS = Path(__file__).parents[1] / "docs"
BUDGET = (DOCS / "time-budget.md").read_text()


def in_code(name: str) -> Any:
    """Return the value of ``package.module.NAME`` or ``package.module.Class.field``."""
    parts = name.split(".")
    at = next(i for i, part in enumerate(parts) if part[0].isupper())
    value: Any = import_module(".".join(["emag_syncd", *parts[:at]]))
    for part in parts[at:]:
        value = getattr(value() if isinstance(value, type) else value, part)
    return value


@pytest.mark.parametrize(("seconds", "name"), re.findall(r"\| ([\d.]+) \| `([a-z_.]+\.[A-Z][\w.]+)` \|", BUDGET))
def test_the_time_budget_has_the_codes_limits(seconds: str, name: str) -> None:
    """Each limit that is not for setting is what the page says."""
    assert float(seconds) == in_code(name)


@pytest.mark.parametrize(("seconds", "name"), re.findall(r"\| ([\d.]+) \| `([a-z_.]+)`", BUDGET))
def test_the_time_budget_has_the_defaults(seconds: str, name: str) -> None:
    """Each limit that can be set has the default that the page says."""
    value: Any = Configuration()
    for part in name.split("."):
        value = getattr(value, part)
    assert float(seconds) == value
    assert Sync().heartbeat_seconds == Sync().lease_seconds / 5


def test_the_time_budget_has_the_units_limits() -> None:
    """What the unit sets is what the page says."""
    unit = (DOCS.parent / "systemd" / "emag-syncd.service").read_text()
    for name in ("WatchdogSec", "TimeoutStopSec"):
        stated = re.search(rf"\| (\d+) \| `{name}=`", BUDGET)
        assert stated is not None
        assert f"\n{name}={stated[1]}s\n" in unit
