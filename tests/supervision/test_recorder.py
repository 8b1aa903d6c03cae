"""The news of runs: whoever listens hears all of it, and odd rows are no news to stumble over."""

from math import isnan
from typing import Any

from emag_syncd.storage.database import Database
from tests.support.engines import at_once, core_on, sample, start
from tests.support.offers import Connection, by_hand, grow_old


async def test_rows_of_other_programs(database: Database, sql: Connection) -> None:
    """Whatever they have written as errors, their end is counted, with the errors that are of our kinds."""
    odd = [
        "null",
        "7",
        '"text"',
        '{"kind": "timeout"}',
        '[1, null, {"kind": ["x"]}, {"kind": "timeout", "error": "t"}]',
    ]
    async with core_on(database, at_once, *(f"a{n}" for n in range(len(odd)))) as core:
        for number, errors in enumerate(odd):
            run_id = await by_hand(sql, f"a{number}")
            await sql.execute("UPDATE emag_sync_logs SET errors = $1 WHERE id = $2", errors, run_id)
            await grow_old(sql, run_id, 3600)
        await core.watchdog.turn()
        for number in range(len(odd)):
            labels = {"account": f"a{number}", "operation": "full_sync", "status": "failed"}
            assert sample(core, "emag_sync_runs_total", **labels) == 1
            assert sample(core, "emag_sync_errors_total", account=f"a{number}", kind="stale") == 1
        assert sample(core, "emag_sync_errors_total", account="a4", kind="timeout") == 1


async def test_listeners_come_and_go(database: Database) -> None:
    """One that leaves while it hears something takes nothing from the others."""
    heard: list[tuple[str, str]] = []

    async with core_on(database, at_once) as core:

        def once(event: str, _data: dict[str, Any]) -> None:
            heard.append(("once", event))
            leave()

        leave = core.recorder.subscribe(once)
        core.recorder.subscribe(lambda event, _: heard.append(("always", event)))
        await (await start(core)).finished
        assert heard == [("once", "started"), ("always", "started"), ("always", "ended")]


async def test_some_pages_only_are_no_success(database: Database) -> None:
    """A run that was asked for a few pages completes, but says nothing of how fresh the copy is."""
    labels = {"account": "main", "operation": "full_sync"}
    async with core_on(database, at_once) as core:
        await (await start(core, max_pages=1)).finished
        assert sample(core, "emag_sync_runs_total", **labels, status="completed") == 1
        assert isnan(sample(core, "emag_sync_last_success_timestamp_seconds", **labels) or 0)
        await (await start(core)).finished
        assert not isnan(sample(core, "emag_sync_last_success_timestamp_seconds", **labels) or 0)
