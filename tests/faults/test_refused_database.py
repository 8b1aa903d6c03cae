"""A PostgreSQL with password authentication that does not let us in: one line says so, and never the password."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from emag_syncd.storage.embedded import EmbeddedPostgres
from tests.cli.support import DATABASE_PASSWORD, Desk, configuration
from tests.support.outages import connected
from tests.support.server import FAST, reachable_folder

LETS_IN = "local all emag_syncd trust\nlocal all locked_out reject\nlocal all all scram-sha-256\n"
REFUSED = {
    "a wrong password": ("hasty", "refused the user or the password", "correct database.url"),
    "a missing role": ("nobody_here", "refused the user or the password", "correct database.url"),
    "a role that may not log in": ("sleeper", "refused the user or the password", "let the user in (pg_hba.conf)"),
    "a role that pg_hba.conf rejects": ("locked_out", "refused the user or the password", "pg_hba.conf"),
    "a role without rights": ("poor", "lacks a right", "grant it"),
}


@pytest.fixture
async def strict() -> AsyncIterator[str]:
    """Give the DSN of a server that wants passwords, for a user called USER."""
    with reachable_folder() as folder:
        async with EmbeddedPostgres(folder / "data", settings=FAST) as server:
            async with connected(server.dsn) as conn:
                await conn.execute(f"CREATE ROLE hasty LOGIN PASSWORD 'not-{DATABASE_PASSWORD}'")
                await conn.execute(f"CREATE ROLE sleeper NOLOGIN PASSWORD '{DATABASE_PASSWORD}'")
                await conn.execute(f"CREATE ROLE locked_out LOGIN PASSWORD '{DATABASE_PASSWORD}'")
                await conn.execute(f"CREATE ROLE poor LOGIN PASSWORD '{DATABASE_PASSWORD}'")
                (folder / "data" / "pg_hba.conf").write_text(LETS_IN)
                await conn.execute("SELECT pg_reload_conf()")
            yield server.dsn.replace("emag_syncd@", "USER@", 1)


@pytest.mark.timeout(180)
async def test_users_that_are_not_let_in(tmp_path: Path, strict: str) -> None:
    """The daemon ends with 1 and the object and the remedy in one line, to be started again: the server may change."""
    desk = Desk(tmp_path)
    for words, (user, what, remedy) in REFUSED.items():
        desk.configure(configuration(strict.replace("USER", user)))
        failed = await desk.run("run")
        assert (failed.code, failed.out) == (1, ""), words
        said = failed.err.splitlines()[-1]
        assert said.startswith("emag-syncd: "), words
        assert what in said, words
        assert remedy in said, words
        assert "Traceback" not in failed.err
