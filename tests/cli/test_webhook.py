"""``emag-syncd webhook``: tries the receivers, and puts back what was given up."""

from collections.abc import AsyncIterator

import pytest

from tests.cli.support import Desk, configuration
from tests.notify.support import end_runs
from tests.support.offers import Connection
from tests.support.receiver import SECRET, Receiver, receiving


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Give a receiver that takes everything."""
    async with receiving() as receiver:
        yield receiver


def telling(*urls: str, private: bool = True) -> str:
    """Return the settings of webhooks."""
    quoted = ", ".join(f'"{url}"' for url in urls)
    return f'webhooks = {{ urls = [{quoted}], secret = "{SECRET}", allow_private = {str(private).lower()} }}'


async def test_each_receiver_is_tried(desk: Desk, receiver: Receiver) -> None:
    """A line each, without the tokens of their URLs; exit 1 as one of them takes nothing, and 0 without that one."""
    async with receiving() as refusing:
        refusing.reply = lambda _: 418
        desk.configure(configuration("", more=telling(receiver.url, refusing.url)))
        result = await desk.run("webhook", "test")
        assert result.code == 1
        assert result.line.endswith("/hook: failed, answered 418")
    assert result.out.startswith(f"{receiver.url.partition('?')[0]}: ok, answered 200 within ")
    assert "t0ken-in" not in result.out + result.err
    desk.configure(configuration("", more=telling(receiver.url)))
    result = await desk.run("webhook", "test")
    assert (result.code, result.err) == (0, "")
    first, second = receiver.heard
    assert first.body["type"] == "webhook.test"
    assert first.id != second.id


async def test_a_private_receiver_is_refused(desk: Desk, receiver: Receiver) -> None:
    """Nothing reaches it, and the remedy is named, by the configuration's warning and by the attempt."""
    desk.configure(configuration("", more=telling(receiver.url, private=False)))
    result = await desk.run("webhook", "test")
    warning, failure = result.err.splitlines()
    assert result.code == 1
    assert "warning: webhooks.urls[0] is on this machine" in warning
    assert "webhooks.allow_private = true permits" in failure
    assert not receiver.heard


async def test_without_receivers_there_is_nothing_to_try(desk: Desk) -> None:
    """A configuration error with its remedy."""
    desk.configure(configuration(""))
    result = await desk.run("webhook", "test")
    assert result.code == 78
    assert result.line == "emag-syncd: no webhook is configured: set webhooks.urls and webhooks.secret"


async def test_what_was_given_up_is_put_back(desk: Desk, database_url: str, sql: Connection) -> None:
    """Dead messages wait again, and a receiver that had said it was gone is enabled."""
    await sql.execute("INSERT INTO emag_webhook_endpoints (id, address) VALUES ('a', 'https://a.example')")
    await end_runs(sql, 2)
    await sql.execute("UPDATE emag_webhook_outbox SET dead_at = now()")
    await sql.execute("UPDATE emag_webhook_endpoints SET disabled_at = now()")
    desk.configure(configuration(database_url))
    result = await desk.run("webhook", "retry")
    assert (result.code, result.out) == (0, "put back: 2 messages, 1 receivers; the daemon delivers them\n")
    assert await sql.fetchval("SELECT count(*) FROM emag_webhook_outbox WHERE dead_at IS NULL") == 2
    assert await sql.fetchval("SELECT disabled_at FROM emag_webhook_endpoints") is None
