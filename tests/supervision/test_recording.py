"""Ends of runs, and beginnings, that are hard to record."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, TypeAlias, cast

import pytest
import structlog

from emag_syncd.domain.errors import DatabaseError
from emag_syncd.domain.runs import ErrorKind, Operation, Outcome, RunRequest, Status, Trigger
from emag_syncd.storage.connections import Limits
from emag_syncd.storage.database import Database
from emag_syncd.supervision.recorder import kinds_of
from emag_syncd.sync.context import RunContext
from tests.supervision.conftest import FINISH_WAITS
from tests.support.engines import DONE, at_once, core_on, engine_of, gate, sample, start, until_stopped
from tests.support.offers import PROGRESS, Connection, creating, expire, offer
from tests.support.outages import terminate_backends
from tests.support.proxy import Proxy
from tests.support.server import database_proxy, target_of
from tests.support.syncing import ended
from tests.support.waiting import until

Proxied: TypeAlias = tuple[Proxy, Database]

QUICK = Limits(connect=1.0, acquire=1.0, release=0.2, statement=0.8, command=1.0, lock=0.5)


@pytest.fixture
async def proxied(database_url: str) -> AsyncIterator[Proxied]:
    """Give a database behind a proxy, with short limits."""
    async with database_proxy(database_url) as (proxy, url):
        database = await Database.open(url, pool_max_size=2, limits=QUICK)
        yield proxy, database
        proxy.resume()
        await database.close(timeout=0.5)


async def test_an_end_is_recorded_when_the_database_is_back(proxied: Proxied) -> None:
    """A silent network at the end of a run delays the record, and changes nothing of it."""
    proxy, database = proxied
    async with core_on(database, at_once) as core:
        opened = gate(core)
        handle = await start(core)
        proxy.silence()
        opened.set()
        with structlog.testing.capture_logs() as logged:
            await until(lambda: [line for line in logged if line["action"] == "run_unrecorded"])
        assert core.supervisor.handles() == [handle]
        proxy.resume()
        assert (await ended(handle)).status == "completed"
        await until(lambda: not core.supervisor.handles())


async def test_an_end_is_tried_again_until_it_is_recorded(proxied: Proxied, database_url: str) -> None:
    """After longer waits, the longest of which then stays."""
    proxy, database = proxied
    async with core_on(database, at_once) as core:
        opened = gate(core)
        handle = await start(core)
        proxy.point_at(("127.0.0.1", 1))
        opened.set()
        with structlog.testing.capture_logs() as logged:
            waits = await until(lambda: len(found := _waits(logged)) >= 5 and found)
        assert waits[:5] == [*FINISH_WAITS, *[FINISH_WAITS[-1]] * 2]
        proxy.point_at(target_of(database_url))
        assert (await ended(handle)).status == "completed"


def _waits(logged: list[Any]) -> list[float]:
    return [line["wait_seconds"] for line in logged if line["action"] == "run_unrecorded"]


async def test_an_end_is_recorded_although_connections_are_killed(database: Database, sql: Connection) -> None:
    """The connection that was to record the end is gone: another one does."""
    async with core_on(database, at_once) as core:
        opened = gate(core)
        handle = await start(core)
        assert await terminate_backends(sql)
        opened.set()
        assert (await ended(handle)).status == "completed"


async def test_an_end_whose_answer_was_lost_is_ours(proxied: Proxied, sql: Connection) -> None:
    """The end was committed and the answer cut off: the second try finds it done, by this process."""
    proxy, database = proxied
    async with core_on(database, at_once) as core:
        sizes: list[int] = []
        # The first run prepares the statements; the second shows how many bytes an end takes.
        for cut in (False, False, True):
            opened = gate(core)
            handle = await start(core)
            before = proxy.passed
            if cut:
                proxy.cut_after(sizes[-1] - 20)
            opened.set()
            assert (await ended(handle)).status == "completed"
            sizes.append(proxy.passed - before)
        assert sizes[2] > sizes[1], "nothing was cut off"
        counted = {"account": "main", "operation": "full_sync", "status": "completed"}
        assert sample(core, "emag_sync_runs_total", **counted) == 3
        assert await sql.fetchval("SELECT count(*) FROM emag_sync_logs WHERE status = 'completed'") == 3


async def test_the_end_by_somebody_else_is_not_ours(proxied: Proxied, sql: Connection) -> None:
    """What an operator recorded while the database was away for us is not taken for our own end of the run."""
    proxy, database = proxied
    async with core_on(database, at_once) as core:
        opened = gate(core, Outcome.of(Status.FAILED, ErrorKind.DATABASE, "away"))
        handle = await start(core)
        proxy.silence()
        opened.set()
        with structlog.testing.capture_logs() as logged:
            await until(lambda: [line for line in logged if line["action"] == "run_unrecorded"])
        await sql.execute("UPDATE emag_sync_logs SET status = 'failed', errors = '7'")
        with structlog.testing.capture_logs() as logged:
            proxy.resume()
            assert await handle.finished is None
        assert "run_lost" in [line["action"] for line in logged]
        assert await sql.fetchval("SELECT errors FROM emag_sync_logs") == "7"


@pytest.mark.parametrize(
    ("outcome", "status", "kinds"),
    [
        (DONE, "failed", [ErrorKind.DATABASE]),
        (Outcome.of(Status.PARTIAL, ErrorKind.PROTOCOL, "a page is missing"), "partial", [ErrorKind.PROTOCOL]),
    ],
)
async def test_commits_that_the_database_lost(
    database: Database, sql: Connection, outcome: Outcome, status: str, kinds: list[ErrorKind]
) -> None:
    """A run may say that all is there when the database has each of its commits, and not otherwise."""

    async def set_back(context: RunContext) -> Outcome:
        await core.mirror.commit(context.lease, None, creating(offer(1)), PROGRESS, commits=0)
        context.commits += 1
        await sql.execute("UPDATE emag_sync_logs SET commits = 0")
        return outcome

    async with core_on(database, set_back) as core:
        row = await (await start(core)).finished
        assert row is not None
        assert (row["status"], kinds_of(row)) == (status, kinds)


async def test_an_end_in_a_database_that_is_being_restored(database: Database, sql: Connection) -> None:
    """Its triggers come last. Without them no run ends, neither by itself nor by the watchdog; with them it does."""
    await sql.execute("ALTER TABLE emag_sync_logs DISABLE TRIGGER USER")
    async with core_on(database, at_once) as core:
        handle = await start(core)
        assert await handle.finished is None
        await expire(sql, handle.lease)
        with pytest.raises(DatabaseError, match="emag_sync_logs_ended_without_lease"):
            await core.watchdog.turn()
        assert await sql.fetchval("SELECT status FROM emag_sync_logs") == "running"
        await sql.execute("ALTER TABLE emag_sync_logs ENABLE TRIGGER USER")
        await core.watchdog.turn()
        row = await sql.fetchrow("SELECT * FROM emag_sync_logs")
        assert row is not None
        assert (row["status"], row["lease_token"], row["lease_expires_at"]) == ("failed", None, None)
        assert row["duration_seconds"] > 0


async def test_an_end_that_can_not_be_recorded(database: Database, sql: Connection) -> None:
    """It is no reason to hold the account for ever: without heartbeats the watchdog ends the row."""
    async with core_on(database, at_once) as core:
        engine_of(core).act = lambda _context: _returning(Outcome(cast("Status", "astray")))
        told: list[str] = []
        core.recorder.subscribe(lambda event, _: told.append(event))
        with structlog.testing.capture_logs() as logged:
            handle = await start(core)
            assert await handle.finished is None
        assert told == ["started", "lost"]
        assert "supervision_failed" in [line["action"] for line in logged]
        assert core.supervisor.handles() == []
        await expire(sql, handle.lease)
        await core.watchdog.turn()
        assert await sql.fetchval("SELECT status FROM emag_sync_logs") == "failed"
        assert sample(core, "emag_sync_in_progress", account="main") == 0


async def _returning(value: Any) -> Any:
    return value


async def test_whoever_asked_for_a_run_may_leave(proxied: Proxied) -> None:
    """A start that is cancelled while the claim is on its way: the run begins and is seen to its end."""
    proxy, database = proxied
    async with core_on(database, until_stopped) as core:
        await core.ledger.running()
        proxy.silence()
        asking = asyncio.create_task(core.supervisor.start(RunRequest("main", Operation.FULL, Trigger.API)))
        await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        proxy.resume()
        (handle,) = await until(core.supervisor.handles)
        await core.heartbeat.turn()
        handle.context.request_stop()
        assert (await ended(handle)).kinds == ["shutdown"]


async def test_a_run_without_a_database_does_not_begin(proxied: Proxied) -> None:
    """Whoever asks is told so, and nothing is left behind."""
    proxy, database = proxied
    async with core_on(database, at_once) as core:
        proxy.silence()
        with pytest.raises(DatabaseError):
            await start(core)
        assert core.supervisor.handles() == []
        assert sample(core, "emag_sync_in_progress", account="main") == 0
