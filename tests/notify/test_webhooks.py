"""Webhooks: every event arrives, in order and signed, whatever the receiver does meanwhile."""

import asyncio
import base64
import random
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
import structlog
from aiohttp import web
from standardwebhooks import Webhook

from emag_syncd.domain.runs import Counters, ErrorKind, Outcome, Status
from emag_syncd.notify.webhooks import Patience
from emag_syncd.storage.database import Database
from emag_syncd.storage.ledger import Ledger
from emag_syncd.storage.mirror import Mirror
from tests.notify.support import PATIENCE, delivering, empty, end_runs, every, sample, wanting
from tests.support.offers import PROGRESS, Connection, claimed, creating, offer, removing
from tests.support.receiver import SECRET, Receiver, receiving
from tests.support.scale import scaled
from tests.support.waiting import until

ACCOUNTS = ("main", "fbe", "third")


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Give a receiver that takes everything."""
    async with receiving() as receiver:
        yield receiver


@pytest.fixture
def ledger(database: Database) -> Ledger:
    """Give a ledger."""
    return Ledger(database, worker_id="w", lease_seconds=60)


async def test_a_run_is_told_of_as_it_was(
    database: Database, ledger: Ledger, receiver: Receiver, sql: Connection
) -> None:
    """Its changes page by page, then its end with stats and errors: each in an envelope of its own, verified."""
    async with delivering(database, wanting(receiver.url)):
        lease = await claimed(ledger)
        mirror = Mirror(database, lease_seconds=60)
        await mirror.commit(lease, None, creating(offer(1, name="a"), offer(2, name="b")), PROGRESS, commits=0)
        await mirror.commit(lease, None, removing(2), PROGRESS, commits=1)
        await ledger.finish(lease, Outcome.of(Status.PARTIAL, ErrorKind.REMOVAL_GUARD, "too many"), Counters())
        await sql.execute("UPDATE emag_sync_logs SET created_items = 99")
        await empty(sql)
    assert receiver.types() == ["product.changed", "product.changed", "sync.partial"]
    first, second, last = (message.body["data"] for message in receiver.accepted)
    assert [(one["emag_id"], one["kind"]) for one in first["changes"]] == [(1, "created"), (2, "created")]
    assert first["changes"][0]["changes"] == {"name": {"old": None, "new": "a"}}
    assert [(one["emag_id"], one["kind"]) for one in second["changes"]] == [(2, "removed")]
    assert first["run"]["id"] == last["run"]["id"] == str(lease.run_id)
    assert (last["account"], last["run"]["status"]) == ("main", "partial")
    assert (last["stats"]["created_items"], last["stats"]["removed_items"]) == (2, 1)
    assert [error["kind"] for error in last["errors"]] == ["removal_guard"]
    assert "lease_token" not in str(last)
    assert all(message.headers["User-Agent"].startswith("emag-syncd/") for message in receiver.heard)


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
async def test_an_end_by_hand_is_told_of_too(
    database: Database, receiver: Receiver, sql: Connection, status: str
) -> None:
    """An operator's plain UPDATE gives the event, by a role that has no rights on the outbox as well."""
    role = f"operator_{abs(hash((status, receiver.url)))}"
    async with delivering(database, wanting(receiver.url)):
        await sql.execute(f"CREATE ROLE {role}; GRANT SELECT, INSERT, UPDATE ON emag_sync_logs TO {role}")
        try:
            await sql.execute(f"SET ROLE {role}")
            await end_runs(sql, 1, status=status)
        finally:
            await sql.execute(f"RESET ROLE; DROP OWNED BY {role}; DROP ROLE {role}")
        await empty(sql)
    assert receiver.types() == [f"sync.{status}"]


async def test_nothing_is_written_without_receivers(database: Database, ledger: Ledger, sql: Connection) -> None:
    """Where no webhooks are configured anywhere the outbox stays empty."""
    lease = await claimed(ledger)
    await Mirror(database, lease_seconds=60).commit(lease, None, creating(offer(1)), PROGRESS, commits=0)
    await ledger.finish(lease, Outcome(Status.COMPLETED), Counters())
    assert await sql.fetchval("SELECT count(*) FROM emag_webhook_outbox") == 0


async def test_an_event_is_as_good_as_its_transaction(database: Database, sql: Connection, receiver: Receiver) -> None:
    """An end that is rolled back is not told of."""
    async with delivering(database, wanting(receiver.url), turning=False):
        transaction = sql.transaction()
        await transaction.start()
        await end_runs(sql, 1)
        assert await sql.fetchval("SELECT count(*) FROM emag_webhook_outbox") == 1
        await transaction.rollback()
        assert await sql.fetchval("SELECT count(*) FROM emag_webhook_outbox") == 0


async def test_a_receiver_that_fails_half_the_time(
    database: Database, receiver: Receiver, sql: Connection, record_property: Any
) -> None:
    """Every event arrives, in its account's order, none forged, and none twice without the same id."""
    chance = random.Random(7)

    def reply(_: Any) -> Any:
        return 200 if chance.random() < 0.5 else chance.choice([500, 503, 302, 404, 429])

    receiver.reply = reply
    count = scaled(40)
    async with delivering(database, wanting(receiver.url)), delivering(database, wanting(receiver.url)):
        runs = {account: await end_runs(sql, count, account) for account in ACCOUNTS}
        await empty(sql, within=55)
    for account in ACCOUNTS:
        taken = [message.body["data"]["run"]["id"] for message in receiver.accepted if message.account == account]
        assert list(dict.fromkeys(taken)) == runs[account]
        # A message that failed holds back the next ones: first attempts are in order too.
        seen = [message.body["data"]["run"]["id"] for message in receiver.heard if message.account == account]
        assert list(dict.fromkeys(seen)) == runs[account]
    ids: dict[str, set[str]] = {}
    for message in receiver.heard:
        ids.setdefault(message.key, set()).add(message.id)
    assert all(len(of_one) == 1 for of_one in ids.values())
    assert len({next(iter(one)) for one in ids.values()}) == count * len(ACCOUNTS)
    assert len(receiver.heard) > len(receiver.accepted)
    record_property("attempts", len(receiver.heard))


async def test_two_daemons_share_the_work(database: Database, receiver: Receiver, sql: Connection) -> None:
    """Of a lane only one message is under way at a time, whoever sends it, and each is sent once."""
    under_way: Counter[str] = Counter()
    most: Counter[str] = Counter()

    async def reply(message: Any) -> int:
        under_way[message.account] += 1
        most[message.account] = max(most[message.account], under_way[message.account])
        await asyncio.sleep(0.005)
        under_way[message.account] -= 1
        return 200

    receiver.reply = reply
    async with delivering(database, wanting(receiver.url)), delivering(database, wanting(receiver.url)):
        for account in ACCOUNTS:
            await end_runs(sql, 15, account)
        await empty(sql)
    assert most == dict.fromkeys(ACCOUNTS, 1)
    assert len(receiver.heard) == len({message.id for message in receiver.heard}) == 15 * len(ACCOUNTS)


async def test_each_receiver_has_lanes_of_its_own(database: Database, receiver: Receiver, sql: Connection) -> None:
    """One that is down holds back nobody else."""
    async with receiving() as down:
        down.reply = lambda _: 500
        async with delivering(database, wanting(down.url, receiver.url)):
            runs = await end_runs(sql, 5)
            await until(lambda: len(receiver.accepted) == 5)
            assert {message.body["data"]["run"]["id"] for message in down.heard} <= {runs[0]}
            down.reply = lambda _: 200
            await empty(sql)
        assert len(down.accepted) == 5


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


async def test_a_secret_is_replaced_without_a_gap(database: Database, receiver: Receiver, sql: Connection) -> None:
    """While both are configured each message has two signatures: receivers with either take it."""
    new = "whsec_" + base64.b64encode(bytes(range(32))).decode()
    async with delivering(database, wanting(receiver.url, secret=f"{new} {SECRET}")):
        await end_runs(sql, 1)
        await empty(sql)
        receiver.secret = new
        await end_runs(sql, 1)
        await empty(sql)
    assert len(receiver.accepted) == 2
    assert len(receiver.heard[0].headers["webhook-signature"].split(" ")) == 2


async def test_a_forged_message_would_be_noticed(receiver: Receiver, database: Database, sql: Connection) -> None:
    """The receiver of these tests refuses what another secret signed."""
    other = base64.b64encode(bytes(32)).decode()
    async with delivering(database, wanting(receiver.url, secret=other)):
        await end_runs(sql, 1)
        assert await until(lambda: sql.fetchval("SELECT last_error FROM emag_webhook_outbox")) == "answered 500"
    assert not receiver.heard
    assert Webhook(other)


async def test_a_reload_takes_effect_in_the_middle_of_a_lane(
    database: Database, receiver: Receiver, sql: Connection
) -> None:
    """A receiver that was taken out of the configuration gets nothing more; a new one is told from then on."""
    async with receiving() as other, delivering(database, wanting(receiver.url)) as deliverer:
        await end_runs(sql, 2)
        await empty(sql)
        deliverer.reconfigure(wanting(other.url))
        await deliverer.register()
        later = await end_runs(sql, 2)
        await until(lambda: len(other.accepted) == 2)
        assert [one.body["data"]["run"]["id"] for one in other.accepted] == later
    assert len(receiver.heard) == 2


async def test_stopping_lets_the_message_under_way_arrive(
    database: Database, receiver: Receiver, sql: Connection
) -> None:
    """At shutdown it is not cut off, and the rest waits unclaimed for the next daemon."""
    arrived = asyncio.Event()

    async def slowly(_: Any) -> int:
        arrived.set()
        await asyncio.sleep(0.3)
        return 200

    receiver.reply = slowly
    async with delivering(database, wanting(receiver.url)):
        await end_runs(sql, 3)
        await arrived.wait()
    assert len(receiver.accepted) == 1
    waiting = await sql.fetch("SELECT claim FROM emag_webhook_outbox")
    assert [row["claim"] for row in waiting] == [None, None]


async def test_a_claim_that_ran_out_is_taken_over(database: Database, receiver: Receiver, sql: Connection) -> None:
    """What a dead deliverer held is sent by another one, and the late answer of the first changes nothing."""
    async with delivering(database, wanting(receiver.url), turning=False, claim_seconds=0.2) as first:
        await end_runs(sql, 2)
        (held,) = await first._outbox.claim(first._sender.receivers[0].id, limit=8)
        async with delivering(database, wanting(receiver.url), patience=PATIENCE):
            await empty(sql)
        assert await first._outbox.delivered(held) is None
        assert not await first._outbox.failed(held, "late", wait_seconds=1, patience_seconds=1)
    assert len(receiver.accepted) == 2
