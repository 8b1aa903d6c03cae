"""Failing over to a server that lacks the last commits: the run says so, counts nothing twice, and the mirror heals."""

import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from emag_syncd.sandbox import Sandbox
from emag_syncd.storage.embedded import EmbeddedPostgres
from emag_syncd.storage.migrations import migrate
from tests.support.outages import PAGE_SIZE, PAGES, Plant, ready
from tests.support.recovery import Recovery
from tests.support.server import FAST, database_proxy, reachable_folder, target_of

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
async def plant(tmp_path: Path) -> AsyncIterator[Plant]:
    """Give a plant that has no database yet."""
    async with Sandbox.of("main", offers=PAGES * PAGE_SIZE) as sandbox:
        plant = Plant(sandbox, "", tmp_path / "config.toml")
        plant.pace(0.1)
        yield plant


async def test_a_failover_that_loses_commits(plant: Plant, recovery: Recovery) -> None:
    """The standby has the run, but not its last pages: the run ends as set back, and its scan goes on from there."""
    with reachable_folder() as folder:
        primary = EmbeddedPostgres(folder / "primary", settings=FAST)
        standby = EmbeddedPostgres(folder / "standby", settings=FAST)
        async with primary, database_proxy(primary.dsn) as (proxy, dsn):
            plant.dsn = primary.dsn
            await migrate(plant.dsn)
            plant.configure(dsn, sync={"lease_seconds": 30})
            async with plant.daemon() as daemon:
                await plant.in_mid_run(3)
                await primary.stop()
                copy(folder / "primary", folder / "standby")
                await primary.start()
                run_id = await plant.in_mid_run(12)
                await primary.stop()
                async with standby:
                    plant.dsn = standby.dsn
                    assert await plant.value("SELECT status FROM emag_sync_logs WHERE id = $1", run_id) == "running"
                    proxy.point_at(target_of(standby.dsn))
                    with recovery.timed("a failover that loses the last commits of a run", 2, 3, 4, 6):
                        failed = await daemon.logged("run_failed")
                        await plant.mirrored()
                        await ready(daemon)
                    assert failed["kind"] == "database"
                    assert "the database was set back" in failed["error"]
                    pages = "SELECT pages_processed FROM emag_sync_logs WHERE id = $1 AND status = 'failed'"
                    assert 3 <= await plant.value(pages, run_id) < 12


async def test_a_failover_that_loses_a_whole_run(plant: Plant, recovery: Recovery) -> None:
    """The standby knows nothing of the run in progress: it writes nothing any more, and its slot has another one."""
    with reachable_folder() as folder:
        primary = EmbeddedPostgres(folder / "primary", settings=FAST)
        standby = EmbeddedPostgres(folder / "standby", settings=FAST)
        async with primary, database_proxy(primary.dsn) as (proxy, dsn):
            plant.dsn = primary.dsn
            await migrate(plant.dsn)
            await primary.stop()
            copy(folder / "primary", folder / "standby")
            await primary.start()
            plant.configure(dsn, sync={"lease_seconds": 30})
            async with plant.daemon() as daemon:
                await plant.in_mid_run(8)
                await primary.stop()
                async with standby:
                    plant.dsn = standby.dsn
                    proxy.point_at(target_of(standby.dsn))
                    with recovery.timed("a failover that loses a whole run", 2, 3, 4):
                        await daemon.logged("run_lost")
                        await ready(daemon)
                        await plant.mirrored()
                    assert await plant.value("SELECT count(*) FROM emag_sync_logs") == 1


def copy(source: Path, target: Path) -> None:
    """Copy the data of a server with their owner, which it insists on."""
    subprocess.run(["cp", "--archive", source, target], check=True)
