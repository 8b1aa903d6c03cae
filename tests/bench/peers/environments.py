"""The environments of the other tools: one each, in the user's cache, of pinned versions."""

import asyncio
import hashlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent


class NotInstalledError(Exception):
    """A tool can't be installed here; the message is the installer's last word."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A tool: the package that its version is that of, and what does a load, given the folder of its programs."""

    package: str
    command: str


PEERS = {
    "dlt": Peer("dlt", '"$BIN/python" "$HERE/load_dlt.py"'),
    "pipelinewise": Peer(
        "pipelinewise-target-postgres",
        '"$BIN/python" "$HERE/tap.py" | "$BIN/target-postgres" --config "$STATE/pipelinewise.json"',
    ),
    "meltanolabs": Peer(
        "meltanolabs-target-postgres",
        '"$BIN/python" "$HERE/tap.py" | "$BIN/target-postgres" --config "$STATE/meltanolabs.json"',
    ),
    "pyairbyte": Peer("airbyte", '"$BIN/python" "$HERE/load_airbyte.py"'),
}


def requirements(name: str) -> Path:
    """Return the file of a tool's versions."""
    return HERE / "requirements" / f"{name}.txt"


def version(name: str) -> str:
    """Return a tool's version."""
    begin = f"{PEERS[name].package}=="
    (line,) = [line for line in requirements(name).read_text("utf-8").splitlines() if line.startswith(begin)]
    return line.removeprefix(begin)


def folder(name: str) -> Path:
    """Return where a tool's environment is, or will be: another one for other versions."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    versions = hashlib.sha256(requirements(name).read_bytes()).hexdigest()[:8]
    return cache / "emag-syncd" / "bench" / f"{name}-{versions}"


async def installed(name: str) -> Path:
    """Return the folder of a tool's programs, installed when it was not. Raises NotInstalledError."""
    place = folder(name)
    done = place / ".installed"
    if not done.exists():
        await _run(sys.executable, "-m", "venv", "--clear", str(place))
        await _run(str(place / "bin" / "pip"), "install", "--quiet", "--requirement", str(requirements(name)))
        done.touch()
    return place / "bin"


async def _run(*command: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate()
    if process.returncode:
        lines = said.decode(errors="replace").strip().splitlines() or [f"exit code {process.returncode}"]
        raise NotInstalledError(lines[-1])
