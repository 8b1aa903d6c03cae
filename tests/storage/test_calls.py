"""The call log: in order, bounded, never lost for an outage, and on the database's clock."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from emag_syncd.domain.calls import ApiCall, CallOutcome
from emag_syncd.domain.errors import DatabaseError
from emag_syncd.storage.calls import BATCH, CAPACITY, MOST_BODIES, CallLog
from emag_syncd.storage.database import Database
from tests.support.offers import Connection


def call(resource: str = "product_offer/read", *, age: float = 0, **told: Any) -> ApiCall:
    """Return a call that was begun ``age`` seconds ago."""
    outcome = told.pop("outcome", CallOutcome.OK)
    return ApiCall("main", resource, time.monotonic() - age, told.pop("duration", 0.25), outcome, **told)


@pytest.fixture
def log(database: Database) -> CallLog:
    """Give an empty log."""
    return CallLog(database)


@pytest.fixture
async def away(sql: Connection) -> Any:
    """Give a way to make the table unusable, and usable again."""

    async def switch(*, away: bool) -> None:
        names = ("emag_api_calls", "gone") if away else ("gone", "emag_api_calls")
        await sql.execute(f"ALTER TABLE {names[0]} RENAME TO {names[1]}")

    return switch


async def resources(sql: Connection) -> list[int]:
    """Return the resources that were logged, which the tests number, in the order in which they were written."""
    return [int(row["resource"]) for row in await sql.fetch("SELECT resource FROM emag_api_calls ORDER BY ctid")]


async def test_a_call_is_kept_whole(log: CallLog, sql: Connection) -> None:
    """Every column holds what its name says; what PostgreSQL can't hold is replaced."""
    run_id = uuid4()
    failed = call(
        params={"currentPage": 3, "status": 1},
        outcome=CallOutcome.SERVER_ERROR,
        status_code=502,
        response_bytes=2**40,
        messages=("a\x00b", "\\u0000"),
        body="<html>\x00",
    )
    log.add(failed, run_id)
    log.add(call("vat/read"), None)
    await log.flush()
    row, plain = await sql.fetch("SELECT * FROM emag_api_calls ORDER BY ctid")
    assert (row["account_type"], row["resource"], row["sync_log_id"]) == ("main", "product_offer/read", run_id)
    assert (row["status_code"], row["response_bytes"], row["is_error"]) == (502, 2**40, True)
    assert (row["outcome"], row["duration_ms"], row["body"]) == ("server_error", 250, "<html>\ufffd")
    assert msgspec.json.decode(row["params"]) == {"currentPage": 3, "status": 1}
    assert msgspec.json.decode(row["messages"]) == ["a\ufffdb", "\\u0000"]
    assert (plain["is_error"], plain["outcome"], plain["messages"], plain["body"]) == (False, "ok", "[]", None)
    assert [plain[name] for name in ("sync_log_id", "status_code", "response_bytes")] == [None] * 3


async def test_calls_are_written_in_order(log: CallLog, sql: Connection) -> None:
    """Over several batches, each call once."""
    for n in range(2 * BATCH + 7):
        log.add(call(str(n)), None)
    await log.flush()
    await log.flush()
    assert await resources(sql) == [*range(2 * BATCH + 7)]


async def test_the_time_is_the_database_s(log: CallLog, sql: Connection) -> None:
    """A call that waited for its flush has its own time, counted back from the database's clock."""
    log.add(call(age=3600), None)
    before: datetime = await sql.fetchval("SELECT clock_timestamp()")
    await log.flush()
    after: datetime = await sql.fetchval("SELECT clock_timestamp()")
    called_at: datetime = await sql.fetchval("SELECT called_at FROM emag_api_calls")
    hour = timedelta(hours=1)
    assert before - hour - timedelta(seconds=30) < called_at <= after - hour
    assert called_at.astimezone(UTC) < before


async def test_a_failed_flush_keeps_everything(log: CallLog, sql: Connection, away: Any) -> None:
    """What was not written waits, in its place, and what comes meanwhile goes behind it."""
    for n in range(3):
        log.add(call(str(n)), None)
    await away(away=True)
    for n in range(3, 5):
        with pytest.raises(DatabaseError):
            await log.flush()
        log.add(call(str(n)), None)
    await away(away=False)
    await log.flush()
    assert await resources(sql) == [*range(5)]
    assert log.dropped == 0


async def test_the_oldest_go_when_it_is_full(log: CallLog, sql: Connection) -> None:
    """While the database is away the memory is bounded, and it is counted what that costs."""
    for n in range(CAPACITY + 3):
        log.add(call(str(n)), None)
    assert log.dropped == 3
    await log.flush()
    assert await resources(sql) == [*range(3, CAPACITY + 3)]


async def test_the_bound_holds_across_a_failed_flush(database: Database) -> None:
    """Calls that come while a batch is being written in vain do not make room for themselves for nothing."""
    log: CallLog

    class Away:
        def use(self) -> Any:
            for n in range(BATCH):
                log.add(call(f"late {n}"), None)
            raise DatabaseError("away")

    log = CallLog(Away())
    for n in range(CAPACITY):
        log.add(call(str(n)), None)
    with pytest.raises(DatabaseError):
        await log.flush()
    assert (len(log._waiting), log.dropped) == (CAPACITY, BATCH)
    assert log._waiting[0][0].resource == str(BATCH)


async def test_a_flush_ends_however_many_calls_come(database: Database, sql: Connection) -> None:
    """What comes while it writes is left to the next one: with many accounts there is always more."""
    log: CallLog

    class Busy:
        def use(self) -> Any:
            log.add(call("9"), None)
            return database.use()

    log = CallLog(Busy())
    log.add(call("0"), None)
    await log.flush()
    assert await resources(sql) == [0]
    await log.flush()
    assert await resources(sql) == [0, 9]


async def test_answers_that_wait_are_bounded(log: CallLog, sql: Connection) -> None:
    """Beyond so much text calls wait without their answers; once those are written there is room again."""
    body = "x" * (MOST_BODIES // 4)
    for _ in range(2):
        for n in range(6):
            log.add(call(str(n), outcome=CallOutcome.SERVER_ERROR, body=body), None)
        await log.flush()
    rows = await sql.fetch("SELECT body IS NULL AS bare FROM emag_api_calls ORDER BY ctid")
    assert [row["bare"] for row in rows] == [False, False, False, False, True, True] * 2
