"""The database goes away in mid-run, in every way it can: the daemon lives, says so, and is well again with it."""

import asyncio
import os
import random
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from pathlib import Path

import asyncpg
import pytest

from emag_syncd.sandbox import Sandbox
from emag_syncd.storage.embedded import EmbeddedPostgres
from emag_syncd.storage.migrations import migrate
from tests.support.outages import (
    IN_FLIGHT,
    PAGE_SIZE,
    PAGES,
    Plant,
    ask,
    connected,
    ready,
    terminate_backends,
    unready,
)
from tests.support.recovery import Recovery
from tests.support.scale import scaled
from tests.support.server import FAST, database_proxy, reachable_folder, with_database
from tests.support.waiting import until

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """Run a marketplace that takes its time for each page."""
    async with Sandbox.of("main", offers=PAGES * PAGE_SIZE) as sandbox:
        sandbox.accounts["main"].latency.low = sandbox.accounts["main"].latency.high = 0.05
        yield sandbox


@pytest.fixture
def plant(sandbox: Sandbox, database_url: str, tmp_path: Path) -> Plant:
    """Give a plant on the tests' server."""
    plant = Plant(sandbox, database_url, tmp_path / "config.toml")
    plant.configure()
    return plant


@pytest.fixture
def folder() -> Iterator[Path]:
    """Give a folder for a server of one's own."""
    with reachable_folder() as folder:
        yield folder


@pytest.fixture
async def server(folder: Path) -> AsyncIterator[EmbeddedPostgres]:
    """Run a server that a test may stop, with the schema in it."""
    async with EmbeddedPostgres(folder / "data", settings=FAST) as server:
        await migrate(server.dsn)
        yield server


@pytest.mark.parametrize("seconds", [7.0, 1.0][: scaled(1)])
async def test_a_server_that_stops(
    server: EmbeddedPostgres, sandbox: Sandbox, tmp_path: Path, recovery: Recovery, seconds: float
) -> None:
    """Stopped for less and for more than a lease: unready, waits that grow, and then the scan goes on where it was."""
    plant = Plant(sandbox, server.dsn, tmp_path / "config.toml")
    plant.configure()
    async with plant.daemon() as daemon:
        await plant.in_mid_run()
        await server.stop()
        await unready(daemon)
        await asyncio.sleep(seconds)
        await server.start()
        with recovery.timed(f"PostgreSQL stopped for {seconds:g} s in mid-run", 2, 4, 5):
            await ready(daemon)
            await plant.mirrored()
        assert {0.2, 0.4} <= {line["wait_seconds"] for line in daemon.lines("database_retry")}
    assert len(plant.main.stats.pages()) - PAGES <= 2 * IN_FLIGHT + 1


async def test_storms_of_terminated_backends(plant: Plant, recovery: Recovery) -> None:
    """Every connection is ended again and again at random moments; nothing is written twice or lost."""
    chance = random.Random(4)
    async with plant.daemon() as daemon, connected(plant.dsn) as conn:
        await plant.in_mid_run(1)
        for _ in range(scaled(8)):
            await until(lambda: terminate_backends(conn))
            await asyncio.sleep(chance.uniform(0.0, 0.25))
        with recovery.timed("every backend terminated, in a storm", 2, 4, 5):
            await ready(daemon)
            await plant.mirrored()


async def test_connections_cut_anywhere(plant: Plant, recovery: Recovery) -> None:
    """Cut after k bytes, for k from the first byte of a handshake to the last of a page, again and again."""
    cuts = scaled(20)
    async with database_proxy(plant.dsn) as (proxy, dsn):
        plant.configure(dsn)
        async with plant.daemon() as daemon:
            await daemon.logged("ready")
            for number in range(cuts):
                proxy.cut_after(1 + number * 40_000 // cuts)
                await ask(daemon)
                await until(lambda: not proxy.armed)
            with recovery.timed("connections cut after k bytes", 2, 4, 5):
                await ready(daemon)
                await ask(daemon)
                await plant.mirrored()


async def test_a_server_that_only_lets_read(
    server: EmbeddedPostgres, sandbox: Sandbox, tmp_path: Path, recovery: Recovery
) -> None:
    """A whole server turned read-only in mid-run: unready with the remedy, and well again when it is not any more."""
    plant = Plant(sandbox, server.dsn, tmp_path / "config.toml")
    plant.configure()
    async with plant.daemon() as daemon, connected(plant.dsn) as conn:
        await plant.in_mid_run()
        await conn.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        await conn.execute("SELECT pg_reload_conf()")
        await unready(daemon)
        assert "only lets read" in (await daemon.logged("database_retry"))["error"]
        await conn.execute("SET transaction_read_only = off")
        await conn.execute("ALTER SYSTEM RESET default_transaction_read_only")
        await conn.execute("SELECT pg_reload_conf()")
        with recovery.timed("PostgreSQL read-only in mid-run", 2, 4, 5):
            await ready(daemon)
            await plant.mirrored()


async def test_sessions_that_stay_read_only(plant: Plant, recovery: Recovery) -> None:
    """Sessions begun while the database was read-only stay so for good: they are replaced, not waited for."""
    async with plant.daemon() as daemon, connected(plant.dsn) as conn:
        await plant.in_mid_run(1)
        name = await conn.fetchval("SELECT current_database()")
        await conn.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        await terminate_backends(conn)
        await unready(daemon)
        await conn.execute("SET default_transaction_read_only = off")
        await conn.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
        with recovery.timed("sessions that stay read-only", 2, 4, 5):
            await ready(daemon)
            await plant.mirrored()


async def test_no_connection_left(folder: Path, sandbox: Sandbox, tmp_path: Path, recovery: Recovery) -> None:
    """Others take every connection that the server has: unready until they let go of some, and nothing is lost."""
    async with EmbeddedPostgres(folder / "data", settings={**FAST, "max_connections": "25"}) as server:
        await migrate(server.dsn)
        plant = Plant(sandbox, server.dsn, tmp_path / "config.toml")
        plant.configure()
        async with plant.daemon() as daemon, AsyncExitStack() as hogs, connected(plant.dsn) as conn:
            await plant.in_mid_run()
            try:
                while True:
                    await terminate_backends(conn)
                    await hogs.enter_async_context(connected(plant.dsn))
            except asyncpg.TooManyConnectionsError:
                await terminate_backends(conn)
            await unready(daemon)
            await hogs.aclose()
            with recovery.timed("no connection left on the server", 2, 4, 5):
                await ready(daemon)
                await plant.mirrored()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
async def test_a_disk_that_is_full(
    server: EmbeddedPostgres, folder: Path, sandbox: Sandbox, tmp_path: Path, recovery: Recovery
) -> None:
    """Not a page fits any more: unready, nothing half written, and the scan goes on once there is space."""
    with small_disk(folder / "disk", like=folder / "data") as disk:
        async with connected(server.dsn) as conn:
            await conn.execute(f"CREATE TABLESPACE small LOCATION '{disk}'")
            await conn.execute("CREATE DATABASE offers TABLESPACE small")
        plant = Plant(sandbox, with_database(server.dsn, "offers"), tmp_path / "config.toml")
        await migrate(plant.dsn)
        plant.configure()
        async with plant.daemon() as daemon:
            await plant.in_mid_run(2)
            fill(disk / "ballast")
            await unready(daemon)
            assert "is full" in (await daemon.logged("turn_failed"))["error"]
            (disk / "ballast").unlink()
            with recovery.timed("the disk of PostgreSQL full in mid-run", 2, 4, 5):
                await ready(daemon)
                await plant.mirrored()
        async with connected(server.dsn) as conn:
            await conn.execute("DROP DATABASE offers WITH (FORCE)")
            await conn.execute("DROP TABLESPACE small")


@contextmanager
def small_disk(path: Path, *, like: Path) -> Iterator[Path]:
    """Give a disk of 40 MB, of the same owner as ``like``."""
    path.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", path], check=False)
    if mounted.returncode:
        pytest.skip("no small disk can be mounted here")
    try:
        os.chown(path, like.stat().st_uid, like.stat().st_gid)
        yield path
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)


def fill(path: Path) -> None:
    """Fill the disk to its last byte."""
    with path.open("wb", buffering=0) as ballast, suppress(OSError):
        while ballast.write(bytes(1 << 12)):
            """There is space left."""
