"""Several daemons on one database, started, killed, stopped and ended at random while schedules fire every second."""

import asyncio
import random
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import datetime
from pathlib import Path

import asyncpg
import pytest

from emag_syncd.sandbox import Sandbox
from tests.support.fleet import LEASE_SECONDS, WATCHDOG_SECONDS, account, configure
from tests.support.history import Expected, violations
from tests.support.offers import Connection
from tests.support.processes import DaemonProcess, daemon_process
from tests.support.recovery import Recovery
from tests.support.scale import scaled
from tests.support.waiting import until
from tests.sync.reference import truth

pytestmark = pytest.mark.timeout(900)

ACCOUNTS = ("main", "fbe", "outlet")
EACH_SECOND = {"full": "1s", "incremental": "1s"}
MARKETPLACE = {"page_size": 10, "requests_per_second": 3, "requests_per_minute": 180, "max_concurrent_requests": 4}
SPACING = 0.34
WINDOW_SECONDS = 20
DAEMONS = min(5, 2 + scaled(1))
CHAOS_SECONDS = scaled(20)
WELL_WITHIN = 90.0
"""Seconds, on a machine that does other things too: several daemons start at once, and each takes its time."""

RESERVATIONS = """
CREATE TABLE reservations (number bigserial, account text, holder text, free_at timestamptz);
CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO reservations (account, holder, free_at) VALUES (NEW.account_type, NEW.holder, NEW.free_at);
    RETURN NULL;
END $$;
CREATE TRIGGER noted AFTER INSERT OR UPDATE ON emag_api_budgets FOR EACH ROW EXECUTE FUNCTION noted();
"""
TOO_CLOSE = """
WITH steps AS (
    SELECT account, free_at, free_at - lag(free_at) OVER account AS step, holder <> lag(holder) OVER account AS changed
    FROM reservations WINDOW account AS (PARTITION BY account ORDER BY number)
)
SELECT format('%s: reserved %s after the former, another daemon: %s', account, step, changed) FROM steps
WHERE extract(epoch FROM step) < $1 * (CASE WHEN changed THEN 3 ELSE 1 END) - 0.001
"""
WRITTEN_AFTER_ITS_END = """
SELECT format('run %s wrote at %s and had ended at %s', l.id, c.changed_at, l.completed_at)
FROM emag_product_changes AS c JOIN emag_sync_logs AS l ON l.id = c.sync_log_id WHERE c.changed_at > l.completed_at
"""
COMPLETED = """
SELECT count(DISTINCT (account_type, operation)) FROM emag_sync_logs
WHERE status IN ('completed', 'partial') AND operation = 'full_sync' AND started_at > $1
"""
TWICE = "SELECT account_type FROM emag_sync_logs WHERE status = 'running' GROUP BY 1 HAVING count(*) > 1"
BETWEEN = """
SELECT count(*) FROM emag_sync_logs WHERE scheduled_for > $1 AND scheduled_for < $2::timestamptz - interval '1 s'
"""
STARTS = "SELECT account_type, count(*) FROM emag_sync_logs GROUP BY 1"


class Member:
    """One place in the fleet, and whatever daemon fills it."""

    def __init__(self, config: Path) -> None:
        self._config = config
        self._stack = AsyncExitStack()
        self.daemon: DaemonProcess | None = None

    @property
    def lives(self) -> bool:
        return self.daemon is not None and self.daemon.code is None

    async def starts(self) -> None:
        if not self.lives:
            await self._stack.aclose()
            self.daemon = await self._stack.enter_async_context(daemon_process(self._config))

    def hears(self, number: signal.Signals) -> None:
        if self.daemon is not None and self.lives:
            self.daemon.send(number)

    async def ends(self, number: signal.Signals) -> None:
        """Send what ends it; however it was stopped before."""
        if self.daemon is not None and self.lives:
            self.hears(number)
            self.hears(signal.SIGCONT)
            assert await self.daemon.ended(within=60) in {0, -number}
        await self._stack.aclose()


class Fleet:
    """Daemons with the same configuration."""

    def __init__(self, config: Path, seed: int) -> None:
        self.members = [Member(config) for _ in range(DAEMONS)]
        self.dice = random.Random(seed)

    async def suffers(self) -> None:
        """Do something at random to one of them: the dead are started, the living die in one way or another."""
        member = self.dice.choice(self.members)
        if not member.lives:
            await member.starts()
            return
        what = self.dice.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP, signal.SIGSTOP])
        if what is not signal.SIGSTOP:
            await member.ends(what)
            return
        member.hears(signal.SIGSTOP)
        await asyncio.sleep(self.dice.choice([0.3, 1.0, LEASE_SECONDS + 2 * WATCHDOG_SECONDS]))
        member.hears(signal.SIGCONT)

    async def all_start(self) -> None:
        for member in self.members:
            await member.starts()

    async def all_end(self, number: signal.Signals) -> None:
        await asyncio.gather(*(member.ends(number) for member in self.members))


@pytest.fixture
async def marketplace() -> AsyncIterator[Sandbox]:
    """Run a marketplace with its limits on."""
    async with Sandbox.of(*ACCOUNTS, offers=40, limited=True) as sandbox:
        yield sandbox


@pytest.fixture
def configured(marketplace: Sandbox, database_url: str, tmp_path: Path) -> Path:
    """Give the configuration that all daemons share."""
    accounts = {name: account(name, marketplace.base_url, schedule=EACH_SECOND) for name in ACCOUNTS}
    return configure(tmp_path / "config.toml", database_url, accounts, marketplace=MARKETPLACE)


async def now(sql: Connection) -> datetime:
    """Return the database's time."""
    moment: datetime = await sql.fetchval("SELECT clock_timestamp()")
    return moment


async def each_completes(sql: Connection, *, since: datetime) -> None:
    """Wait until each account was read in full by a run that began since then."""

    async def done() -> bool:
        await asyncio.sleep(0.2)
        return bool(await sql.fetchval(COMPLETED, since) == len(ACCOUNTS))

    await until(done, within=WELL_WITHIN)


async def never_twice(database_url: str) -> None:
    """Look for accounts with two live runs, until cancelled, on a connection of its own."""
    conn = await asyncpg.connect(database_url)
    try:
        while True:
            assert await conn.fetch(TWICE) == []
            await asyncio.sleep(0.1)
    finally:
        conn.terminate()


def say(text: str) -> None:
    """Let whoever looks at a failure know how it went."""
    sys.stdout.write(f"{text}\n")


def most_arrived(marketplace: Sandbox, name: str) -> int:
    """Return the most requests of an account within the window, its end left out."""
    times = [one.at for one in marketplace.accounts[name].stats.exchanges]
    return max(sum(start <= at < start + WINDOW_SECONDS for at in times) for start in times)


async def test_a_fleet_at_random(
    configured: Path, marketplace: Sandbox, database_url: str, sql: Connection, recovery: Recovery
) -> None:
    """Never two runs of an account, each slot once, none starved, one budget; what ended writes nothing any more."""
    seed = random.SystemRandom().randrange(10**6)
    say(f"seed {seed}: {DAEMONS} daemons, {CHAOS_SECONDS} s")
    await sql.execute(RESERVATIONS)
    fleet = Fleet(configured, seed)
    try:
        await fleet.all_start()
        await each_completes(sql, since=await now(sql))
        watching = asyncio.create_task(never_twice(database_url))
        ends_at = asyncio.get_running_loop().time() + CHAOS_SECONDS
        while asyncio.get_running_loop().time() < ends_at:
            await fleet.suffers()
            await asyncio.sleep(fleet.dice.uniform(0, 2))
        await fleet.all_start()
        with recovery.timed("daemons killed, stopped and ended at random", 1, 2, 8):
            await each_completes(sql, since=await now(sql))
        assert not watching.done(), watching
        watching.cancel()
    finally:
        await fleet.all_end(signal.SIGTERM)
    expected = Expected(truth={name: truth(marketplace.accounts[name].catalogue) for name in ACCOUNTS})
    assert await violations(database_url, expected) == []
    assert [row[0] for row in await sql.fetch(WRITTEN_AFTER_ITS_END)] == []
    assert [row[0] for row in await sql.fetch(TOO_CLOSE, SPACING)] == []
    for name in ACCOUNTS:
        stats = marketplace.accounts[name].stats
        arrived = most_arrived(marketplace, name)
        say(f"{name}: {len(stats.exchanges)} requests, {arrived} in {WINDOW_SECONDS} s, {stats.refused_by_limit} 429")
        assert arrived <= WINDOW_SECONDS * 3 + 3
        assert {violation.kind for violation in stats.violations} <= {"rate"}
        assert stats.refused_by_limit <= 0.02 * len(stats.exchanges)
    starts = {row[0]: row[1] for row in await sql.fetch(STARTS)}
    say(f"runs: {starts}")
    assert set(starts) == set(ACCOUNTS)


async def test_what_nobody_lived_to_see_is_one_run(configured: Path, sql: Connection, recovery: Recovery) -> None:
    """All are killed, slots pass, one starts: of the slots in between none is made up for, and the schedule goes on."""
    fleet = Fleet(configured, 0)
    try:
        for member in fleet.members[:2]:
            await member.starts()
        await each_completes(sql, since=await now(sql))
        for member in fleet.members[:2]:
            await member.ends(signal.SIGKILL)
        nobody_since = await now(sql)
        passed = "SELECT clock_timestamp() - $1 > interval '5 s'"
        await until(lambda: sql.fetchval(passed, nobody_since))
        somebody_since = await now(sql)
        with recovery.timed("all daemons killed, one started later", 1, 2):
            await fleet.members[0].starts()
            await each_completes(sql, since=somebody_since)
    finally:
        await fleet.all_end(signal.SIGTERM)
    assert await sql.fetchval(BETWEEN, nobody_since, somebody_since) == 0
    assert await sql.fetchval("SELECT count(*) FROM emag_sync_logs WHERE scheduled_for > $1", somebody_since) > 0
