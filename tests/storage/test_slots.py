"""A slot runs once, and what covers it; those that a clock set too far ahead has used are given back."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from emag_syncd.domain.runs import ErrorKind, Operation, RunError, Status
from emag_syncd.storage.database import Database
from emag_syncd.storage.ledger import Ledger
from tests.support.offers import Connection, by_hand, claimed

SLOT = datetime(2026, 5, 1, 4, 42, tzinfo=UTC)


def ahead(seconds: float) -> datetime:
    """Return the time in so many seconds."""
    return datetime.now(UTC) + timedelta(seconds=seconds)


@pytest.fixture
def ledger(database: Database) -> Ledger:
    """Give the ledger of a daemon."""
    return Ledger(database, worker_id="here/boot/1/2/abc", lease_seconds=60)


@pytest.mark.parametrize(
    ("seconds", "columns", "freed"),
    [
        (3600, {}, True),
        (-3600, {}, False),
        (20, {}, False),
        (3600, {"account_type": "fbe"}, False),
        (3600, {"sync_type": "orders"}, False),
    ],
)
async def test_slots_that_are_still_to_come(
    ledger: Ledger, sql: Connection, seconds: float, columns: dict[str, Any], *, freed: bool
) -> None:
    """Only the account's own runs that began more than a minute from now give their slots back, to who wants one."""
    run_id = await by_hand(sql, **{"status": "failed", "started_at": ahead(seconds), "scheduled_for": SLOT, **columns})
    slot = "SELECT scheduled_for FROM emag_sync_logs WHERE id = $1"
    lease = await claimed(ledger, operation=Operation.INCREMENTAL)
    assert await sql.fetchval(slot, run_id) == SLOT
    await ledger.end([lease.run_id], Status.CANCELLED, RunError(ErrorKind.CANCELLED, "as told"))
    await claimed(ledger, operation=Operation.INCREMENTAL, scheduled_for=SLOT)
    assert await sql.fetchval(slot, run_id) == (None if freed else SLOT)


@pytest.mark.parametrize(("seconds", "covered"), [(20, True), (3600, False)])
async def test_what_began_in_the_future_covers_nothing(
    ledger: Ledger, sql: Connection, seconds: float, *, covered: bool
) -> None:
    """It began before the clock was set back, whichever way it would cover the slot; a minute is believed."""
    for columns in ({"operation": "incremental_sync", "scheduled_for": SLOT}, {"operation": "full_sync"}):
        await by_hand(sql, status="completed", started_at=ahead(seconds), **columns)
        assert await ledger.slot_covered("main", Operation.INCREMENTAL, SLOT) is covered
        await sql.execute("DELETE FROM emag_sync_logs")


async def test_the_run_that_asks_does_not_count(ledger: Ledger, sql: Connection) -> None:
    """Whoever runs in a slot may ask whether another run covers it."""
    run_id = await by_hand(sql, operation="incremental_sync", scheduled_for=SLOT)
    assert await ledger.slot_covered("main", Operation.INCREMENTAL, SLOT)
    assert not await ledger.slot_covered("main", Operation.INCREMENTAL, SLOT, other_than=run_id)


FULL, INCREMENTAL = "full_sync", "incremental_sync"


@pytest.mark.parametrize(
    ("columns", "covered"),
    [
        ({"operation": INCREMENTAL, "scheduled_for": SLOT, "status": "failed"}, True),
        ({"operation": INCREMENTAL, "scheduled_for": SLOT + timedelta(hours=1)}, True),
        ({"operation": INCREMENTAL, "scheduled_for": SLOT - timedelta(hours=1)}, False),
        ({"operation": INCREMENTAL, "status": "completed"}, False),
        ({"operation": "selective_sync", "status": "completed"}, False),
        ({"operation": FULL, "status": "completed"}, True),
        ({"operation": FULL, "status": "partial"}, True),
        ({"operation": FULL, "status": "failed"}, False),
        ({"operation": FULL, "status": "running"}, False),
        ({"operation": FULL, "status": "completed", "sync_params": '{"max_pages": 1}'}, False),
        ({"operation": FULL, "status": "completed", "started_at": SLOT - timedelta(hours=1)}, False),
        ({"operation": FULL, "status": "completed", "account_type": "fbe"}, False),
        ({"operation": FULL, "status": "completed", "sync_type": "orders"}, False),
    ],
)
async def test_what_covers_a_slot(ledger: Ledger, sql: Connection, columns: dict[str, Any], *, covered: bool) -> None:
    """A slot had its run, or a later one, or a full one that began after it and was to read everything."""
    await by_hand(sql, **{"started_at": SLOT + timedelta(minutes=1), **columns})
    assert await ledger.slot_covered("main", Operation.INCREMENTAL, SLOT) is covered
