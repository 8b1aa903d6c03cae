"""Runs in the foreground: what they do, how they end, and how they are ended."""

import asyncio
import os
import pty
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from emag_syncd.sandbox import Fault, Kind, Sandbox
from tests.cli.support import PATIENCE, Desk, configuration, ended, said, slow

if TYPE_CHECKING:
    import asyncpg

    Sql = asyncpg.Connection[asyncpg.Record]


async def test_all_accounts_are_synced_at_once(ready: Desk, sql: "Sql") -> None:
    """`sync all --mode full` copies every account, says so in a line each, and records who asked for it."""
    result = await ready.run("sync", "all", "--mode", "full")
    assert result.code == 0
    assert [line.partition(" in ")[0] for line in result.out.splitlines()] == [
        "main: completed, 250 offers",
        "fbe: completed, 250 offers",
    ]
    assert "main: full sync began, run " in result.err
    assert await sql.fetchval("SELECT count(*) FROM emag_products") == 500
    rows = await sql.fetch("SELECT DISTINCT operation, status, triggered_by FROM emag_sync_logs")
    assert [tuple(row) for row in rows] == [("full_sync", "completed", "cli")]


async def test_the_usual_mode_reads_the_active_offers(ready: Desk, sandbox: Sandbox, sql: "Sql") -> None:
    """Without --mode only what is on sale is read."""
    result = await ready.run("sync", "main", "main")
    assert result.code == 0
    assert result.out.count("\n") == 1
    assert await sql.fetchval("SELECT count(*) FROM emag_products") == sandbox.accounts["main"].catalogue.count(
        (("status", 1),)
    )
    assert await sql.fetchval("SELECT operation FROM emag_sync_logs") == "incremental_sync"


@pytest.mark.parametrize("option", ["--id", "--part-number", "--part-number-key", "--status", "--max-stock"])
async def test_a_selective_sync_reads_what_is_selected(ready: Desk, sandbox: Sandbox, sql: "Sql", option: str) -> None:
    """Each option is the marketplace's filter of that meaning, and no other offer is read."""
    catalogue = sandbox.accounts["main"].catalogue
    offer = next(one for one in map(catalogue.get, catalogue.ids) if one["part_number_key"])
    name = "general_stock" if option == "--max-stock" else option[2:].replace("-", "_")
    result = await ready.run("sync", "main", "--mode", "selective", option, str(offer[name]))
    assert result.code == 0, result.err
    stored = [row["emag_id"] for row in await sql.fetch("SELECT emag_id FROM emag_products ORDER BY 1")]
    selected = [
        one["id"]
        for one in map(catalogue.get, catalogue.ids)
        if (one[name] <= offer[name] if option == "--max-stock" else one[name] == offer[name])
    ]
    assert stored == sorted(selected)


async def test_so_many_pages_and_no_more(ready: Desk, sql: "Sql") -> None:
    """--max-pages stops early, and takes nothing that it did not see for gone."""
    assert (await ready.run("sync", "main", "--mode", "full")).code == 0
    result = await ready.run("sync", "main", "--mode", "full", "--max-pages", "2")
    assert result.code == 0
    assert "; 2 pages, " in result.out
    assert await sql.fetchval("SELECT count(*) FROM emag_products WHERE removed_at IS NULL") == 250


async def test_a_run_elsewhere_means_try_again(ready: Desk, sql: "Sql") -> None:
    """An account that is busy is named with its run and gives 75; the others are synced."""
    busy = await sql.fetchval(
        "INSERT INTO emag_sync_logs (account_type, operation) VALUES ('main', 'full_sync') RETURNING id"
    )
    result = await ready.run("sync", "all")
    assert result.code == 75
    assert result.out.startswith("fbe: completed, ")
    assert f"emag-syncd: a sync of account main is already running ({busy})" in result.err


async def test_a_failure_counts_more_than_a_busy_account(ready: Desk, sandbox: Sandbox, sql: "Sql") -> None:
    """Whoever retries on 75 must not overlook that another account needs a hand."""
    await sql.execute("INSERT INTO emag_sync_logs (account_type, operation) VALUES ('main', 'full_sync')")
    sandbox.accounts["fbe"].access.refused = 403
    assert (await ready.run("sync", "all")).code == 1


async def test_an_unfinished_run_is_a_failure(ready: Desk, sandbox: Sandbox) -> None:
    """A run that can't agree with the marketplace's count is partial, and says why."""
    sandbox.accounts["main"].faults.add(Fault(Kind.COUNT_OFF, times=None, value=5))
    result = await ready.run("sync", "main", "--mode", "full")
    assert result.code == 1
    assert result.out.startswith("main: partial, ")
    assert "255" in result.err.splitlines()[-1]


async def test_a_run_that_takes_too_long_is_ended(desk: Desk, database_url: str, sandbox: Sandbox) -> None:
    """The timeout of the configuration holds in the foreground too."""
    slow(sandbox, 30)
    desk.configure(configuration(database_url, sandbox.base_url, more="sync.timeout_seconds = 0.5"))
    result = await desk.run("sync", "main")
    assert (result.code, result.err.splitlines()[-1]) == (
        1,
        "emag-syncd: main: Product sync timed out after 0.5 seconds",
    )


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_a_signal_ends_it_at_a_page_boundary(
    ready: Desk, sandbox: Sandbox, sql: "Sql", number: signal.Signals, code: int
) -> None:
    """Ctrl-C and SIGTERM leave whole pages and a row that tells the truth; the next run goes on from there."""
    _page_by_page(ready, sandbox)
    async with ready.started("sync", "main", "--mode", "full") as process:
        await said(process.stderr, " of 250 offers")
        process.send_signal(number)
        result = await ended(process)
    assert result.code == code
    assert result.out.startswith("main: cancelled, ")
    row = await sql.fetchrow("SELECT status, errors, processed_items FROM emag_sync_logs")
    assert row is not None
    assert row["status"] == "cancelled"
    assert '"shutdown"' in row["errors"]
    assert await sql.fetchval("SELECT count(*) FROM emag_products") == row["processed_items"]
    await _goes_on(ready, sandbox, sql)


async def test_a_second_signal_ends_it_at_once(ready: Desk, sandbox: Sandbox) -> None:
    """Who presses Ctrl-C twice does not wait for an answer that never comes."""
    sandbox.accounts["main"].faults.add(Fault(Kind.HANG, "product_offer/read", times=None))
    async with ready.started("sync", "main", EMAG_SYNCD_LOG__LEVEL="info") as process:
        await said(process.stderr, "sync began")
        process.send_signal(signal.SIGINT)
        await said(process.stderr, '"action": "stopping"')
        process.send_signal(signal.SIGINT)
        assert (await ended(process)).code == 1


async def test_after_a_kill_the_next_sync_goes_on(ready: Desk, sandbox: Sandbox, sql: "Sql") -> None:
    """What kill -9 leaves is a row that the next sync on this host ends at once, and no page is read again."""
    _page_by_page(ready, sandbox)
    async with ready.started("sync", "main", "--mode", "full") as process:
        await said(process.stderr, " of 250 offers")
        process.kill()
        assert (await ended(process)).code == -signal.SIGKILL
    assert await sql.fetchval("SELECT status FROM emag_sync_logs") == "running"
    await _goes_on(ready, sandbox, sql)
    errors = await sql.fetchval("SELECT errors FROM emag_sync_logs WHERE status = 'failed'")
    assert '"interrupted"' in errors


async def test_an_operators_update_ends_it(ready: Desk, sandbox: Sandbox, sql: "Sql") -> None:
    """A run that is set to failed by hand stops, writes nothing more, and is not called a success."""
    _page_by_page(ready, sandbox)
    async with ready.started("sync", "main", "--mode", "full") as process:
        await said(process.stderr, " of 250 offers")
        await sql.execute("UPDATE emag_sync_logs SET status = 'failed'")
        stored = await sql.fetchval("SELECT count(*) FROM emag_products")
        result = await ended(process)
    assert result.code == 1
    assert result.out.startswith("main: failed, ")
    assert await sql.fetchval("SELECT count(*) FROM emag_products") == stored


async def test_a_terminal_gets_a_bar(ready: Desk) -> None:
    """On a terminal the progress is drawn, and the result is the last line."""
    terminal, theirs = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "emag_syncd", "sync", "main", "--mode", "full"),
        env={**ready.environ, "TERM": "xterm", "COLUMNS": "120"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    async with asyncio.timeout(PATIENCE):
        shown = (await asyncio.to_thread(_everything, terminal)).decode()
        assert await process.wait() == 0
    assert "250/250" in shown
    assert "\x1b[" in shown
    assert "main: completed, 250 offers" in shown.splitlines()[-1]


def _everything(terminal: int) -> bytes:
    """Read what is written to a terminal until nobody has it open any more."""
    shown = b""
    try:
        while part := os.read(terminal, 65536):
            shown += part
    except OSError:
        pass
    finally:
        os.close(terminal)
    return shown


def _page_by_page(desk: Desk, sandbox: Sandbox) -> None:
    """Let one page come after the other, each after a while."""
    desk.environ["EMAG_SYNCD_MARKETPLACE__MAX_CONCURRENT_REQUESTS"] = "1"
    desk.environ["EMAG_SYNCD_MARKETPLACE__PAGE_SIZE"] = "25"
    slow(sandbox, 0.1)


async def _goes_on(desk: Desk, sandbox: Sandbox, sql: "Sql") -> None:
    before = await sql.fetchval("SELECT sum(processed_items) FROM emag_sync_logs")
    assert 0 < before < 250
    slow(sandbox, 0)
    result = await desk.run("sync", "main", "--mode", "full")
    assert result.code == 0
    assert f"main: completed, {250 - before} offers" in result.out
    assert await sql.fetchval("SELECT count(*) FROM emag_products") == 250
