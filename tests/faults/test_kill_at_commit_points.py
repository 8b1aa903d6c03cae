"""``kill -9`` right before and right after each commit of a run: nothing is half there, and the next daemon goes on."""

import signal
from collections.abc import Sequence
from pathlib import Path

import pytest

from emag_syncd.sandbox import AccountSpec, Dice, Oddities, Sandbox
from tests.support.barriers import Barriers, Moment, Point
from tests.support.fleet import account, configure, up
from tests.support.history import Expected, violations
from tests.support.offers import Connection
from tests.support.processes import DaemonProcess, daemon_process
from tests.support.recovery import Recovery
from tests.support.scale import scaled
from tests.support.waiting import until
from tests.sync.reference import truth

pytestmark = pytest.mark.timeout(300)

ENDED = "old.status = 'running' AND new.status = "

BEGINNING = [
    Point("its claim", "INSERT", "emag_sync_logs"),
    Point("its scan", "INSERT", "emag_sync_scans"),
    Point("its hold on the scan", "UPDATE OF scan_id", "emag_sync_logs"),
    Point("a heartbeat", "UPDATE OF heartbeat_at", "emag_sync_logs", when="old.commits = new.commits"),
    Point("the log of its calls", "INSERT", "emag_api_calls", nth=3),
]
PAGE = [
    Point("a page's fence", "UPDATE OF commits", "emag_sync_logs", nth=2),
    Point("a page's progress", "INSERT OR UPDATE", "emag_sync_progress", nth=3),
    Point("a page's checkpoint", "INSERT", "emag_sync_scan_pages", nth=2),
    Point("a page's offers", "INSERT OR UPDATE", "emag_products", nth=7, when="new.removed_at IS NULL"),
    Point("a page's changes", "INSERT", "emag_product_changes", nth=9),
    Point("a page's rejects", "INSERT", "emag_sync_rejects"),
]
END = [
    Point("another pass", "UPDATE OF pass", "emag_sync_scans"),
    Point("the end of a dead one's run", "UPDATE OF status", "emag_sync_logs", when=ENDED + "'failed'"),
    Point("a removal", "UPDATE OF removed_at", "emag_products", when="new.removed_at IS NOT NULL"),
    Point("its end", "UPDATE OF status", "emag_sync_logs", when=ENDED + "'completed'"),
    Point("the end of its scan", "DELETE", "emag_sync_scans"),
]

STAGES = {"its beginning": BEGINNING, "a page": PAGE, "its end": END}
WAYS: Sequence[tuple[Moment, bool]] = [
    ("in the statement", False),
    ("at the commit", True),
    ("at the commit", False),
    ("in the statement", True),
]
"""Where it is killed, and whether what the server was doing for it goes through all the same."""


def drift(sandbox: Sandbox, seed: int) -> None:
    """Change prices and stocks, take an offer away and add one; take another away while it is read."""
    main = sandbox.accounts["main"]
    main.catalogue.mutate_randomly(Dice("between kills", seed), 30)
    main.catalogue.add()
    main.catalogue.remove(main.catalogue.ids[seed % 40])
    main.drift.before(main.drift.reads + 4, lambda catalogue: catalogue.remove(catalogue.ids[0]))


async def settled(daemon: DaemonProcess, sql: Connection) -> None:
    """Wait until a run has completed that began after now."""
    began = await sql.fetchval("SELECT clock_timestamp()")
    done = "SELECT count(*) FROM emag_sync_logs WHERE status = 'completed' AND started_at > $1"
    await until(lambda: sql.fetchval(done, began), within=90)
    daemon.send(signal.SIGTERM)
    assert await daemon.ended() == 0


class Victim:
    """A daemon that is killed again and again, on a database whose history is checked each time."""

    def __init__(self, config: Path, database_url: str, barriers: Barriers) -> None:
        self._config = config
        self._url = database_url
        self._barriers = barriers

    async def killed_at(self, point: Point, moment: Moment, *, goes_through: bool) -> None:
        """Start it and kill it at ``point``; what it was writing is committed all the same, or lost."""
        await self._barriers.arm(point, moment)
        async with daemon_process(self._config) as daemon:
            pid = await self._barriers.reached()
            daemon.send(signal.SIGKILL)
            await daemon.ended()
        if goes_through:
            await self._barriers.let_pass(pid)
        await self._barriers.undo()
        assert await violations(self._url) == [], f"killed {moment} of {point.name}"

    async def recovers(self, recovery: Recovery, sql: Connection) -> None:
        """Start it anew: nothing that the dead one began is running any more."""
        async with daemon_process(self._config) as daemon:
            with recovery.timed("kill -9 of the daemon, started anew at once", 2, 5):
                await up(daemon)
            assert await violations(self._url, Expected(recovered=True)) == []
            await settled(daemon, sql)


@pytest.mark.parametrize("stage", STAGES)
async def test_killed_at_each_commit_of(
    stage: str, database_url: str, sql: Connection, tmp_path: Path, recovery: Recovery
) -> None:
    """Killed before and after each commit, the history holds each time, and at last the mirror is the marketplace."""
    spec = AccountSpec(60, seed=stage, limited=False, oddities=Oddities(odd=0.1, unusable=2))
    async with Sandbox({"main": spec}) as sandbox:
        main = sandbox.accounts["main"]
        # At its beginning it must live long enough for a heartbeat.
        main.latency.low = main.latency.high = 0.5 if stage == "its beginning" else 0.02
        config = configure(
            tmp_path / "config.toml",
            database_url,
            {"main": account("main", sandbox.base_url)},
            marketplace={"max_concurrent_requests": 3},
        )
        barriers = Barriers(sql)
        await barriers.set_up()
        victim = Victim(config, database_url, barriers)
        for number, point in enumerate(STAGES[stage]):
            for way in range(number, number + min(len(WAYS), scaled(1))):
                moment, goes_through = WAYS[way % len(WAYS)]
                drift(sandbox, way)
                await victim.killed_at(point, moment, goes_through=goes_through)
        await barriers.disarm()
        await victim.recovers(recovery, sql)
        assert await violations(database_url, Expected(recovered=True, truth={"main": truth(main.catalogue)})) == []
        assert list(main.stats.violations) == []
