"""The embedded PostgreSQL: it starts for anyone, ends with its owner, and loses nothing."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import asyncpg
import pytest

from emag_syncd.domain.errors import ConfigurationError
from emag_syncd.storage import cluster
from emag_syncd.storage.binaries import PACKAGE, Account, find_binaries, server_account
from emag_syncd.storage.cluster import _is_alive, running_address
from emag_syncd.storage.embedded import EmbeddedPostgres
from tests.storage.embedding import as_root, embedded, mode
from tests.support.server import FAST

DAEMON = Path(__file__).parents[2] / "daemon"

OWNER = """
import asyncio, sys
from pathlib import Path
import asyncpg
from emag_syncd.storage.embedded import EmbeddedPostgres

async def main():
    async with EmbeddedPostgres(Path(sys.argv[1])) as server:
        conn = await asyncpg.connect(server.dsn)
        await conn.execute("CREATE TABLE t AS SELECT generate_series(1, 1000) AS n")
        pid = await conn.fetchval("SELECT pg_backend_pid()")
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.read)

asyncio.run(main())
"""


def server_pid(data_dir: Path) -> int:
    """Return the server's process id."""
    return int((data_dir / "postmaster.pid").read_text().split()[0])


def owner_of(path: Path) -> int:
    """Return the user that the file, or the process behind it in /proc, belongs to."""
    return path.stat().st_uid


async def value(server: EmbeddedPostgres, query: str) -> object:
    """Return what the query gives on a new connection."""
    conn = await asyncpg.connect(server.dsn)
    try:
        return await conn.fetchval(query)
    finally:
        await conn.close()


def start_owner(python: str, data_dir: Path, account: Account | None = None) -> subprocess.Popen[str]:
    """Start a process that owns a server with a table of 1000 rows, and wait until it is ready."""
    process = subprocess.Popen(
        [python, "-c", OWNER, str(data_dir)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd="/",
        env={"PYTHONPATH": os.pathsep.join([str(DAEMON), *filter(None, sys.path)]), "HOME": "/nonexistent"},
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
    )
    assert process.stdout is not None
    lines = iter(process.stdout.readline, "")
    assert any(line == "ready\n" for line in lines), "the owner ended"
    return process


def end_owner(process: subprocess.Popen[str]) -> None:
    """Let the owner end its server and itself, or reap it when it is dead already."""
    process.communicate(timeout=30)


async def test_it_keeps_its_data(folder: Path) -> None:
    """What one start wrote the next one finds, in a folder whose name has spaces and letters beyond ASCII."""
    data_dir = folder / "my date și 'quotes' %41" / "data"
    async with embedded(data_dir) as server:
        await value(server, "CREATE TABLE t ()")
        assert await value(server, "SELECT current_database()") == "emag_syncd"
    assert await asyncio.to_thread(running_address, data_dir) is None
    async with embedded(data_dir) as server:
        assert await value(server, "SELECT count(*) FROM t") == 0
        assert await asyncio.to_thread(running_address, data_dir) == server.dsn
    with pytest.raises(RuntimeError):
        _ = server.dsn


async def test_nobody_else_gets_in(folder: Path) -> None:
    """Data and socket are closed to other users, and nothing listens on the network."""
    account = await asyncio.to_thread(server_account, folder / "data")
    async with embedded(folder / "data") as server:
        socket_dir = Path(str(await value(server, "SHOW unix_socket_directories")).strip('"'))
        for private in (folder / "data", socket_dir):
            assert mode(private) == 0o700
            assert owner_of(private) == account.uid != 0
        assert await value(server, "SHOW listen_addresses") == ""
        assert owner_of(Path(f"/proc/{server_pid(folder / 'data')}")) == account.uid
    with pytest.raises(FileNotFoundError):
        mode(socket_dir)


@as_root
def test_an_unprivileged_user_runs_it(folder: Path) -> None:
    """A process without any rights starts a server of its own, which ends with it."""
    account = server_account(folder / "data")
    version = "python{}.{}".format(*sys.version_info)
    python = next((p for p in (sys.executable, f"/usr/bin/{version}") if account.can_reach(Path(p).resolve())), "")
    if not os.access(python, os.X_OK):
        pytest.skip(f"no {version} that {account.name} can run")
    home = folder / "home"
    home.mkdir()
    os.chown(home, account.uid, account.gid)
    owner = start_owner(python, home / "data", account)
    assert (home / "data").stat().st_uid == account.uid
    server = server_pid(home / "data")
    end_owner(owner)
    assert owner.returncode == 0
    assert not _is_alive(server)


async def test_it_ends_with_its_owner(folder: Path) -> None:
    """After kill -9 of its owner the server stops by itself, and a new owner finds all that was committed."""
    owner = await asyncio.to_thread(start_owner, sys.executable, folder / "data")
    orphan = server_pid(folder / "data")
    owner.kill()
    await asyncio.to_thread(os.waitid, os.P_PID, owner.pid, os.WEXITED | os.WNOWAIT)
    # At once, with its owner not even reaped: it waits for the server that is still shutting down.
    async with embedded(folder / "data") as server:
        assert not await asyncio.to_thread(_is_alive, orphan)
        assert await value(server, "SELECT count(*) FROM t") == 1000
    end_owner(owner)


async def test_a_second_process_is_told_who_has_the_data(folder: Path) -> None:
    """Data in use are refused with the folder and the process that has them, and can be joined instead."""
    owner = await asyncio.to_thread(start_owner, sys.executable, folder / "data")
    try:
        with pytest.raises(ConfigurationError, match=f"{folder / 'data'} are in use by process {owner.pid}"):
            await embedded(folder / "data").start()
        conn = await asyncpg.connect(await asyncio.to_thread(running_address, folder / "data"))
        assert await conn.fetchval("SELECT count(*) FROM t") == 1000
        await conn.close()
    finally:
        await asyncio.to_thread(end_owner, owner)


async def test_it_recovers_from_a_crash(folder: Path) -> None:
    """After kill -9 of the server itself a new start, in the same process, has all that was committed."""
    server = EmbeddedPostgres(folder / "data")
    await server.start()
    await value(server, "CREATE TABLE t AS SELECT generate_series(1, 1000)")
    os.kill(server_pid(folder / "data"), signal.SIGKILL)
    await server.stop()
    async with embedded(folder / "data") as again:
        assert await value(again, "SELECT count(*) FROM t") == 1000


async def test_a_stale_pid_file_with_a_number_in_use(folder: Path) -> None:
    """A pid file left by a crash does not count though another process has got its number since."""
    async with embedded(folder / "data"):
        lines = (folder / "data" / "postmaster.pid").read_text().splitlines()
    (folder / "data" / "postmaster.pid").write_text("\n".join([str(os.getpid()), *lines[1:]]))
    async with embedded(folder / "data") as server:
        assert await value(server, "SELECT 1") == 1


async def test_a_server_started_by_hand_is_left_alone(folder: Path) -> None:
    """A server that runs on the data without our lock is recognised and not disturbed."""
    async with embedded(folder / "data") as server:
        (folder / "data.lock").unlink()
        with pytest.raises(ConfigurationError, match=f"PostgreSQL process {server_pid(folder / 'data')}"):
            await embedded(folder / "data").start()
        assert await value(server, "SELECT 1") == 1


async def test_a_first_start_cut_short(folder: Path) -> None:
    """What an interrupted initdb left does not hinder the next start."""
    (folder / "data.new" / "base").mkdir(parents=True)
    async with embedded(folder / "data") as server:
        assert await value(server, "SELECT 1") == 1
    assert not (folder / "data.new").exists()


async def test_a_long_path_for_sockets(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the folder for temporary files has too long a path, a shorter one is taken."""
    long = folder / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    async with embedded(folder / "data") as server:
        assert "host=/tmp/emag_syncd-" in server.dsn
    monkeypatch.setattr(cluster, "SOCKET_BYTES", 20)
    with pytest.raises(ConfigurationError, match="set TMPDIR to a short path"):
        await embedded(folder / "data").start()


def closed_package(folder: Path) -> Path:
    """Make a folder that only root can enter, with a copy of the package of PostgreSQL in it."""
    spec = find_spec(PACKAGE)
    assert spec is not None
    assert spec.submodule_search_locations
    package = Path(spec.submodule_search_locations[0])
    for source in (package, package.with_name(f"{PACKAGE}.libs")):
        shutil.copytree(source, folder / source.name, ignore=shutil.ignore_patterns("include"))
    folder.chmod(0o700)
    return folder


@as_root
async def test_programs_out_of_the_users_reach(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that the server's user can't read is copied once, and its copy works."""
    monkeypatch.syspath_prepend(str(closed_package(folder / "closed")))

    def find() -> Path:
        return find_binaries(None, server_account(folder / "data"), cache=folder / "cache")

    first = await asyncio.to_thread(find)
    assert await asyncio.to_thread(find) == first
    assert first.is_relative_to(folder / "cache")
    async with EmbeddedPostgres(folder / "data", binaries=first, settings=FAST) as server:
        assert await value(server, "SELECT 1") == 1


async def test_ctrl_c_does_not_reach_it(folder: Path) -> None:
    """The server is in a session of its own: Ctrl-C in a terminal is for the daemon alone."""
    async with embedded(folder / "data"):
        pid = server_pid(folder / "data")
        assert os.getsid(pid) == pid
