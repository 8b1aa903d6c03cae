"""What dead processes of this host left is ended at start-up, and nothing else is."""

import asyncio
import os
import signal
from uuid import UUID

import structlog

from emag_syncd.storage.database import Database
from emag_syncd.supervision.worker import this_worker
from tests.support.claimer import claimer
from tests.support.engines import core_on, sample, until_stopped
from tests.support.offers import Connection, by_hand


async def accounts_of(sql: Connection, ids: list[UUID]) -> set[str]:
    """Return whose runs these are."""
    found = await sql.fetch("SELECT account_type FROM emag_sync_logs WHERE id = ANY ($1)", ids)
    return {row["account_type"] for row in found}


async def test_only_what_the_dead_left_is_ended(database: Database, database_url: str, sql: Connection) -> None:
    """A killed process's runs are; those of one that is stopped or alive, of other hosts and odd ones are not."""
    dead, alive = claimer(database_url, "main", "fbe"), claimer(database_url, "alive")
    try:
        dead.kill()
        # It is a zombie from here on, until it is waited for below.
        await asyncio.to_thread(os.waitid, os.P_PID, dead.pid, os.WEXITED | os.WNOWAIT)
        this = this_worker()
        start, instance = this.start, this.instance
        for account, worker_id in {
            "foreign": f"elsewhere/{this.boot}/1/{start}/{instance}",
            "rebooted": f"{this.host}/other-boot/{dead.pid}/{start}/{instance}",
            "odd": f"{this.host}/{this.boot}/many/1/x",
            "short": this.prefix,
            "program": "nightly-import",
            "nobody": None,
            "reused": f"{this.host}/{this.boot}/{this.pid}/1/{instance}",
        }.items():
            await by_hand(sql, account, worker_id=worker_id)
        async with core_on(database, until_stopped, "main", "fbe") as core:
            with structlog.testing.capture_logs() as logged:
                ended = await core.watchdog.recover()
            assert await accounts_of(sql, ended) == {"main", "fbe", "reused"}
            assert sample(core, "emag_watchdog_reaped_total", account="main", kind="interrupted") == 1
            assert [line["action"] for line in logged] == ["run_reaped", "run_ended"] * 3
            errors = await sql.fetchval("SELECT errors FROM emag_sync_logs WHERE account_type = 'main'")
            assert '"interrupted"' in errors
            assert '"Interrupted: its process on this host is gone; a full scan is taken up again"' in errors
            alive.send_signal(signal.SIGSTOP)
            assert await core.watchdog.recover() == []
            alive.kill()
            await asyncio.to_thread(alive.wait)
            assert await accounts_of(sql, await core.watchdog.recover()) == {"alive"}
    finally:
        for process in (dead, alive):
            process.kill()
            process.communicate()


async def test_what_is_locked_is_ended_later(database: Database, database_url: str, sql: Connection) -> None:
    """Nobody waits for what the server still does for a dead process: the watchdog's next turn ends its run."""
    dead = claimer(database_url, "main", "fbe")
    dead.kill()
    await asyncio.to_thread(dead.communicate)
    async with core_on(database, until_stopped, "main", "fbe") as core:
        async with sql.transaction():
            await sql.fetch("SELECT FROM emag_sync_logs WHERE account_type = 'main' FOR UPDATE")
            assert await accounts_of(sql, await core.watchdog.recover()) == {"fbe"}
        await core.watchdog.turn()
        assert await sql.fetchval("SELECT count(*) FROM emag_sync_logs WHERE status = 'running'") == 0
        assert sample(core, "emag_watchdog_reaped_total", account="main", kind="interrupted") == 1
