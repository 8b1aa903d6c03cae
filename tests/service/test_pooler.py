"""Daemons behind a pooler: they sync, share their accounts, and take over from one that died."""

import signal
from contextlib import AsyncExitStack
from http import HTTPStatus
from pathlib import Path

import pytest

from emag_syncd.sandbox import Sandbox
from tests.support.fleet import account, configure, up
from tests.support.history import Expected, violations
from tests.support.offers import Connection
from tests.support.pooler import pooler
from tests.support.processes import daemon_process
from tests.support.waiting import until
from tests.sync.reference import truth

pytestmark = pytest.mark.timeout(300)

ACCOUNTS = ("main", "fbe", "outlet")
DONE = """
SELECT count(DISTINCT account_type) = 3 FROM emag_sync_logs WHERE status = 'completed' AND started_at > $1
"""


async def test_daemons_behind_a_pooler(database_url: str, sql: Connection, tmp_path: Path) -> None:
    """On three sessions for all: what was read is right, and what a killed daemon held goes on with the other."""
    async with (
        Sandbox.of(*ACCOUNTS, offers=120) as sandbox,
        pooler(database_url, sessions=3) as url,
        AsyncExitStack() as stack,
    ):
        accounts = {name: account(name, sandbox.base_url) for name in ACCOUNTS}
        config = configure(tmp_path / "config.toml", url, accounts)
        first, second = [await stack.enter_async_context(daemon_process(config)) for _ in range(2)]
        for daemon in (first, second):
            await up(daemon)
            assert await daemon.get("/readyz") == HTTPStatus.OK
            assert not daemon.lines("turn_failed")
        began = await sql.fetchval("SELECT clock_timestamp()")
        await until(lambda: sql.fetchval(DONE, began), within=90)
        await until(lambda: first.lines("run_started"), within=90)
        first.send(signal.SIGKILL)
        await first.ended()
        killed = await sql.fetchval("SELECT clock_timestamp()")
        await until(lambda: sql.fetchval(DONE, killed), within=90)
        second.send(signal.SIGTERM)
        assert await second.ended() == 0
        expected = Expected(truth={name: truth(sandbox.accounts[name].catalogue) for name in ACCOUNTS})
        assert await violations(database_url, expected) == []
