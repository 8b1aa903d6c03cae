"""Server-sent events, over a real socket."""

import asyncio
from uuid import UUID

import aiohttp
import asyncpg
import pytest
import structlog
from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from emag_syncd.domain.runs import Operation, RunRequest, Trigger
from emag_syncd.web.hub import KEPT, PROGRESS_SECONDS, Hub
from tests.support.daemon import Site
from tests.support.waiting import until
from tests.web.conftest import API, running
from tests.web.events import clog, events_of, following, reading


async def test_a_run_is_followed_from_its_start_to_its_end(site: Site) -> None:
    """It begins, gets on and ends, and each event says whose run it is."""
    async with reading(site) as stream:
        sync_id = await running(site, "main")
        assert (await stream.next("started")).data == {
            "id": sync_id,
            "account_type": "main",
            "operation": "full_sync",
        }
        progress = (await stream.next("progress")).data
        assert progress["id"] == sync_id
        assert 0 < progress["processed_items"] <= progress["total_items"] == 250
        assert (await stream.next("ended")).data == {"id": sync_id, "account_type": "main", "status": "completed"}


async def test_a_reader_that_comes_back_misses_nothing(site: Site) -> None:
    """With the id of the last event that it saw, it gets those that came since."""
    async with reading(site) as stream:
        await running(site, "main")
        seen = await stream.next("started")
    async with reading(site, last=seen.id) as stream:
        assert (await stream.next("ended")).data["status"] == "completed"


async def test_a_reader_that_comes_first_can_say_where_from(site: Site) -> None:
    """By the address it gets what came since a page was made; by the header, when it comes back, what came since."""
    after = events_of(site).hub.id_of(0)
    async with reading(site) as stream:
        await running(site, "main")
        seen = await stream.next("ended")
    async with reading(site, after=after) as stream:
        assert (await stream.next("started")).data["account_type"] == "main"
    async with reading(site, after=after, last=seen.id) as stream:
        events_of(site).hub.publish("started", {"id": "the next"})
        assert (await stream.next("started")).data["id"] == "the next"


async def test_a_reader_of_another_process_is_told_that_it_missed_something(site: Site) -> None:
    """An id that this process never gave, or that is no id at all, can't be gone on from; the reader hears so."""
    for last in ("0badcafe-17", "rubbish", "-7"):
        async with reading(site, last=last) as stream:
            await stream.next("missed")


async def test_runs_of_other_processes_are_seen(site: Site, sql: "asyncpg.Connection[asyncpg.Record]") -> None:
    """What the ledger shows of a run elsewhere is told like a run here."""
    async with reading(site) as stream:
        ledger = site.core.new_ledger()
        lease = await ledger.claim(
            RunRequest(account="fbe", operation=Operation.FULL, trigger=Trigger.CLI), stale_after_seconds=900
        )
        assert (await stream.next("started")).data == {"id": str(lease.run_id), "account_type": "fbe"}
        await sql.execute(
            "INSERT INTO emag_sync_progress (account_type, sync_type, sync_log_id, processed_items, updated_at)"
            " VALUES ('fbe', 'products', $1, 40, now())",
            lease.run_id,
        )
        assert (await stream.next("progress")).data["processed_items"] == 40
        await sql.execute("UPDATE emag_sync_logs SET status = 'failed' WHERE id = $1", lease.run_id)
        assert (await stream.next("ended")).data["status"] == "failed"


async def test_there_is_an_end_to_how_many_may_read(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """One more than are allowed is refused with a reason, and let in when another has gone."""
    monkeypatch.setattr("emag_syncd.web.events.MOST_READERS", 1)
    async with reading(site):
        refused = await site.get(f"{API}/events")
        assert (refused.status, refused.headers["Retry-After"]) == (503, "5")

    async def let_in() -> bool:
        async with site.browser.get(f"{API}/events") as response:
            return response.status == 200

    await until(let_in)


async def told(hub: Hub, number: int) -> list[tuple[str, str, int | None]]:
    """Return the first ``number`` events, when there are so many."""
    await hub.wait(number - 1, 60)
    return [(event.name, event.data["id"], event.data.get("at")) for event in hub.since(0)]


async def test_progress_comes_four_times_a_second_at_most() -> None:
    """Of what is in between the latest is told, when it is time, for each run by itself."""
    hub, loop = Hub(), asyncio.get_running_loop()
    began = loop.time()
    for at in range(4):
        hub.publish("progress", {"id": "a", "at": at})
    hub.publish("progress", {"id": "b", "at": 7})
    assert await told(hub, 2) == [("progress", "a", 0), ("progress", "b", 7)]
    assert (await told(hub, 3))[2:] == [("progress", "a", 3)]
    assert loop.time() - began >= PROGRESS_SECONDS
    hub.publish("progress", {"id": "a", "at": 4})
    assert hub.latest == 3
    assert (await told(hub, 4))[3:] == [("progress", "a", 4)]
    assert loop.time() - began >= 2 * PROGRESS_SECONDS


async def test_the_last_progress_of_a_run_comes_before_its_end() -> None:
    """The end of a run waits for nothing, and neither does the progress that comes after it."""
    hub = Hub()
    for at in range(3):
        hub.publish("progress", {"id": "a", "at": at})
    hub.publish("ended", {"id": "a"})
    hub.publish("progress", {"id": "a", "at": 0})
    hub.close()
    assert await told(hub, 1) == [
        ("progress", "a", 0),
        ("progress", "a", 2),
        ("ended", "a", None),
        ("progress", "a", 0),
    ]


async def test_what_is_long_gone_is_known_to_be_missed() -> None:
    """The hub keeps so many events and no more, and says when some are gone."""
    hub = Hub()
    for number in range(KEPT + 5):
        hub.publish("started", {"id": str(UUID(int=number))})
    assert len(hub.since(0)) == KEPT
    assert hub.missed(4)
    assert not hub.missed(5)
    assert not hub.missed(hub.latest)
    assert hub.missed(hub.latest + 1)


async def test_waiting_ends_with_an_event_or_the_hub() -> None:
    """Nobody waits for what has come, and everybody is let go at the end."""
    hub = Hub()
    waiting = asyncio.create_task(hub.wait(0, 60))
    await asyncio.sleep(0)
    hub.publish("started", {"id": "a"})
    await waiting
    waiting = asyncio.create_task(hub.wait(1, 60))
    await asyncio.sleep(0)
    hub.close()
    await waiting


async def test_a_reader_that_reads_nothing_holds_up_nobody(site: Site) -> None:
    """A sync goes on and others hear of it, however long one takes nothing; and nothing piles up for it."""
    async with following(site), reading(site) as stream:
        transport = await clog(site)
        waiting = transport.get_write_buffer_size()
        sync_id = await running(site, "main")
        assert (await stream.next("ended")).data["id"] == sync_id
        for _ in range(KEPT * 2):
            events_of(site).hub.publish("started", {"id": "", "padding": "x" * 1000})
        await until(lambda: site.get("/livez"))
        assert transport in events_of(site)._stuck
        assert transport.get_write_buffer_size() <= waiting
        assert len(events_of(site).hub.since(0)) <= KEPT


async def test_a_reader_that_takes_nothing_is_dropped(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while its place is free again, and the log has no error for it."""
    monkeypatch.setattr("emag_syncd.web.events.PATIENCE_SECONDS", 0.2)
    with structlog.testing.capture_logs() as lines:
        async with following(site):
            await clog(site)
            await until(lambda: not events_of(site)._readers)
    assert "request_failed" not in {line["action"] for line in lines}


async def test_a_reader_that_takes_nothing_does_not_hold_up_the_end(site: Site) -> None:
    """At shutdown it is dropped at once, long before its patience is over."""
    async with following(site):
        await clog(site)
        events = events_of(site)
        await events.close(web.Application())
        await until(lambda: not events._readers)
        # The server closes what it has once more.
        events._unsubscribe = events._uncount = lambda: None


async def test_a_reader_that_goes_is_no_error(site: Site) -> None:
    """Whoever closes a page leaves no error in the log."""
    with structlog.testing.capture_logs() as lines:
        async with following(site):
            pass

        def gone() -> bool:
            events_of(site).hub.publish("started", {"id": ""})
            return not events_of(site)._readers

        await until(gone)
    assert "request_failed" not in {line["action"] for line in lines}


async def test_a_reader_that_is_gone_before_its_stream_begins_is_no_error(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page that is left as soon as it was opened leaves no error in the log."""
    prepare = web.StreamResponse.prepare

    async def prepared(response: web.StreamResponse, request: web.BaseRequest) -> AbstractStreamWriter | None:
        if request.path.endswith("/events"):
            raise aiohttp.ClientConnectionResetError
        return await prepare(response, request)

    monkeypatch.setattr(web.StreamResponse, "prepare", prepared)
    with structlog.testing.capture_logs() as lines:
        with pytest.raises(aiohttp.ClientError):
            await site.get(f"{API}/events")
        await until(lambda: not events_of(site)._readers)
    assert "request_failed" not in {line["action"] for line in lines}
