"""The network to the database goes silent: nothing arrives, nothing is closed. Nothing waits without limit."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from emag_syncd.sandbox import Sandbox
from tests.support.outages import PAGE_SIZE, PAGES, Plant, ask, ready, unready
from tests.support.recovery import Recovery
from tests.support.scale import scaled
from tests.support.server import database_proxy
from tests.support.waiting import until

pytestmark = pytest.mark.timeout(180)

MOMENTS = {
    "after a commit": (b"COMMIT", True),
    "during a release": (b"pg_advisory_unlock_all", True),
    "during a query": (b"INSERT INTO emag_product_changes", False),
    "before a commit": (b"COMMIT", False),
}


@pytest.fixture
async def plant(database_url: str, tmp_path: Path) -> AsyncIterator[Plant]:
    """Give a plant whose marketplace takes its time for each page."""
    async with Sandbox.of("main", offers=PAGES * PAGE_SIZE) as sandbox:
        plant = Plant(sandbox, database_url, tmp_path / "config.toml")
        plant.pace(0.03)
        yield plant


@pytest.mark.parametrize("moment", list(MOMENTS)[: scaled(2)])
async def test_connections_that_die_silently(plant: Plant, recovery: Recovery, moment: str) -> None:
    """Those that there are never answer again, new ones do: what hangs is given up, and nothing is written twice."""
    words, passed = MOMENTS[moment]
    async with database_proxy(plant.dsn) as (proxy, dsn):
        plant.configure(dsn)
        async with plant.daemon() as daemon:
            await daemon.logged("ready")
            proxy.at(words, proxy.forget, passed=passed)
            await until(lambda: not proxy.armed)
            with recovery.timed(f"connections to PostgreSQL silent {moment}", 2, 4, 5):
                await plant.mirrored()
                await ready(daemon)


async def test_a_network_that_is_silent_for_a_while(plant: Plant, recovery: Recovery) -> None:
    """New connections are silent too, longer than a lease: unready and alive; with the network all is well again."""
    async with database_proxy(plant.dsn) as (proxy, dsn):
        plant.configure(dsn)
        async with plant.daemon() as daemon:
            for _ in range(scaled(1)):
                await ask(daemon)
                await plant.in_mid_run(1)
                proxy.silence()
                await unready(daemon)
                assert await ask(daemon) == 503
                proxy.resume()
                with recovery.timed("a silent network comes back", 2, 4, 5):
                    await ready(daemon)
                    await plant.mirrored()
