"""Receivers that fail, dawdle or are gone: none costs more than its own messages, and none is tried for ever."""

import asyncio
from typing import Any

import pytest
import structlog
from aiohttp import web

from emag_syncd.notify.webhooks import Patience
from emag_syncd.storage.database import Database
from tests.notify.support import delivering, empty, end_runs, every, sample, wanting
from tests.support.offers import Connection
from tests.support.receiver import Receiver, receiving
from tests.support.waiting import until


async def test_a_receiver_that_is_gone_is_disabled(database: Database, receiver: Receiver, sql: Connection) -> None:
    """After 410 nothing is sent nor written for it, what waited is dead, and ``retry`` brings all of it back."""
    receiver.reply = lambda _: 410
    async with delivering(database, wanting(receiver.url)) as deliverer:
        with structlog.testing.capture_logs() as logged:
            await end_runs(sql, 3)
            await empty(sql)
            await until(lambda: "webhook_gone" in [line["action"] for line in logged])
        assert 1 <= len(receiver.heard) <= 2
        assert "t0ken" not in str(logged)
        before = await sql.fetchval("SELECT count(*) FROM emag_webhook_outbox WHERE last_error LIKE '%410%'")
        await end_runs(sql, 2)
        assert await sql.fetchval("SELECT count(*) FROM emag_webhook_outbox") == before
        assert sample(deliverer, "emag_webhook_deliveries_total", outcome="dead") == before
        receiver.reply = lambda _: 200
        assert await deliverer._outbox.retry() == (before, 1)
        await empty(sql, "true")
    assert len(receiver.accepted) == before


@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_is_kept(database: Database, receiver: Receiver, sql: Connection, status: int) -> None:
    """The next attempt is due when the receiver says so, not before."""
    receiver.reply = lambda _: web.Response(status=status, headers={"Retry-After": "1800"})
    async with delivering(database, wanting(receiver.url)):
        await end_runs(sql, 1)
        due = await until(
            lambda: sql.fetchval(
                "SELECT extract(epoch FROM next_attempt_at - clock_timestamp())::int FROM emag_webhook_outbox"
            )
        )
    assert 1700 < due <= 1800
    assert len(receiver.heard) == 1


def test_waits_grow_up_to_a_limit() -> None:
    """Fourfold each time, with some chance in it, up to two hours."""
    patience = Patience()
    for attempts, longest in ((0, 5), (1, 20), (2, 80), (5, 5120), (6, 7200), (1000, 7200)):
        assert all(0.8 * longest <= patience.wait(attempts, None) <= longest for _ in range(20))
    assert patience.wait(0, 600.0) == 600.0


async def test_a_slow_receiver_costs_its_time_limit(database: Database, receiver: Receiver, sql: Connection) -> None:
    """An answer that does not come ends the attempt, and syncs don't wait for any of it."""

    async def never(_: Any) -> int:
        await asyncio.Event().wait()
        return 200

    receiver.reply = never
    patience = Patience(attempt=0.2, first_wait=0.01, longest_wait=0.02)
    async with delivering(database, wanting(receiver.url), patience=patience):
        await end_runs(sql, 2)
        said = await until(lambda: sql.fetchval("SELECT last_error FROM emag_webhook_outbox WHERE attempts > 1"))
        assert said == "no answer within 0.2 seconds"
        receiver.reply = lambda _: 200
        await empty(sql)
    assert receiver.types() == ["sync.completed"] * 2


async def test_an_endless_answer_is_not_read(database: Database, receiver: Receiver, sql: Connection) -> None:
    """The status is all that counts: the next message goes out while the body would still come."""
    written = 0

    async def endless(message: Any) -> web.StreamResponse:
        nonlocal written
        response = web.StreamResponse()
        await response.prepare(receiver.requests[message.id])
        receiver.accepted.append(message)
        try:
            while True:
                await response.write(b"x" * 65536)
                written += 65536
                await asyncio.sleep(0)
        except ConnectionError:
            return response

    receiver.reply = endless
    async with delivering(database, wanting(receiver.url)):
        await end_runs(sql, 3)
        await empty(sql)
    assert receiver.types() == ["sync.completed"] * 3
    assert written < 3 * 16 * 2**20


async def test_redirects_are_refused(database: Database, receiver: Receiver, sql: Connection) -> None:
    """A receiver can't send the daemon elsewhere; the message says what to do."""
    async with receiving() as other:
        receiver.reply = lambda _: web.Response(status=307, headers={"Location": other.url})
        async with delivering(database, wanting(receiver.url)):
            await end_runs(sql, 1)
            said = await until(lambda: sql.fetchval("SELECT last_error FROM emag_webhook_outbox"))
        assert said == "answered 307: redirects are not followed; put the new address into webhooks.urls"
        assert not other.heard


async def test_what_never_arrives_is_given_up(database: Database, receiver: Receiver, sql: Connection) -> None:
    """After three days of failures a message is dead, and stays for ``retry``; a younger one goes on."""
    receiver.reply = lambda _: 500
    async with delivering(database, wanting(receiver.url)) as deliverer:
        old, older_lane, young = [*await end_runs(sql, 2), *await end_runs(sql, 1)]
        await until(lambda: sql.fetchval("SELECT attempts > 0 FROM emag_webhook_outbox ORDER BY id LIMIT 1"))
        await sql.execute(
            "UPDATE emag_webhook_outbox SET created_at = created_at - interval '4 days' WHERE sync_log_id = ANY ($1)",
            [old, older_lane],
        )
        assert await sql.fetchval("SELECT count(*) FROM emag_webhook_outbox WHERE dead_at IS NOT NULL") == 0
        await sql.execute(
            "UPDATE emag_webhook_outbox SET failing_since = failing_since - interval '73 hours'"
            " WHERE failing_since IS NOT NULL"
        )
        await empty(sql, f"dead_at IS NULL AND sync_log_id <> '{young}'")
        await until(lambda: young in [one.body["data"]["run"]["id"] for one in receiver.heard])
        # Each was tried at least once before it was given up.
        assert {one.body["data"]["run"]["id"] for one in receiver.heard} == {old, older_lane, young}
        assert sample(deliverer, "emag_webhook_deliveries_total", outcome="dead") == 2
        backlog = await deliverer._outbox.backlog()
        assert (backlog.pending, backlog.dead) == (1, 2)
        receiver.reply = lambda _: 200
        assert await deliverer._outbox.retry() == (2, 0)
        await empty(sql, "true")
    assert {one.body["data"]["run"]["id"] for one in receiver.accepted} == {old, older_lane, young}


async def test_a_deliverer_that_was_away_gives_up_nothing(
    database: Database, receiver: Receiver, sql: Connection
) -> None:
    """Events older than three days that were never tried get their time."""
    async with delivering(database, wanting(receiver.url), turning=False):
        await end_runs(sql, 1)
    await sql.execute("UPDATE emag_webhook_outbox SET created_at = created_at - interval '9 days'")
    receiver.reply = every(2, 500)
    async with delivering(database, wanting(receiver.url)):
        await empty(sql, "true")
    assert len(receiver.accepted) == 1
