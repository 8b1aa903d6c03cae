"""A run that was ended writes nothing any more; a database that goes and comes costs nothing."""

import asyncio
from typing import Any

import pytest
import structlog.testing

from emag_syncd.domain.errors import DatabaseError
from emag_syncd.sandbox import AccountSpec, Fault, Kind, Oddities, Sandbox
from tests.support.server import database_proxy
from tests.support.syncing import ended, syncing
from tests.support.waiting import until
from tests.sync.conftest import Open, Sql
from tests.sync.reference import assert_mirrors, expected, mirrored

READ = "product_offer/read"
ONE_BY_ONE: dict[str, Any] = {
    "marketplace": {"page_size": 10, "max_concurrent_requests": 1, "request_timeout_seconds": 1}
}
WRITTEN = ("emag_products", "emag_product_changes", "emag_sync_scan_pages", "emag_sync_progress", "emag_sync_logs")


async def contents(sql: Sql) -> dict[str, list[Any]]:
    """Return everything that runs write."""
    return {table: await sql.fetch(f"SELECT t::text FROM {table} AS t ORDER BY 1") for table in WRITTEN}


async def test_a_run_that_an_operator_ended_stays_ended(open_syncing: Open, sql: Sql) -> None:
    """A plain UPDATE in mid-run: from then on it writes nothing, anywhere, and stops at its next page."""
    s = await open_syncing(offers=50, sections=ONE_BY_ONE)
    s.main.faults.add(Fault(Kind.HANG, resource=READ, page=3))
    handle = await s.start()
    await until(lambda: sql.fetchval("SELECT pages_processed = 2 FROM emag_sync_logs"))
    await sql.execute("UPDATE emag_sync_logs SET status = 'failed'")
    before = await contents(sql)
    assert await handle.finished is None
    assert await contents(sql) == before
    assert len(await mirrored(sql)) == 20
    assert max(s.main.stats.pages()) <= 4
    assert (await s.sync()).status == "completed"
    await assert_mirrors(sql, s.main)


@pytest.mark.parametrize("is_ended", [False, True])
async def test_an_answer_that_is_lost_after_the_commit(
    open_syncing: Open, sql: Sql, monkeypatch: pytest.MonkeyPatch, is_ended: bool
) -> None:
    """What was committed is not committed again, and a run that was ended meanwhile does not go on for it."""
    s = await open_syncing(offers=50, sections=ONE_BY_ONE)
    mirror, written = s.core.mirror, []
    commit = mirror.commit

    async def lossy(*args: Any, commits: int, **options: Any) -> None:
        await commit(*args, commits=commits, **options)
        if commits not in written:
            written.append(commits)
            if is_ended and commits == 2:
                await sql.execute("UPDATE emag_sync_logs SET status = 'failed'")
            raise DatabaseError("the answer was lost")

    monkeypatch.setattr(mirror, "commit", lossy)
    row = await (await s.start()).finished
    if is_ended:
        assert row is None
        assert written == [0, 1, 2]
        assert len(await mirrored(sql)) == 30
    else:
        assert row is not None
        assert (row["status"], row["created_items"], row["pages_processed"]) == ("completed", 50, 6)
        assert await sql.fetchval("SELECT count(*) FROM emag_product_changes") == 50
        await assert_mirrors(sql, s.main)


async def test_a_run_that_was_ended_before_it_began_writes_nothing(open_syncing: Open, sql: Sql) -> None:
    """Ended before its first request: no scan is begun, no page is written."""
    s = await open_syncing(offers=20)
    handle = await s.start()
    await sql.execute("UPDATE emag_sync_logs SET status = 'cancelled'")
    assert await handle.finished is None
    assert await sql.fetchval("SELECT count(*) FROM emag_sync_scans") == 0
    assert await mirrored(sql) == {}


async def test_a_connection_that_dies_at_any_byte(database_url: str, sql: Sql) -> None:
    """Wherever the way to the database breaks, each page is committed exactly once: the counters are the rows."""
    names = {f"cut{number}": AccountSpec(50, limited=False, oddities=Oddities(unfit=0.4)) for number in range(14)}
    async with (
        database_proxy(database_url) as (proxy, through),
        Sandbox(names) as sandbox,
        syncing(sandbox, through, marketplace={"page_size": 10}) as s,
    ):
        for number, account in enumerate(sandbox.accounts.values()):
            handle = await s.start(account=account.name)
            proxy.cut_after(2_000 + number * 13_777)
            run = await ended(handle)
            assert run.status == "completed"
            assert run.counted("created", "processed", "unchanged") == (50, 50, 0)
            unfit = sum(len(expected(raw)[1]) for _, raw in account.catalogue.truth())
            assert sum(warning["count"] for warning in run["warnings"]) == unfit
            assert run["pages_processed"] == 6  # the last one is empty and proves the end
            changes = await sql.fetch(
                "SELECT kind, emag_id FROM emag_product_changes WHERE account_type = $1", account.name
            )
            assert sorted((row["kind"], row["emag_id"]) for row in changes) == sorted(
                ("created", emag_id) for emag_id in account.catalogue.ids
            )
            await assert_mirrors(sql, account)
    assert proxy.accepted > len(names), "connections did break"


async def test_connections_that_are_terminated_with_every_page(open_syncing: Open, sql: Sql) -> None:
    """An administrator's pg_terminate_backend, again and again, delays a run and costs it nothing."""
    s = await open_syncing(offers=100, sections=ONE_BY_ONE)
    storms: list[asyncio.Task[int]] = []
    one_by_one = asyncio.Lock()

    async def terminate() -> int:
        async with one_by_one:
            terminated: int = await sql.fetchval(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
            )
        return terminated

    for page in range(1, 11):
        s.main.drift.before(page, lambda _: storms.append(asyncio.create_task(terminate())))
    run = await s.sync()
    assert run.status == "completed"
    assert run.counted("created", "processed") == (100, 100)
    assert sum(await asyncio.gather(*storms)) >= 10
    await assert_mirrors(sql, s.main)


async def test_a_database_that_is_away_for_a_while(database_url: str, sql: Sql) -> None:
    """A run waits for its database and goes on with the page at which it went away."""
    async with (
        database_proxy(database_url) as (proxy, through),
        Sandbox.of("main", offers=100) as sandbox,
        syncing(sandbox, through, marketplace={"page_size": 10, "max_concurrent_requests": 2}) as s,
    ):
        away = asyncio.Event()

        def leave(_: object) -> None:
            proxy._server.close()
            proxy.cut()
            away.set()

        port = proxy.port
        s.main.drift.before(5, leave)
        with structlog.testing.capture_logs() as logs:
            handle = await s.start()
            await away.wait()
            await until(lambda: sum(entry.get("action") == "database_retry" for entry in logs) >= 3)
            proxy._server = await asyncio.start_server(proxy._serve, "127.0.0.1", port)
            row = await handle.finished
        assert row is not None
        assert (row["status"], row["created_items"], row["processed_items"]) == ("completed", 100, 100)
        assert len(s.main.stats.pages()) == 11, "no page was read twice"
        await assert_mirrors(sql, s.main)
