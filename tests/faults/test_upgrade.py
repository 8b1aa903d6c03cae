"""The schema is migrated by a later version while daemons of this one run."""

import signal
from pathlib import Path

from emag_syncd.sandbox import Sandbox
from emag_syncd.storage.migrations import VERSION_TABLE
from tests.support.hosts import completed, configured, in_mid_run, slowed
from tests.support.offers import TABLES, Connection
from tests.support.processes import daemon_process
from tests.support.recovery import Recovery
from tests.support.waiting import until

LATER = "9999"


async def migrate_to_a_later_version(sql: Connection) -> None:
    """Do what a later migration does that adds: columns, indexes and a table, all in one transaction."""
    async with sql.transaction():
        for table in TABLES:
            await sql.execute(f"ALTER TABLE {table} ADD COLUMN of_later text NOT NULL DEFAULT 'none'")
        await sql.execute("CREATE INDEX ON emag_products (of_later); CREATE TABLE emag_of_later (id bigint)")
        await sql.execute(f"UPDATE {VERSION_TABLE} SET version_num = '{LATER}'")


async def test_a_schema_that_grows_under_a_run(
    database_url: str, sql: Connection, tmp_path: Path, recovery: Recovery
) -> None:
    """The run under way completes, others begin; the daemon lives on, unready; it does not start any more."""
    async with Sandbox.of("main", offers=120) as sandbox:
        slowed(sandbox, 0.2)
        config = configured(tmp_path, sandbox, database_url, {"main": {"full": "1d", "incremental": "1s"}})
        async with daemon_process(config) as daemon:
            run_id = await in_mid_run(sql)
            with recovery.timed("migrated by a later version in mid-run", 4, 6):
                await migrate_to_a_later_version(sql)
                before = await sql.fetchval("SELECT pages_processed FROM emag_sync_logs WHERE id = $1", run_id)
                more = "SELECT pages_processed > $2 FROM emag_sync_logs WHERE id = $1"
                await until(lambda: sql.fetchval(more, run_id, before), within=40)
            ended = "SELECT status FROM emag_sync_logs WHERE id = $1 AND status <> 'running'"
            assert await until(lambda: sql.fetchval(ended, run_id), within=60) == "completed"
            await completed(sql, 2)
            assert await sql.fetchval("SELECT count(*) FROM emag_products WHERE of_later = 'none'") == 120

            async def unready() -> bool:
                return await daemon.get("/readyz/schema") == 503

            await until(unready, within=40)
            assert (await daemon.get("/readyz/database"), await daemon.get("/livez")) == (200, 200)
            daemon.send(signal.SIGTERM)
            assert await daemon.ended() == 0
        async with daemon_process(config) as daemon:
            assert await daemon.ended() != 0
            assert f"is newer ({LATER})" in daemon.text
            assert "upgrade emag-syncd" in daemon.text
