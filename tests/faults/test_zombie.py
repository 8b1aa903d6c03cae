"""A daemon stands still past its lease while another one lives, and wakes up again."""

import random
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import pytest

from emag_syncd.sandbox import Sandbox
from tests.support.hosts import DAILY, LONGEST, completed, configured, ended_as, in_mid_run, slowed, synced
from tests.support.offers import Connection
from tests.support.processes import daemon_process
from tests.support.recovery import Recovery
from tests.support.scale import scaled

pytestmark = pytest.mark.timeout(LONGEST * scaled(1))

OFFERS = 300
LEASE = 5
# Ended within the watchdog's interval of half a second after the lease; the rest is a busy machine
LATEST_REAPING = 5
SPY = """
CREATE TABLE writings (id bigint GENERATED ALWAYS AS IDENTITY, writer text, written text, what jsonb);
CREATE FUNCTION spy() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO writings (writer, written, what) VALUES (session_user, TG_TABLE_NAME, to_jsonb(coalesce(NEW, OLD)));
    RETURN NULL;
END $$;
"""
HELD_UP = """
CREATE TABLE held_up (seconds float8);
CREATE FUNCTION hold_up() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF session_user LIKE 'zombie_%' AND current_query() LIKE '%mine (id, token)%' THEN
        PERFORM pg_sleep(seconds) FROM held_up;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER hold_up BEFORE UPDATE ON emag_sync_logs FOR EACH STATEMENT EXECUTE FUNCTION hold_up()
"""
HELD_UP_SECONDS = 4
WATCHED = [
    *("emag_sync_logs", "emag_sync_progress", "emag_sync_rejects", "emag_sync_scans", "emag_sync_scan_pages"),
    *("emag_products", "emag_product_changes"),
]
SPY_ON = "CREATE TRIGGER spy AFTER INSERT OR UPDATE OR DELETE ON {} FOR EACH ROW EXECUTE FUNCTION spy()"


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """Run a marketplace that takes its time for each page."""
    async with Sandbox.of("main", offers=OFFERS) as sandbox:
        slowed(sandbox, 0.2)
        yield sandbox


@pytest.fixture
async def zombie(sql: Connection, database_url: str) -> AsyncIterator[str]:
    """Give the DSN of a user of its own, all of whose writings are written down."""
    await sql.execute(SPY)
    await sql.execute(HELD_UP)
    for table in WATCHED:
        await sql.execute(SPY_ON.format(table))
    name = f"zombie_{uuid4().hex[:12]}"
    await sql.execute(f"CREATE ROLE {name} LOGIN SUPERUSER PASSWORD '{name}'")
    parts = urlsplit(database_url)
    yield urlunsplit(parts._replace(netloc=f"{name}:{name}@{parts.netloc.rpartition('@')[2]}"))
    await sql.execute(f"DROP ROLE {name}")


@pytest.mark.parametrize("turn", range(scaled(1)))
async def test_a_daemon_that_stands_still(
    sandbox: Sandbox,
    database_url: str,
    zombie: str,
    sql: Connection,
    tmp_path: Path,
    recovery: Recovery,
    turn: int,
) -> None:
    """Its run is reaped in time; awake again it writes not one row, says so, and then serves as before.

    Its heartbeat, which could tell it as well, is held up: the page that it has read by then meets the fence alone.
    """
    role = urlsplit(zombie).username
    (tmp_path / "hung").mkdir()
    hung_config = configured(tmp_path / "hung", sandbox, zombie, {"main": DAILY})
    alive_config = configured(tmp_path, sandbox, database_url, {"main": DAILY})
    async with daemon_process(hung_config) as hung:
        run_id = await in_mid_run(sql, random.randint(1, 5))
        slowed(sandbox, 5)
        async with daemon_process(alive_config) as alive:
            await alive.logged("ready")
            hung.send(signal.SIGSTOP)
            slowed(sandbox, 0.2)
            with recovery.timed("a daemon that stands still, until its run is ended", 2):
                reaped = await alive.logged("run_reaped")
            assert await ended_as(sql, run_id) == ("failed", "stale")
            assert reaped["run_id"] == str(run_id)
            late = "SELECT extract(epoch FROM completed_at - heartbeat_at)::float8 FROM emag_sync_logs WHERE id = $1"
            assert LEASE <= await sql.fetchval(late, run_id) < LEASE + LATEST_REAPING
            next_run = await in_mid_run(sql, 1)
            await sql.execute("INSERT INTO held_up VALUES ($1)", HELD_UP_SECONDS)
            asleep = await sql.fetchval("SELECT max(id) FROM writings")
            hung.send(signal.SIGCONT)
            with recovery.timed("a daemon that stood still, until it knows that its run was ended", 3):
                assert (await hung.logged("run_lost"))["run_id"] == str(run_id)
            await sql.execute("DELETE FROM held_up")
            await completed(sql)
            assert await ended_as(sql, next_run) == ("completed", None)
            written = "SELECT writer, written, what FROM writings WHERE id > $1 AND writer {} $2"
            assert await sql.fetch(written.format("="), asleep, role) == []
            assert await sql.fetch(written.format("<>"), asleep, role)
            assert await sql.fetchval("SELECT count(*) FROM emag_product_changes") == OFFERS
            alive.send(signal.SIGTERM)
            assert await alive.ended() == 0
            slowed(sandbox, 0)
            assert await synced(hung) == "completed"
            assert await sql.fetch(written.format("="), asleep, role)
            hung.send(signal.SIGTERM)
            assert await hung.ended() == 0
