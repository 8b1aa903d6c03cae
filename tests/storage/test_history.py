"""Runs as people look back at them."""

from uuid import UUID

import pytest

from emag_syncd.domain.runs import Operation, Status
from emag_syncd.storage.database import Database
from emag_syncd.storage.history import History, Mark, RunFilter
from tests.support.offers import Connection

RUN = UUID(int=1)
# Three begin at the same moment: then the id decides.
RUNS = """
INSERT INTO emag_sync_logs (id, account_type, operation, status, started_at, completed_at)
SELECT ('00000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid, CASE WHEN n = 5 THEN 'fbe' ELSE 'main' END,
    CASE WHEN n % 2 = 0 THEN 'full_sync' ELSE 'incremental_sync' END,
    CASE WHEN n = 4 THEN 'failed' ELSE 'completed' END,
    '2026-03-01Z'::timestamptz + greatest(n, 3) * interval '1 hour',
    '2026-03-01Z'::timestamptz + (greatest(n, 3) + 1) * interval '1 hour'
FROM generate_series(1, 5) AS n
"""


@pytest.fixture
async def history(database: Database, sql: Connection) -> History:
    """Give the history of the runs above."""
    await sql.execute(RUNS)
    return History(database)


async def test_pages_leave_nothing_out_and_repeat_nothing(history: History) -> None:
    """However small the pages are, runs of the same moment included."""
    seen: list[int] = []
    mark = None
    while rows := await history.runs(RunFilter(), limit=1, after=mark):
        seen.append(rows[-1]["id"].int)
        mark = Mark(rows[-1]["started_at"], rows[-1]["id"])
    assert seen == [5, 4, 1, 2, 3]


async def test_filters_hold_for_the_list_and_for_the_durations(history: History, sql: Connection) -> None:
    """What is not wanted is in neither; what still runs has no duration."""
    await sql.execute("INSERT INTO emag_sync_logs (account_type, operation) VALUES ('main', 'full_sync')")
    since = await sql.fetchval("SELECT '2026-03-01 04:00Z'::timestamptz")
    for wanted, ids in (
        (RunFilter(account="fbe"), {5}),
        (RunFilter(operation=Operation.INCREMENTAL), {5, 1, 3}),
        (RunFilter(status=Status.FAILED), {4}),
        (RunFilter(since=since, operation=Operation.FULL, status=Status.FAILED), {4}),
        (RunFilter(since=since, account="main", status=Status.COMPLETED), set()),
    ):
        assert {row["id"].int for row in await history.runs(wanted, limit=10)} == ids
        assert {row["id"].int for row in await history.durations(wanted, limit=10)} == ids
    assert len(await history.runs(RunFilter(), limit=10)) == 6
    assert len(await history.durations(RunFilter(), limit=10)) == 5


async def test_the_last_run_of_each_account_that_ended(history: History, sql: Connection) -> None:
    """An account that never ran is left out; what runs now does not count."""
    await sql.execute("INSERT INTO emag_sync_logs (account_type, operation) VALUES ('main', 'full_sync')")
    ended = await history.last_ended(["main", "fbe", "none"])
    assert {account: row["id"].int for account, row in ended.items()} == {"main": 4, "fbe": 5}


async def test_what_belongs_to_a_run(history: History, sql: Connection) -> None:
    """Its calls, changes and rejects, and nobody else's."""
    (run,) = [row for row in await history.runs(RunFilter(), limit=9) if row["id"] == RUN]
    for run_id, error in ((RUN, True), (RUN, False), (UUID(int=2), True)):
        await sql.execute(
            "INSERT INTO emag_api_calls (called_at, sync_log_id, duration_ms, is_error, account_type,"
            " resource, outcome) VALUES ($1, $2, 5, $3, 'main', 'x', 'ok')",
            run["started_at"],
            run_id,
            error,
        )
        await sql.execute(
            "INSERT INTO emag_product_changes (emag_id, sync_log_id, changed_at, account_type, kind)"
            " VALUES (7, $2, $1, 'main', 'created')",
            run["started_at"],
            run_id,
        )
        await sql.execute(
            "INSERT INTO emag_sync_rejects (sync_log_id, account_type, reason, raw) VALUES ($1, 'main', 'x', '')",
            run_id,
        )
    assert len(await history.calls(run, limit=9)) == 2
    assert [call["is_error"] for call in await history.calls(run, limit=9, errors_only=True)] == [True]
    assert await history.calls(run, limit=9, before=run["started_at"]) == []
    assert len(await history.changes(run, limit=9)) == 2
    assert len(await history.rejects(RUN, limit=9)) == 2


async def test_a_scan_is_there_until_it_is_done(history: History, sql: Connection) -> None:
    """What its pages cover is summed up, those of earlier passes left out."""
    scan = await sql.fetchval(
        "INSERT INTO emag_sync_scans (account_type, operation, pass) VALUES ('main', 'full_sync', 2) RETURNING id"
    )
    await sql.execute(
        "INSERT INTO emag_sync_scan_pages VALUES ($1, 1, 0, 100, 0, '{}'), ($1, 2, 0, 100, 0, '{}'),"
        " ($1, 2, 100, 150, 0, '{}')",
        scan,
    )
    found = await history.scan(scan)
    assert found is not None
    assert (found["pass"], found["pages"], found["offers"]) == (2, 2, 150)
    assert await history.scan(UUID(int=9)) is None
