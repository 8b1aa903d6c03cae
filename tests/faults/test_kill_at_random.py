"""``kill -9`` at random moments of a daemon's talk with its database, over a catalogue that changes meanwhile."""

import random
import signal
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from emag_syncd.sandbox import AccountSpec, Dice, Oddities, Sandbox
from tests.support.fleet import account, configure, up
from tests.support.history import Expected, violations
from tests.support.offers import Connection
from tests.support.processes import daemon_process
from tests.support.proxy import Proxy
from tests.support.recovery import Recovery
from tests.support.scale import scaled
from tests.support.server import database_proxy
from tests.support.waiting import until
from tests.sync.reference import truth

pytestmark = pytest.mark.timeout(120 + scaled(180))

KILLS = 6
PAGES = 40
IN_FLIGHT = 3
DAILY = {"full": "1d", "incremental": "off"}
# Between two deaths there is nobody who could end what the dead one left.
NOBODY_LIVES = Expected(grace_seconds=86400)
RUNNING = "SELECT id FROM emag_sync_logs WHERE status = 'running'"
ENDED = "SELECT true FROM emag_sync_logs WHERE id = $1 AND status = 'failed'"
PAGES_READ = "SELECT coalesce(sum(pages_processed), 0) FROM emag_sync_logs"
DONE = """
SELECT id FROM emag_sync_logs WHERE status = 'completed' AND started_at > coalesce($1, '-infinity'::timestamptz)
"""


class Victim:
    """A daemon behind a proxy to the database, killed at any byte of what they say to each other."""

    def __init__(self, config: Path, proxy: Proxy, sql: Connection) -> None:
        self._config = config
        self._proxy = proxy
        self._sql = sql

    async def lives(self) -> int:
        """Live until a run that begins from now on has completed; return the bytes that took."""
        began, before = await self._sql.fetchval("SELECT clock_timestamp()"), self._proxy.passed
        async with daemon_process(self._config) as daemon:
            await until(lambda: self._sql.fetchval(DONE, began), within=90)
            daemon.send(signal.SIGTERM)
            assert await daemon.ended() == 0
        return self._proxy.passed - before

    async def killed_at(self, byte: int) -> None:
        """Live until so many bytes have gone to and fro, and not a byte longer."""
        self._proxy.silence_after(byte)
        async with daemon_process(self._config) as daemon:
            await until(lambda: self._proxy.is_silent, within=90)
            daemon.send(signal.SIGKILL)
            await daemon.ended()
        self._proxy.cut()
        self._proxy.resume()


async def test_killed_at_random_moments(database_url: str, sql: Connection, tmp_path: Path, recovery: Recovery) -> None:
    """The history holds after each of many deaths, and after the last one the mirror is the marketplace."""
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")  # noqa: T201 - shown when the test fails
    dice = random.Random(seed)
    spec = AccountSpec(80, seed=seed, limited=False, oddities=Oddities(odd=0.1, unusable=1))
    async with Sandbox({"main": spec}) as sandbox, database_proxy(database_url) as (proxy, through):
        main = sandbox.accounts["main"]
        main.moving = 10
        config = configure(tmp_path / "config.toml", through, {"main": account("main", sandbox.base_url)})
        victim = Victim(config, proxy, sql)
        whole = await victim.lives()
        for number in range(scaled(KILLS)):
            main.catalogue.mutate_randomly(Dice(seed, number), 10)
            main.catalogue.add()
            main.catalogue.remove(dice.choice(main.catalogue.ids))
            at = dice.randrange(1, 2 * whole)
            await victim.killed_at(at)
            assert await violations(database_url, NOBODY_LIVES) == [], f"killed at byte {at}"
        main.moving = 0
        with recovery.timed("kill -9 at a random moment, until a run has completed", 2, 4, 5):
            await victim.lives()
        # That run may have gone on with a scan that read some pages before the last changes.
        await victim.lives()
        expected = Expected(recovered=True, truth={"main": truth(main.catalogue)})
        assert await violations(database_url, expected) == []
        assert list(main.stats.violations) == []


async def has_read(sql: Connection, pages: int) -> bool:
    """Whether more than so many pages were read."""
    return bool(await sql.fetchval(PAGES_READ) > pages)


def offers_sent(sandbox: Sandbox) -> int:
    """Return how many pages with offers were sent."""
    exchanges = sandbox.accounts["main"].stats.exchanges
    return sum(1 for one in exchanges if one.resource == "product_offer/read" and one.rows)


async def test_each_death_costs_what_was_in_flight(database_url: str, sql: Connection, tmp_path: Path) -> None:
    """One scan through many deaths: a page is read again only if it was asked for, or not yet written, at a death."""
    async with Sandbox.of("main", offers=PAGES * 10) as sandbox, database_proxy(database_url) as (proxy, through):
        main: dict[str, Any] = account("main", sandbox.base_url, schedule=DAILY)
        config = configure(
            tmp_path / "config.toml", through, {"main": main}, marketplace={"max_concurrent_requests": IN_FLIGHT}
        )
        sandbox.accounts["main"].latency.low = sandbox.accounts["main"].latency.high = 0.05
        victim = Victim(config, proxy, sql)
        deaths = scaled(3)
        for number in range(deaths):
            async with daemon_process(config) as daemon:
                await until(partial(has_read, sql, await sql.fetchval(PAGES_READ)), within=90)
                daemon.send(signal.SIGKILL)
                await daemon.ended()
            assert await violations(database_url, NOBODY_LIVES) == [], f"after death {number}"
        await victim.lives()
        assert await sql.fetchval("SELECT count(DISTINCT scan_id) FROM emag_sync_logs") == 1
        assert offers_sent(sandbox) <= PAGES + deaths * IN_FLIGHT
        expected = Expected(recovered=True, truth={"main": truth(sandbox.accounts["main"].catalogue)})
        assert await violations(database_url, expected) == []


async def test_a_dead_ones_transaction_is_not_in_the_way(
    database_url: str, sql: Connection, tmp_path: Path, recovery: Recovery
) -> None:
    """While the server still works for the dead daemon, the next one starts, and ends the run as soon as it can."""
    async with Sandbox.of("main", offers=400) as sandbox:
        sandbox.accounts["main"].latency.low = sandbox.accounts["main"].latency.high = 0.1
        config = configure(tmp_path / "config.toml", database_url, {"main": account("main", sandbox.base_url)})
        async with daemon_process(config) as dead:
            await until(lambda: sql.fetchval(RUNNING), within=90)
            dead.send(signal.SIGKILL)
            await dead.ended()
        async with daemon_process(config) as daemon:
            async with sql.transaction():
                # As a server does that is in the middle of the dead one's page.
                run_id = await sql.fetchval(f"{RUNNING} FOR UPDATE")
                await up(daemon)
                assert await daemon.get("/readyz") == 200
            with recovery.timed("kill -9 while the server still works for the dead", 2, 5):
                await until(lambda: sql.fetchval(ENDED, run_id))
            await until(lambda: sql.fetchval(DONE, None), within=90)
            assert await violations(database_url, Expected(recovered=True)) == []
