"""``alerts`` and ``dashboard``."""

import json
import re
from importlib.resources import files

from emag_syncd.cli.endings import ExitCode, UsageError
from emag_syncd.cli.printing import say
from emag_syncd.telemetry.dashboard import dashboard

RUNBOOK = "docs/runbook.md"
"""What the rules link to: nobody but the operator knows an address at which the page is published."""

# Whatever else an address may hold would need quotes in YAML, or end the link before its alert's name.
_ADDRESS = re.compile(r"https?://[^\s#'\"{}]+")


def print_alerts(runbook: str) -> int:
    """Print the rules, with links to ``runbook`` where it is given. Raises UsageError."""
    if runbook and not _ADDRESS.fullmatch(runbook):
        raise UsageError(f"--runbook {runbook!r} is no address of a page: write it as https://host/path")
    rules = files("emag_syncd.telemetry").joinpath("alerts.yml").read_text(encoding="utf-8")
    say(rules.replace(RUNBOOK, runbook or RUNBOOK).rstrip())
    return ExitCode.DONE


def print_dashboard() -> int:
    """Print the dashboard."""
    say(json.dumps(dashboard(), indent=2))
    return ExitCode.DONE
