"""What the soak would say, and that it would see: its report, and its look at the ledger."""

import asyncio
import random
import signal
import time
from pathlib import Path
from typing import Any, cast

import asyncpg

from tests.soak.faults import FAULTS, drawn
from tests.soak.members import Member
from tests.soak.report import Report
from tests.soak.watch import LATE, TWICE, Watch
from tests.soak.world import STALE_SECONDS, World
from tests.support.fleet import configure
from tests.support.offers import Connection, by_hand, grow_old
from tests.support.waiting import until


def test_the_report() -> None:
    """Each kind of fault has its count and its recoveries, those that came with others apart; violations are told."""
    report = Report(seed=7, minutes=2, daemons=3, violations=["one run too many"])
    report.recoveries = [(("kill -9",), 1.0), (("kill -9",), 3.0), (("kill -9", "SIGHUP"), 9.0)]
    page = report.markdown()
    assert "seed 7, 3 daemons, two accounts, 4 faults, violations: 1." in page
    assert "| kill -9 | 3 | 2 | 2.0 | 3.0 |" in page
    assert "| SIGHUP | 1 | 0 |  |  |" in page
    assert "| several at once | 1 |  | 9.0 | 9.0 |" in page
    assert "- one run too many" in page


def test_a_seed_draws_the_same_faults() -> None:
    """The same seed means the same faults, and every kind of fault comes."""
    first, second = (random.Random(7) for _ in range(2))
    plans = [[drawn(dice) for _ in range(200)] for dice in (first, second)]
    assert plans[0] == plans[1]
    assert {kind for kinds in plans[0] for kind in kinds} == set(FAULTS)


async def test_the_watch_sees_what_must_not_be(sql: Connection) -> None:
    """A row that outlives its process while a daemon could have ended it, and two live runs of an account."""
    world = World(random.Random(), cast("Any", None), "", cast("Any", None), [])
    watch = Watch(world)
    await sql.execute("DROP INDEX emag_sync_logs_one_running")
    for _ in range(2):
        await grow_old(sql, await by_hand(sql), 3600)

    async def look() -> list[str]:
        late: list[asyncpg.Record] = await sql.fetch(LATE, STALE_SECONDS)
        watch._judge(late, await sql.fetch(TWICE))
        found, world.wrong = world.wrong, []
        return found

    assert [what.split()[-2:] for what in await look()] == [["live", "runs"]]
    watch._able_since = time.monotonic() - 3600
    found = await look()
    assert len(found) == 3
    assert "after it should have been ended" in found[0]


async def test_who_ends_a_daemon_that_is_dead_does_not_wait_for_the_next(tmp_path: Path) -> None:
    """Between two processes of a member there is nobody to hear a signal."""
    config = configure(tmp_path / "config.toml", "postgresql://nobody@127.0.0.1:1/none", {})
    member = Member(1, config, cast("Any", None), cast("Any", None))
    living = asyncio.create_task(member.lives())
    try:
        await until(lambda: member.exits)
        assert await member.ends(signal.SIGTERM, "on SIGTERM", within=0.1)
    finally:
        living.cancel()
        await asyncio.gather(living, return_exceptions=True)
