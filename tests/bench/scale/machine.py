"""The processes of a scenario, and what each takes of the machine as the kernel counts it."""

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emag_syncd.storage.embedded import EmbeddedPostgres
from emag_syncd.storage.migrations import migrate
from tests.support.processes import write_toml

TICKS = os.sysconf("SC_CLK_TCK")

# A server for production is given more than one for a first look.
SERVER = {"shared_buffers": "512MB", "max_connections": "400", "max_wal_size": "4GB", "wal_level": "replica"}


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process took so far: CPU seconds, of children that ended too; and its memory in MB, now and at most."""

    cpu: float
    rss: float
    peak: float

    @classmethod
    def of(cls, pid: int) -> "Usage":
        """Read it. Raises FileNotFoundError when there is no such process."""
        folder = Path("/proc") / str(pid)
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
        status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines() if ":" in line)
        memory = [int(status.get(name, "0").split()[0]) / 1024 for name in ("VmRSS", "VmHWM")]
        return cls(sum(map(int, fields[11:15])) / TICKS, *memory)


def tree_cpu(pid: int) -> float:
    """Return the CPU seconds of a process and of all that it started, ended or not."""
    total = 0.0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(entry.name) == pid or int(fields[1]) == pid:
                total += sum(map(int, fields[11:15] if int(entry.name) == pid else fields[11:13])) / TICKS
        except (FileNotFoundError, ProcessLookupError):
            continue
    return total


@dataclass(frozen=True, slots=True)
class Server:
    """A PostgreSQL to measure on."""

    dsn: str
    pid: int

    def cpu(self) -> float:
        """Return the CPU seconds of all of its processes so far."""
        return tree_cpu(self.pid)


class Span:
    """What a daemon and the server took since its creation."""

    def __init__(self, pid: int, postgres: Server) -> None:
        self._pid, self._postgres = pid, postgres
        self._began, self._cpu, self._server_cpu = time.monotonic(), Usage.of(pid).cpu, postgres.cpu()

    @property
    def seconds(self) -> float:
        """How long it is by now."""
        return time.monotonic() - self._began

    def share(self) -> str:
        """Say what each took of one core."""
        cpu, server = Usage.of(self._pid).cpu - self._cpu, self._postgres.cpu() - self._server_cpu
        passed = self.seconds / 100
        return f"CPU {cpu / passed:.1f} % of a core, PostgreSQL {server / passed:.1f} %"

    def each(self, number: int) -> str:
        """Say what each took for one of ``number`` things."""
        cpu, server = Usage.of(self._pid).cpu - self._cpu, self._postgres.cpu() - self._server_cpu
        return f"{1000 * cpu / number:.0f} ms of CPU each, PostgreSQL {1000 * server / number:.0f} ms"


@asynccontextmanager
async def server(**settings: str) -> AsyncIterator[Server]:
    """Give a server with the schema, which syncs to disk as one in production does."""
    with tempfile.TemporaryDirectory() as folder:
        await asyncio.to_thread(Path(folder).chmod, 0o755)
        data = Path(folder) / "postgres"
        async with EmbeddedPostgres(data, settings={**SERVER, **settings}) as postgres:
            await migrate(postgres.dsn)
            pid = int((data / "postmaster.pid").read_text().split()[0])
            yield Server(postgres.dsn, pid)


@asynccontextmanager
async def many_accounts(number: int, offers: int, *options: str) -> AsyncIterator[tuple[str, int]]:
    """Run a marketplace with accounts ``a0000`` and so on; give its base URL and its process id."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "emag_syncd.sandbox", "--accounts", str(number), "--offers", str(offers)),
        *("--port", "0", "--exit-with-parent", "--no-odd", *options),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        announced = (await process.stdout.readline()).decode()
        yield announced.removeprefix("listening on ").strip(), process.pid
    finally:
        process.terminate()
        await process.wait()


def accounts(number: int, base_url: str, schedule: Mapping[str, str]) -> dict[str, Any]:
    """Return the settings of the accounts of ``many_accounts``."""
    return {
        name: {
            "base_url": base_url,
            "username": f"{name}@sandbox.example",
            "password": f"sandbox-{name}",
            "schedule": dict(schedule),
        }
        for name in (f"a{one:04d}" for one in range(number))
    }


def configure(path: Path, dsn: str, accounts: Mapping[str, Any], **settings: Any) -> Path:
    """Write a daemon's configuration: the defaults, but for its port, its log and what ``settings`` say."""
    values = {"http": {"port": 0}, "log": {"format": "json", "level": "warning"}, **settings}
    write_toml(path, {**values, "database": {"url": dsn}, "accounts": accounts})
    path.chmod(0o600)
    return path
