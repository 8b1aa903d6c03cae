"""The operator's plain SQL is a supported interface: whatever rows hold, the ledger goes on."""

from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import msgspec
import pytest

from emag_syncd.domain.errors import BusyError, DatabaseError, FencedError
from emag_syncd.domain.runs import Counters, ErrorKind, Operation, Outcome, RunError, Status
from emag_syncd.storage.database import Database
from emag_syncd.storage.ledger import Ledger
from emag_syncd.storage.mirror import Mirror
from emag_syncd.storage.scans import Scans
from tests.support.offers import (
    PROGRESS,
    STALE_AFTER,
    Connection,
    by_hand,
    claimed,
    creating,
    expire,
    grow_old,
    offer,
    rows,
)

SLOT = datetime(2026, 5, 1, 4, 42, tzinfo=UTC)
ODD_ERRORS = [
    "'[]'",
    """'["a string"]'""",
    """'[1, null, [2], {"kind": 7}, {"kind": {"deep": true}}]'""",
    """'{"error": "an object"}'""",
    "'null'",
    "'7'",
    "'\"a string\"'",
    "jsonb_build_array('stopped by hand', now(), jsonb_build_object('by', current_user))",
]


@pytest.fixture
def ledger(database: Database) -> Ledger:
    """Give the ledger of a daemon."""
    return Ledger(database, worker_id="here/boot/1/2/abc", lease_seconds=60)


async def reads_everything(ledger: Ledger) -> None:
    """Call every method that reads: none may stumble over a row."""
    await ledger.running()
    await ledger.progress()
    await ledger.last_runs()
    await ledger.held_by("")
    await ledger.stale_count(stale_after_seconds=STALE_AFTER)
    await ledger.slot_covered("main", Operation.FULL, SLOT)
    assert all(isinstance(when, datetime) for when in (await ledger.last_successes()).values())
    assert all(isinstance(run["age_seconds"], float) for run in await ledger.outcomes("main", 10))
    for row in await ledger.history(limit=100):
        msgspec.json.decode(row["errors"])


async def test_a_running_row_by_hand(ledger: Ledger, sql: Connection) -> None:
    """Five columns are enough; it blocks the account like any run and can be cancelled like any."""
    run_id = await by_hand(sql, sync_type="products", status="running", started_at=datetime.now(UTC))
    with pytest.raises(BusyError) as caught:
        await claimed(ledger)
    assert caught.value.run_id == run_id
    await reads_everything(ledger)
    (row,) = await ledger.end([run_id], Status.CANCELLED, RunError(ErrorKind.CANCELLED, "enough"))
    assert row["completed_at"] >= row["started_at"]
    assert row["duration_seconds"] >= 0
    assert row["worker_id"] is None
    await claimed(ledger)


async def test_a_row_of_another_sync_type(ledger: Ledger, sql: Connection) -> None:
    """Other programs may keep their runs here too: they don't block ours."""
    await by_hand(sql, sync_type="orders")
    await claimed(ledger)
    assert len(await ledger.running()) == 2
    await reads_everything(ledger)


@pytest.mark.parametrize("status", ["completed", "partial", "failed", "cancelled"])
async def test_an_ended_row_by_hand(ledger: Ledger, sql: Connection, status: str) -> None:
    """A row that was inserted as ended says nothing of when: its start stands in."""
    await by_hand(sql, status=status, started_at=SLOT)
    await reads_everything(ledger)
    assert (await ledger.outcomes("main", 1))[0]["age_seconds"] > 0
    expected = {("main", Operation.FULL): SLOT} if status == "completed" else {}
    assert await ledger.last_successes() == expected
    await claimed(ledger)


@pytest.mark.parametrize("errors", ODD_ERRORS)
async def test_failed_by_hand_with_any_errors(ledger: Ledger, database: Database, sql: Connection, errors: str) -> None:
    """The run is fenced at once, its row says when it ended, and everything that reads takes its errors."""
    lease = await claimed(ledger)
    await sql.execute(f"UPDATE emag_sync_logs SET status = 'failed', errors = {errors} WHERE status = 'running'")
    with pytest.raises(FencedError):
        await Mirror(database, lease_seconds=60).commit(lease, None, creating(offer(1)), PROGRESS, commits=0)
    assert await ledger.beat([lease]) == set()
    row = await ledger.get(lease.run_id)
    assert row is not None
    assert (row["lease_token"], row["lease_expires_at"]) == (None, None)
    assert row["duration_seconds"] == pytest.approx((row["completed_at"] - row["started_at"]).total_seconds())
    await reads_everything(ledger)
    await claimed(ledger)


@pytest.mark.parametrize("errors", ODD_ERRORS)
async def test_our_errors_come_after_any_others(ledger: Ledger, sql: Connection, errors: str) -> None:
    """Whatever stood in ``errors`` while the run went on, its end is recorded behind it."""
    kinds = {}
    for end in ("finish", "reap", "end"):
        lease = await claimed(ledger)
        await sql.execute(f"UPDATE emag_sync_logs SET errors = {errors} WHERE id = $1", lease.run_id)
        if end == "finish":
            await ledger.finish(lease, Outcome.of(Status.FAILED, ErrorKind.PROTOCOL, "odd"), Counters())
        elif end == "reap":
            await expire(sql, lease)
            await ledger.reap(stale_after_seconds=STALE_AFTER)
        else:
            await ledger.end([lease.run_id], Status.CANCELLED, RunError(ErrorKind.CANCELLED, "enough"))
        kinds[end] = (await ledger.outcomes("main", 1))[0]["kind"]
    assert kinds == {"finish": "protocol", "reap": "stale", "end": "cancelled"}


async def test_an_end_by_hand_with_its_own_times(ledger: Ledger, sql: Connection) -> None:
    """What the operator says of the end is kept."""
    lease = await claimed(ledger)
    row = await sql.fetchrow(
        "UPDATE emag_sync_logs SET status = 'completed', completed_at = started_at + interval '5s' RETURNING *"
    )
    assert row is not None
    assert row["duration_seconds"] == 5
    assert await ledger.finish(lease, Outcome(Status.FAILED), Counters()) is None
    assert (await ledger.last_successes())["main", Operation.FULL] == row["completed_at"]


@pytest.mark.parametrize("end", ["finish", "reap", "by hand"])
async def test_a_clock_set_back_in_mid_run(ledger: Ledger, sql: Connection, end: str) -> None:
    """A run that ends an hour before it began took no time, whoever ends it."""
    lease = await claimed(ledger)
    await grow_old(sql, lease.run_id, -3600)
    if end == "finish":
        await ledger.finish(lease, Outcome(Status.COMPLETED), Counters())
    elif end == "reap":
        await expire(sql, lease)
        await ledger.reap(stale_after_seconds=STALE_AFTER)
    else:
        await sql.execute("UPDATE emag_sync_logs SET status = 'failed'")
    row = await ledger.get(lease.run_id)
    assert row is not None
    assert row["completed_at"] < row["started_at"]
    assert row["duration_seconds"] == 0


async def test_back_to_running_by_hand(ledger: Ledger, database: Database, sql: Connection) -> None:
    """The run does not come back to life: nobody holds its lease, and it is stale in its time."""
    lease = await claimed(ledger)
    await sql.execute("UPDATE emag_sync_logs SET status = 'failed'")
    await sql.execute("UPDATE emag_sync_logs SET status = 'running'")
    before = await rows(sql)
    assert await ledger.beat([lease]) == set()
    mirror = Mirror(database, lease_seconds=60)
    assert await mirror.commits_of(lease) is None
    with pytest.raises(FencedError):
        await mirror.commit(lease, None, creating(offer(1)), PROGRESS, commits=0)
    with pytest.raises(FencedError):
        await Scans(database).open(lease, resume_within_seconds=60)
    assert await ledger.finish(lease, Outcome(Status.COMPLETED), Counters()) is None
    assert await ledger.reap(stale_after_seconds=STALE_AFTER) == []
    assert await rows(sql) == before
    await reads_everything(ledger)
    await grow_old(sql, lease.run_id, STALE_AFTER + 1)
    (row,) = await ledger.reap(stale_after_seconds=STALE_AFTER)
    assert row["id"] == lease.run_id


@pytest.mark.parametrize(
    ("part", "statement"),
    [
        ("emag_sync_logs_one_running", "DROP INDEX emag_sync_logs_one_running"),
        ("emag_sync_logs_one_per_slot", "DROP INDEX emag_sync_logs_one_per_slot"),
        ("emag_sync_logs_status_changed", "DROP TRIGGER emag_sync_logs_status_changed ON emag_sync_logs"),
        ("emag_sync_logs_ended", "DROP TRIGGER emag_sync_logs_ended ON emag_sync_logs"),
    ],
)
async def test_a_ledger_in_parts(ledger: Ledger, sql: Connection, part: str, statement: str) -> None:
    """Where a rule of the ledger is missing no run begins: rows that break it would keep it from being made."""
    await sql.execute(statement)
    with pytest.raises(DatabaseError, match=f"not whole: {part} is missing"):
        await claimed(ledger, "main")
    assert await ledger.running() == []


async def test_a_deleted_run(ledger: Ledger, database: Database, sql: Connection) -> None:
    """A row that is deleted under a run ends it, and frees the account and the slot."""
    lease = await claimed(ledger, scheduled_for=SLOT)
    await sql.execute("DELETE FROM emag_sync_logs")
    with pytest.raises(FencedError):
        await Mirror(database, lease_seconds=60).commit(lease, None, creating(offer(1)), PROGRESS, commits=0)
    assert await ledger.beat([lease]) == set()
    assert await ledger.finish(lease, Outcome(Status.COMPLETED), Counters()) is None
    assert await ledger.get(lease.run_id) is None
    await claimed(ledger, scheduled_for=SLOT)


@pytest.mark.parametrize(
    "columns", [{"status": "done"}, {"operation": "sync"}, {"started_at": None}, {"account": None}]
)
async def test_rows_that_make_no_sense_are_refused(sql: Connection, columns: dict[str, Any]) -> None:
    """An unknown status or operation, no start, no account: nothing could work with them."""
    with pytest.raises(asyncpg.IntegrityConstraintViolationError):
        await by_hand(sql, **columns)


@pytest.mark.parametrize("column", ["started_at", "completed_at"])
@pytest.mark.parametrize("moment", ["infinity", "-infinity"])
async def test_times_without_end_are_refused(ledger: Ledger, sql: Connection, column: str, moment: str) -> None:
    """No age can be told from them, and one such row would stop the watchdog and the schedule."""
    await claimed(ledger)
    with pytest.raises(asyncpg.CheckViolationError, match="emag_sync_logs_finite"):
        await sql.execute(f"UPDATE emag_sync_logs SET {column} = '{moment}'")
    with pytest.raises(asyncpg.CheckViolationError, match="emag_sync_logs_finite"):
        await sql.execute(
            f"INSERT INTO emag_sync_logs (account_type, operation, status, {column})"
            f" VALUES ('fbe', 'full_sync', 'failed', '{moment}')"
        )
    await reads_everything(ledger)


# What the ledger tells


async def test_history_is_paged_and_filtered(ledger: Ledger, sql: Connection) -> None:
    """The newest first, by account and status, and on from where the last page ended."""
    for n in range(6):
        status = "failed" if n % 2 else "completed"
        await by_hand(sql, "main" if n < 4 else "fbe", status=status, started_at=SLOT + timedelta(hours=n))

    async def hours(**wanted: Any) -> list[float]:
        found = await ledger.history(**{"limit": 10, **wanted})
        return [(row["started_at"] - SLOT) / timedelta(hours=1) for row in found]

    assert await hours() == [5, 4, 3, 2, 1, 0]
    assert await hours(limit=2, before=SLOT + timedelta(hours=4)) == [3, 2]
    assert await hours(account="main") == [3, 2, 1, 0]
    assert await hours(account="main", status=Status.FAILED) == [3, 1]
    assert await hours(account="nobody") == []


async def test_last_runs_and_successes(ledger: Ledger, sql: Connection) -> None:
    """Of each account's operations how the one that began last ended, and when the last success did."""
    for n, status in enumerate(["completed", "completed", "failed"]):
        began = SLOT - timedelta(hours=n)
        await by_hand(sql, status=status, started_at=began, completed_at=SLOT + timedelta(hours=n))
        await by_hand(sql, "fbe", status=status, started_at=SLOT + timedelta(hours=n), operation="incremental_sync")
    await by_hand(sql)
    assert await ledger.last_successes() == {
        ("main", Operation.FULL): SLOT + timedelta(hours=1),
        ("fbe", Operation.INCREMENTAL): SLOT + timedelta(hours=1),
    }
    assert [tuple(row) for row in await ledger.last_runs()] == [
        ("fbe", "incremental_sync", "failed"),
        ("main", "full_sync", "completed"),
    ]


async def test_outcomes_tell_the_kind_of_the_last_error(ledger: Ledger, sql: Connection) -> None:
    """The newest first, without the run that goes on, with pages and age."""
    for n, errors in enumerate([b'[{"kind": "timeout"}, {"kind": "credentials"}]', b"[]"]):
        await by_hand(
            sql, status="failed", started_at=SLOT + timedelta(hours=n), pages_processed=n, errors=errors.decode()
        )
    await by_hand(sql)
    found = await ledger.outcomes("main", 5)
    assert [(run["kind"], run["pages_processed"]) for run in found] == [(None, 1), ("credentials", 0)]
    assert len(await ledger.outcomes("main", 1)) == 1


async def test_a_row_set_back_to_running_begins_anew(ledger: Ledger, sql: Connection) -> None:
    """It has no end and no owner, and its second end is recorded like any other."""
    lease = await claimed(ledger, "main")
    ended = await ledger.finish(lease, Outcome(Status.COMPLETED), Counters())
    assert ended is not None
    await sql.execute("UPDATE emag_sync_logs SET status = 'running'")
    row = await sql.fetchrow("SELECT completed_at, duration_seconds, lease_token FROM emag_sync_logs")
    assert row is not None
    assert list(row) == [None, None, None]
    await sql.execute("UPDATE emag_sync_logs SET status = 'failed'")
    assert await sql.fetchval("SELECT completed_at FROM emag_sync_logs") > ended["completed_at"]
