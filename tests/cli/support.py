"""Runs the real command as a process of its own, the way a user does."""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from emag_syncd.sandbox import Sandbox

PATIENCE = 45.0
DATABASE_PASSWORD = "db-pa55word"
TOKEN = "t0ken-" + "x" * 32
SECRETS = ("sandbox-main", "sandbox-fbe", DATABASE_PASSWORD, TOKEN)
"""What the configurations of these tests hold. No output of any command may show it."""


@dataclass(frozen=True)
class Result:
    """How a command ended and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def line(self) -> str:
        """The one line on the error stream."""
        (line,) = self.err.splitlines()
        return line


class Desk:
    """A folder with a configuration, and commands run from it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "config.toml"
        self.environ = {
            "HOME": str(folder),
            "PATH": os.environ["PATH"],
            "EMAG_SYNCD_CONFIG": str(self.file),
            "EMAG_SYNCD_HTTP__TOKEN": TOKEN,
            "PYTHONWARNINGS": "error",
        }

    def configure(self, text: str) -> None:
        """Write the configuration, readable for its owner alone."""
        self.file.write_text(text, encoding="utf-8")
        self.file.chmod(0o600)

    async def run(self, *arguments: str, **environ: str) -> Result:
        """Run a command to its end."""
        async with self.started(*arguments, **environ) as process:
            return await ended(process)

    @asynccontextmanager
    async def started(self, *arguments: str, stdout: Any = PIPE, **environ: str) -> AsyncIterator[Process]:
        """Give a command that runs, and kill it at the end."""
        command = ("-m", "emag_syncd", *arguments)
        environ = {**self.environ, **environ}
        async with spawned(*command, environ=environ, cwd=self.folder, stdout=stdout) as process:
            yield process


@asynccontextmanager
async def spawned(*arguments: str, environ: dict[str, str], **options: Any) -> AsyncIterator[Process]:
    """Give a Python process, and kill it at the end."""
    streams = {"stdin": asyncio.subprocess.DEVNULL, "stdout": PIPE, "stderr": PIPE}
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, env=environ, **{**streams, **options})
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def ended(process: Process) -> Result:
    """Wait for the end; nothing secret may have been written."""
    async with asyncio.timeout(PATIENCE):
        out, err = await process.communicate()
    assert process.returncode is not None
    result = Result(process.returncode, (out or b"").decode(), err.decode())
    assert not [secret for secret in SECRETS if secret in result.out + result.err]
    assert "Traceback" not in result.out
    return result


async def said(stream: asyncio.StreamReader | None, words: str) -> str:
    """Wait until a line with ``words`` was written, and return all up to it."""
    assert stream is not None
    heard = ""
    async with asyncio.timeout(PATIENCE):
        while words not in heard.rpartition("\n")[0].rpartition("\n")[2]:
            line = (await stream.readline()).decode()
            assert line, f"ended without {words!r}: {heard}"
            heard += line
    return heard


def with_password(url: str) -> str:
    """Return the DSN with a password, which a server that trusts everybody does not look at."""
    parts = urlsplit(url)
    login, at, hosts = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{login}{'' if ':' in login else f':{DATABASE_PASSWORD}'}{at}{hosts}").geturl()


def configuration(database_url: str, base_url: str = "http://127.0.0.1:9/api-3", *, more: str = "") -> str:
    """Return a configuration with both accounts of a simulated marketplace and no schedule.

    Without a ``database_url`` it is for the embedded PostgreSQL.
    """
    accounts = "\n".join(
        f"""
        [accounts.{name}]
        username = "{name}@sandbox.example"
        password = "sandbox-{name}"
        base_url = "{base_url}"
        schedule = {{ full = "off", incremental = "off" }}
        """
        for name in ("main", "fbe")
    )
    database = f'database.url = "{with_password(database_url)}"' if database_url else ""
    return f"""
        {database}
        http.port = 0
        marketplace = {{ requests_per_second = 1000, requests_per_minute = 60000, max_attempts = 2 }}
        {more}
        {accounts}
    """


def slow(sandbox: Sandbox, seconds: float) -> None:
    """Let every answer of the marketplace take its time."""
    for account in sandbox.accounts.values():
        account.latency.low = account.latency.high = seconds
