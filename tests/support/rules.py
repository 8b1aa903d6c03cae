"""What is made for Prometheus: the rules, the dashboard, and the series that they speak of."""

import asyncio
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from emag_syncd.telemetry.dashboard import ROWS

ROOT = Path(__file__).parents[2]
ALERTS = ROOT / "daemon" / "emag_syncd" / "telemetry" / "alerts.yml"
ALERTS_TEST = ROOT / "tests" / "telemetry" / "alerts_test.yml"
RUNBOOK = ROOT / "docs" / "runbook.md"

VARIABLES = {"$job": ".*", "$account": ".*", "$__rate_interval": "1m"}
"""What Grafana puts in."""


def tool(name: str) -> str:
    """Return where a program of Prometheus is, or skip where it is not installed."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


async def promtool(*arguments: str) -> str:
    """Run promtool, which must succeed; return all that it says."""
    process = await asyncio.create_subprocess_exec(
        tool("promtool"), *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()
    return said.decode()


def alerts() -> dict[str, str]:
    """Return the rules of the alerts, as written, by their names."""
    parts = re.split(r"^      - (alert|record): ", ALERTS.read_text(), flags=re.MULTILINE)
    rules = zip(parts[1::2], parts[2::2], strict=True)
    return {text.split()[0]: text for kind, text in rules if kind == "alert"}


def panels() -> Iterator[tuple[str, str]]:
    """Yield the dashboard's expressions, as Grafana sends them, with their panels' titles."""
    for row in ROWS.values():
        for panel in row:
            for expression in panel.shown.values():
                for variable, value in VARIABLES.items():
                    expression = expression.replace(variable, value)  # noqa: PLW2901 - it is one expression
                yield panel.title, expression
