"""Whether a run is wanted is read off the ledger, so that a restart forgets nothing."""

from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import pytest

from emag_syncd.domain.runs import Operation
from emag_syncd.storage.database import Database
from emag_syncd.storage.ledger import Ledger
from emag_syncd.storage.scans import Scans
from emag_syncd.supervision.prospects import Prospects
from tests.support.offers import Connection, by_hand

RunEnded: TypeAlias = Callable[..., Coroutine[Any, Any, None]]

MINUTE = 60.0
SLACK = 30.0
"""Seconds that a test may take until it looks."""

TAKEN_UP = {
    ("timeout", 5): 0.0,
    ("interrupted", 5): 0.0,
    ("shutdown", 5): 0.0,
    ("stale", 5): 0.0,
    ("timeout", 0): 60.0,
    ("database", 5): 0.0,
    ("marketplace_unavailable", 0): 60.0,
    ("cancelled", 5): None,
    ("credentials", 5): None,
}
"""How many seconds after a run ended so, having read so many pages, its scan is taken up."""


def before(seconds: float) -> datetime:
    """Return the time that was so many seconds ago."""
    return datetime.now(UTC) - timedelta(seconds=seconds)


@pytest.fixture
def prospects(database: Database) -> Prospects:
    """Give the prospects of a daemon."""
    ledger = Ledger(database, worker_id="w", lease_seconds=60)
    return Prospects(ledger, Scans(database), resume_within_seconds=3600)


@pytest.fixture
def run_ended(sql: Connection) -> RunEnded:
    """Give what inserts a run that ended so many seconds ago; each is later than those before it."""
    runs = 0

    async def insert(kind: str | None = None, *, ago: float = 1.0, status: str = "failed", **columns: Any) -> None:
        nonlocal runs
        runs += 1
        columns = {"account": "main", "started_at": before(86400 - runs), "completed_at": before(ago), **columns}
        run_id = await by_hand(sql, status=status, **columns)
        if kind is not None:
            errors = f'[{{"kind": "{kind}", "error": "as told"}}]'
            await sql.execute("UPDATE emag_sync_logs SET errors = $1 WHERE id = $2", errors, run_id)

    return insert


async def begin_scan(sql: Connection, account: str = "main", *, ago: float = 60.0) -> None:
    """Let a full scan of the account be unfinished."""
    insert = "INSERT INTO emag_sync_scans (account_type, operation, started_at) VALUES ($1, 'full_sync', $2)"
    await sql.execute(insert, account, before(ago))


@pytest.mark.parametrize("kind", ["credentials", "ip_not_allowed", "marketplace_rejected"])
async def test_refusals_pause_an_account(prospects: Prospects, run_ended: RunEnded, kind: str) -> None:
    """For a quarter of an hour; a success ends the pause."""
    assert not await prospects.paused("main")
    await run_ended(kind, ago=16 * MINUTE)
    assert not await prospects.paused("main")
    await run_ended(kind, ago=14 * MINUTE)
    assert await prospects.paused("main")
    assert not await prospects.paused("fbe")
    await run_ended(status="completed")
    assert not await prospects.paused("main")


async def test_pauses_grow(prospects: Prospects, run_ended: RunEnded) -> None:
    """Twice as long with each refusal, and six hours at most."""
    for refusals, longest in ((1, 15.0), (2, 30.0), (3, 60.0), (7, 360.0), (15, 360.0)):
        for _ in range(refusals):
            await run_ended("credentials", ago=(longest - 1) * MINUTE)
        assert await prospects.paused("main")
        for _ in range(refusals):
            await run_ended(status="completed")
            await run_ended("credentials", ago=(longest + 1) * MINUTE)
        assert not await prospects.paused("main")
        await run_ended(status="completed")


async def test_what_pauses_nobody(prospects: Prospects, run_ended: RunEnded) -> None:
    """An outage passes by itself, and a filter that the marketplace rejects is not the account's fault."""
    await run_ended("marketplace_unavailable")
    assert not await prospects.paused("main")
    await run_ended("marketplace_rejected", operation="selective_sync")
    assert not await prospects.paused("main")
    await run_ended("credentials", operation="selective_sync")
    assert await prospects.paused("main")


async def test_when_a_scan_is_taken_up(prospects: Prospects, run_ended: RunEnded, sql: Connection) -> None:
    """At once where it went well, after a while where it did not, and never against somebody's wish."""
    for (kind, pages), waits in TAKEN_UP.items():
        account = f"{kind}-{pages}"
        await begin_scan(sql, account)
        await run_ended(kind, account=account, ago=0, pages_processed=pages)
        wait = await prospects.continues_in(account)
        if waits is None:
            assert wait is None, kind
        else:
            assert wait is not None, kind
            assert waits - SLACK <= wait <= waits, kind


async def test_the_waits_grow_while_nothing_is_read(prospects: Prospects, run_ended: RunEnded, sql: Connection) -> None:
    """From a minute to a quarter of an hour; a page that was read makes them short again."""
    await begin_scan(sql)
    waits = []
    for _ in range(6):
        await run_ended("marketplace_unavailable", ago=0)
        waits.append(await prospects.continues_in("main") or 0)
    for wait, expected in zip(waits, [60, 120, 240, 480, 900, 900], strict=True):
        assert expected - SLACK <= wait <= expected
    await run_ended("marketplace_unavailable", ago=0, pages_processed=1)
    assert (await prospects.continues_in("main") or 0) <= 60


async def test_no_scan_to_take_up(prospects: Prospects, run_ended: RunEnded, sql: Connection) -> None:
    """None was cut short, or it is too old, or no run of it is known, or the last one completed."""
    await run_ended("timeout", pages_processed=5)
    assert await prospects.continues_in("main") is None
    await begin_scan(sql, ago=3700)
    assert await prospects.continues_in("main") is None
    prospects.resume_within_seconds = 7200
    assert await prospects.continues_in("main") == 0.0
    await run_ended(operation="incremental_sync", status="completed")
    assert await prospects.continues_in("main") == 0.0
    await run_ended(status="completed")
    assert await prospects.continues_in("main") is None
    await sql.execute("DELETE FROM emag_sync_logs")
    assert await prospects.continues_in("main") is None


async def test_which_runs_cover_a_slot(prospects: Prospects, run_ended: RunEnded) -> None:
    """One for this slot or a later one, however it ended; and any full run that began after it and read something."""
    slot = before(3600)

    async def covered(operation: Operation) -> bool:
        return await prospects.covered("main", operation, slot)

    assert not await covered(Operation.FULL)
    await run_ended(operation="full_sync", scheduled_for=slot - timedelta(seconds=1))
    await run_ended(operation="full_sync", started_at=slot + timedelta(seconds=1), status="failed")
    assert not await covered(Operation.FULL)
    await run_ended(operation="incremental_sync", scheduled_for=slot)
    assert await covered(Operation.INCREMENTAL)
    assert not await covered(Operation.FULL)
    await run_ended(operation="full_sync", started_at=slot + timedelta(seconds=1), status="partial")
    assert await covered(Operation.FULL)
    assert not await prospects.covered("fbe", Operation.FULL, slot)


async def test_some_pages_only_take_nothing_up(prospects: Prospects, run_ended: RunEnded, sql: Connection) -> None:
    """A run that was asked for a few pages leaves the scan that was cut short to be taken up."""
    await begin_scan(sql)
    await run_ended("timeout", pages_processed=5)
    await run_ended(status="completed", sync_params='{"max_pages": 1}')
    assert await prospects.continues_in("main") == 0.0
