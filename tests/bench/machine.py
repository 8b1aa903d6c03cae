"""What figures were measured on, and of what: nothing that names the machine."""

import os
import platform
import shlex
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[2]
OUTPUT = "--output"


def command(module: str, arguments: Sequence[str]) -> str:
    """Return a command line, without where it writes to."""
    kept = list(arguments)
    if OUTPUT in kept:
        del kept[kept.index(OUTPUT) : kept.index(OUTPUT) + 2]
    return shlex.join(["python", "-m", module, *kept])


def about(command: str, postgres: dict[str, str]) -> dict[str, Any]:
    """Return the machine, the versions, the commit and the command that figures belong to."""
    return {
        "measured_at": datetime.now(UTC).isoformat(timespec="minutes"),
        "command": command,
        "commit": _commit(),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 1),
        "postgres": postgres,
    }


def _cpu() -> str:
    """Return the model of the processor, as far as the system tells."""
    try:
        said = subprocess.run(["lscpu"], capture_output=True, text=True, check=True, env={**os.environ, "LC_ALL": "C"})
    except (OSError, subprocess.CalledProcessError):
        return platform.machine()
    names = [line.partition(":")[2].strip() for line in said.stdout.splitlines() if line.startswith("Model name:")]
    return names[0] if names else platform.machine()


def _commit() -> str:
    """Return the short hash of what is checked out, with a plus where files differ from it."""
    hashed = _git("rev-parse", "--short=10", "HEAD")
    return hashed + ("+" if hashed and _git("status", "--porcelain", "--untracked-files=no") else "")


def _git(*arguments: str) -> str:
    try:
        said = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return said.stdout.strip()
