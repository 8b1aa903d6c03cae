"""Daemons that share many accounts: each does its part, and what one held when it died goes on with the others."""

import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from emag_syncd.sandbox import Sandbox
from tests.support.fleet import account, configure, up
from tests.support.history import Expected, violations
from tests.support.hosts import planted
from tests.support.offers import Connection
from tests.support.processes import DaemonProcess, daemon_process
from tests.support.scale import scaled
from tests.support.waiting import until
from tests.sync.reference import truth

pytestmark = pytest.mark.timeout(600)

DAEMONS = 3
ACCOUNTS = [f"a{number:02}" for number in range(30)]
RUNS = 30 * scaled(5)
SCHEDULE = {"full": "5s", "incremental": "off"}

SHARES = """
SELECT split_part(worker_id, '/', 1) AS host, count(*) AS runs FROM emag_sync_logs
WHERE scheduled_for > $1 GROUP BY 1
"""
READ = """
SELECT count(DISTINCT account_type) FROM emag_sync_logs WHERE status = 'completed' AND started_at > $1
"""
HELD = "SELECT count(*) FROM emag_sync_logs WHERE status = 'running' AND starts_with(worker_id, 'host-0/')"


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """Run a marketplace whose pages take long enough for runs to be met in their midst."""
    async with Sandbox.of(*ACCOUNTS, offers=12) as sandbox:
        for one in sandbox.accounts.values():
            one.latency.low = one.latency.high = 0.2
        yield sandbox


@pytest.fixture
async def fleet(sandbox: Sandbox, database_url: str, tmp_path: Path) -> AsyncIterator[list[DaemonProcess]]:
    """Give daemons that are ready, as if each was on a host of its own: nobody sees that a process is gone."""
    accounts = {name: account(name, sandbox.base_url, schedule=SCHEDULE) for name in ACCOUNTS}
    async with AsyncExitStack() as stack:
        daemons = []
        for number in range(DAEMONS):
            folder = tmp_path / str(number)
            folder.mkdir()
            environ = planted(folder, f"import socket; socket.gethostname = lambda: 'host-{number}'")
            # It is the jitter that decides who of them comes first: without it, it is always the quickest.
            config = configure(folder / "config.toml", database_url, accounts, schedule={"jitter_seconds": 3})
            daemons.append(await stack.enter_async_context(daemon_process(config, **environ)))
        for daemon in daemons:
            await up(daemon)
        yield daemons


async def test_accounts_are_shared_and_taken_over(
    fleet: list[DaemonProcess], sandbox: Sandbox, database_url: str, sql: Connection
) -> None:
    """No daemon has less than half of its share; when one is killed in mid-run, all accounts are read on."""
    began = await sql.fetchval("SELECT clock_timestamp()")

    async def shares() -> dict[str, int]:
        return {row["host"]: row["runs"] for row in await sql.fetch(SHARES, began)}

    async def enough() -> bool:
        return sum((await shares()).values()) >= RUNS

    await until(enough, within=240)
    found = await shares()
    assert len(found) == DAEMONS
    assert min(found.values()) > sum(found.values()) / DAEMONS / 2, found
    await until(lambda: sql.fetchval(HELD), within=90)
    fleet[0].send(signal.SIGKILL)
    await fleet[0].ended()
    killed = await sql.fetchval("SELECT clock_timestamp()")

    async def all_read() -> bool:
        return bool(await sql.fetchval(READ, killed) == len(ACCOUNTS))

    await until(all_read, within=90)
    assert await sql.fetchval(HELD) == 0
    for daemon in fleet[1:]:
        daemon.send(signal.SIGTERM)
        assert await daemon.ended() == 0
    expected = Expected(truth={name: truth(sandbox.accounts[name].catalogue) for name in ACCOUNTS})
    assert await violations(database_url, expected) == []
