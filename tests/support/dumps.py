"""PostgreSQL's own programs for dumps, as an operator runs them."""

import asyncio
import shutil
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from emag_syncd.storage.binaries import SYSTEM
from tests.support.server import with_database


class Dumps:
    """Dumps and restores databases of one server."""

    def __init__(self, folder: Path, programs: Path) -> None:
        """Keep the dump in ``folder``."""
        self._file = folder / "emag.dump"
        self._programs = programs

    @classmethod
    async def of(cls, url: str, folder: Path) -> "Dumps":
        """Return those for the server at ``url``; skips the test where no pg_dump is as new as the server."""
        conn = await asyncpg.connect(url)
        try:
            major = conn.get_server_version().major
        finally:
            await conn.close()
        found = shutil.which("pg_dump")
        places = [*SYSTEM.glob("*/bin/pg_dump"), *([Path(found)] if found else [])]
        for place in places:
            if await _major(place) >= major:
                return cls(folder, place.parent)
        pytest.skip(f"pg_dump of PostgreSQL {major} or newer is not installed")

    async def dump(self, url: str) -> None:
        """Write a dump of a database."""
        await self._run("pg_dump", "--format", "custom", "--file", str(self._file), url)

    async def restore(self, url: str) -> None:
        """Drop a database, whoever is connected, make it anew, and fill it from the dump."""
        name = urlsplit(url).path.removeprefix("/")
        conn = await asyncpg.connect(with_database(url, "postgres"))
        try:
            await conn.execute(f"DROP DATABASE {name} WITH (FORCE)")
            await conn.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        finally:
            await conn.close()
        await self._run("pg_restore", "--exit-on-error", "--dbname", url, str(self._file))

    async def _run(self, program: str, *arguments: str) -> None:
        process = await asyncio.create_subprocess_exec(
            self._programs / program, *arguments, stderr=asyncio.subprocess.PIPE
        )
        _, said = await process.communicate()
        assert process.returncode == 0, said.decode()


async def _major(program: Path) -> int:
    process = await asyncio.create_subprocess_exec(program, "--version", stdout=asyncio.subprocess.PIPE)
    said, _ = await process.communicate()
    return int(said.decode().split()[2].split(".")[0])
