"""pgbouncer in front of the tests' PostgreSQL, in transaction mode."""

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from emag_syncd.storage.binaries import server_account
from tests.support.server import reachable_folder, target_of
from tests.support.waiting import until

SETTINGS = """
[databases]
* = {target} user={user}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {sessions}
max_client_conn = 2000
"""


@asynccontextmanager
async def pooler(url: str, *, sessions: int = 3) -> AsyncIterator[str]:
    """Give the DSN that goes through a pgbouncer with so many sessions; skips the test where there is none."""
    program = shutil.which("pgbouncer") or shutil.which("/usr/sbin/pgbouncer")
    if program is None:
        pytest.skip("pgbouncer is not installed")
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    with reachable_folder() as folder:
        file = folder / "pgbouncer.ini"
        user = urlsplit(url).username or "postgres"
        file.write_text(SETTINGS.format(target=_target(url), user=user, port=port, sessions=sessions))
        account = server_account(folder / "none")
        # It refuses to run as root, and for root only it can change to another user.
        other = () if account.is_own else ("-u", account.name)
        process = await asyncio.create_subprocess_exec(program, "-q", *other, file, stderr=asyncio.subprocess.PIPE)
        through = f"postgresql://{user}@127.0.0.1:{port}{urlsplit(url).path}?sslmode=disable"
        try:
            await until(lambda: _answers(through, process))
            yield through
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()


def _target(url: str) -> str:
    target = target_of(url)
    if isinstance(target, str):
        folder, port = Path(target).parent, target.rpartition(".")[2]
        return f"host={folder} port={port}"
    return f"host={target[0]} port={target[1]}"


async def _answers(url: str, process: asyncio.subprocess.Process) -> bool:
    assert process.returncode is None, (await process.communicate())[1].decode()
    try:
        conn = await asyncpg.connect(url, statement_cache_size=0)
    except (OSError, asyncpg.PostgresError):
        return False
    await conn.close()
    return True
