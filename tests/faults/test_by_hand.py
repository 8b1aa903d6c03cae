"""Operators at their psql while the daemon works: whatever they do to the tables, it lives, and the mirror heals."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import asyncpg
import pytest

from emag_syncd.sandbox import Sandbox
from tests.support.offers import Connection
from tests.support.outages import PAGE_SIZE, PAGES, WELL_WITHIN, Plant, ask, connected, ready, unready
from tests.support.processes import DaemonProcess
from tests.support.recovery import Recovery
from tests.support.scale import scaled
from tests.support.waiting import until

pytestmark = pytest.mark.timeout(180)

STORM = (
    "UPDATE emag_sync_logs SET status = 'failed' WHERE status = 'running'",
    "UPDATE emag_sync_logs SET status = 'running' WHERE id = (SELECT id FROM emag_sync_logs LIMIT 1)",
    "UPDATE emag_sync_logs SET commits = commits + 3, processed_items = -1 WHERE status = 'running'",
    "UPDATE emag_sync_logs SET lease_token = NULL, lease_expires_at = NULL WHERE status = 'running'",
    "UPDATE emag_sync_logs SET lease_expires_at = 'infinity', worker_id = NULL, heartbeat_at = NULL",
    "UPDATE emag_sync_logs SET started_at = started_at - interval '1 year'",
    "UPDATE emag_sync_logs SET errors = '{\"kind\": 7}', warnings = 'null'",
    "UPDATE emag_sync_logs SET duration_seconds = 'NaN', completed_at = NULL WHERE status <> 'running'",
    "UPDATE emag_sync_logs SET scan_id = gen_random_uuid() WHERE status = 'running'",
    "UPDATE emag_sync_logs SET status = 'done'",
    "UPDATE emag_sync_logs SET started_at = '-infinity'",
    "DELETE FROM emag_sync_logs WHERE status = 'running'",
    "DELETE FROM emag_sync_logs",
    "INSERT INTO emag_sync_logs (account_type, operation) VALUES ('main', 'full_sync')",
    "INSERT INTO emag_sync_logs (account_type, operation, status) VALUES ('nobody', 'selective_sync', 'partial')",
    "INSERT INTO emag_sync_logs (account_type, operation, sync_type) VALUES ('main', 'full_sync', 'orders')",
    "UPDATE emag_sync_progress SET sync_log_id = gen_random_uuid(), updated_at = 'infinity', total_pages = -1",
    "DELETE FROM emag_sync_progress",
    "UPDATE emag_sync_scans SET pass = 7",
    "UPDATE emag_sync_scans SET started_at = 'infinity', pass = -1",
    "DELETE FROM emag_sync_scans",
    "INSERT INTO emag_sync_scans (account_type, operation) VALUES ('main', 'full_sync') ON CONFLICT DO NOTHING",
    "DELETE FROM emag_sync_scan_pages",
    "UPDATE emag_sync_scan_pages SET start_at = end_at, end_at = start_at",
    "INSERT INTO emag_sync_scan_pages SELECT id, pass, 0, 1000, 0, '{1,NULL,7}' FROM emag_sync_scans",
    "UPDATE emag_products SET name = 'by hand', sale_price = 0 WHERE emag_id % 3 = 0",
    "UPDATE emag_products SET raw = NULL, ean = NULL WHERE emag_id % 5 = 0",
    "UPDATE emag_products SET removed_at = now() WHERE emag_id % 7 = 0",
    "DELETE FROM emag_products WHERE emag_id % 2 = 0",
    "INSERT INTO emag_products (account_type, emag_id) SELECT 'main', generate_series(1, 9) ON CONFLICT DO NOTHING",
    "INSERT INTO emag_products (account_type, emag_id) VALUES ('nobody', 1) ON CONFLICT DO NOTHING",
    "TRUNCATE emag_products",
    "TRUNCATE emag_sync_logs, emag_sync_progress, emag_sync_scans, emag_sync_scan_pages",
)

QUICK = 0.03
"""Seconds that a page usually takes."""

CHANGES = {
    "rows changed": "UPDATE emag_products SET name = 'by hand', sale_price = 0, raw = '{}' WHERE emag_id % 3 = 0",
    "rows deleted": "DELETE FROM emag_products WHERE emag_id % 2 = 0",
    "rows marked as removed": "UPDATE emag_products SET removed_at = now()",
    "the table truncated": "TRUNCATE emag_products",
}

TABLES = ["emag_sync_logs", "emag_products", "emag_api_calls"]


@pytest.fixture
async def plant(database_url: str, tmp_path: Path) -> AsyncIterator[Plant]:
    """Give a plant whose marketplace takes its time for each page."""
    async with Sandbox.of("main", offers=PAGES * PAGE_SIZE) as sandbox:
        plant = Plant(sandbox, database_url, tmp_path / "config.toml")
        plant.pace(QUICK)
        plant.configure()
        yield plant


@pytest.fixture
async def operator(plant: Plant) -> AsyncIterator[Connection]:
    """Give an operator's connection."""
    async with connected(plant.dsn) as conn:
        yield conn


async def test_a_storm_of_statements(plant: Plant, operator: Connection, recovery: Recovery) -> None:
    """Rows of every table changed, deleted and inserted at random: no part of the daemon dies, and it mends it all."""
    chance = random.Random(9)
    plant.configure(watchdog={"interval_seconds": 0.5, "stale_after_seconds": 2})
    async with plant.daemon() as daemon:
        await daemon.logged("ready")
        for _ in range(scaled(1)):
            for statement in chance.sample(STORM, len(STORM)):
                with suppress(asyncpg.CheckViolationError, asyncpg.UniqueViolationError):
                    await operator.execute(statement)
                await ask(daemon)
                await asyncio.sleep(chance.uniform(0, 0.15))
        with recovery.timed("a storm of statements by hand", 2, 3, 6):
            await ready(daemon)
            await until(lambda: started(operator, daemon), within=60)
            await plant.mirrored(by_hand=True)
        assert await operator.fetchval("SELECT count(*) FROM emag_sync_logs WHERE status = 'running'") == 0


async def started(operator: Connection, daemon: DaemonProcess) -> bool:
    """End whatever hinders a full run that reads everything from the start, and ask for it."""
    await operator.execute("DELETE FROM emag_sync_scans")
    return await ask(daemon) == 202


@pytest.mark.parametrize("change", list(CHANGES)[: scaled(2)])
async def test_offers_touched_in_mid_run(plant: Plant, operator: Connection, recovery: Recovery, change: str) -> None:
    """What the run has read already is changed or gone behind its back: none of it stays so."""
    plant.dawdle(20)
    async with plant.daemon() as daemon:
        await plant.in_mid_run(20)
        await operator.execute(CHANGES[change])
        plant.pace(QUICK)
        with recovery.timed(f"{change} by hand in mid-run", 6):
            none_runs = "SELECT count(*) = 0 FROM emag_sync_logs WHERE status = 'running'"
            await until(lambda: operator.fetchval(none_runs), within=WELL_WITHIN)
            if change == "rows changed":
                await ask(daemon)
            await plant.mirrored(by_hand=True)


@pytest.mark.parametrize("table", TABLES[: scaled(2)])
async def test_a_locked_table(plant: Plant, operator: Connection, recovery: Recovery, table: str) -> None:
    """Nothing gets at it for longer than a lease: the daemon lives, and goes on once it is free."""
    plant.dawdle(2)
    async with plant.daemon() as daemon:
        await plant.in_mid_run(2)
        async with operator.transaction():
            await operator.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
            if table == "emag_products":
                await asyncio.sleep(min(60, scaled(6)))
            else:
                await unready(daemon)
        plant.pace(QUICK)
        with recovery.timed(f"{table} locked", 2, 4, 5):
            await ready(daemon)
            await plant.mirrored()


async def test_vacuum_full_in_mid_run(plant: Plant, operator: Connection, recovery: Recovery) -> None:
    """Every table is written anew under the run's feet, with the locks that this takes: it completes all the same."""
    plant.dawdle(2)
    async with plant.daemon() as daemon:
        await plant.in_mid_run(2)
        for _ in range(scaled(2)):
            await operator.execute("VACUUM FULL")
        plant.pace(QUICK)
        with recovery.timed("VACUUM FULL in mid-run", 4, 5):
            await plant.mirrored()
            await ready(daemon)
        assert await operator.fetchval("SELECT count(*) FROM emag_sync_logs") == 1
