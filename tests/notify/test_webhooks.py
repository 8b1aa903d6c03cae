"""Webhooks: every event arrives, in order and signed, whatever the receiver does meanwhile."""

import asyncio
import base64
import random
from collections import Counter
from typing import Any

import pytest
from standardwebhooks import Webhook

from emag_syncd.domain.runs import Counters, ErrorKind, Outcome, Status
from emag_syncd.storage.database import Database
from emag_syncd.storage.ledger import Ledger
from emag_syncd.storage.mirror import Mirror
from tests.notify.support import PATIENCE, delivering, empty, end_runs, wanting
from tests.support.offers import PROGRESS, Connection, claimed, creating, offer, removing
from tests.support.receiver import SECRET, Receiver, receiving
from tests.support.scale import scaled
from tests.support.waiting import until

ACCOUNTS = ("main", "fbe", "third")


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
