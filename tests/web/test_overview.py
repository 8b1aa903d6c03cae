"""The state of the work and its history."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from emag_syncd.config import Settings
from emag_syncd.sandbox import Sandbox
from tests.support.daemon import Site, account_of, serving
from tests.web.conftest import API, hang, running


async def insert_runs(sql: "asyncpg.Connection[asyncpg.Record]", count: int) -> None:
    """Write ended runs, one a minute, as another program would."""
    await sql.execute(
        "INSERT INTO emag_sync_logs (account_type, operation, status, started_at, completed_at, errors)"
        " SELECT CASE WHEN n % 2 = 0 THEN 'main' ELSE 'fbe' END, 'full_sync',"
        " CASE WHEN n % 3 = 0 THEN 'failed' ELSE 'completed' END,"
        " now() - n * interval '1 minute', now() - n * interval '1 minute' + interval '10 seconds',"
        ' CASE WHEN n % 3 = 0 THEN \'[{"error": "gone", "kind": "internal"}]\' ELSE \'[]\' END::jsonb'
        " FROM generate_series(1, $1) AS n",
        count,
    )


async def test_an_idle_daemon(site: Site) -> None:
    """Before any run there is nothing to show but the accounts."""
    status = (await site.get(f"{API}/status")).json
    assert (status["is_running"], status["current_sync"]) == (False, None)
    assert (status["running_syncs"], status["recent_syncs"]) == ([], [])
    assert [account["name"] for account in status["accounts"]] == ["main", "fbe"]
    assert all(account["last_success_at"] is None for account in status["accounts"])
    assert all(account["next_run_at"] is None for account in status["accounts"])


async def test_what_runs_now(site: Site, sandbox: Sandbox) -> None:
    """Every run under way is shown with its progress, the oldest as the current one."""
    hang(sandbox, "main", page=3)
    hang(sandbox, "fbe")
    progress = site.next("progress")
    first = await running(site, "main")
    await progress
    second = await running(site, "fbe")
    status = (await site.get(f"{API}/status")).json
    assert status["is_running"] is True
    assert [run["id"] for run in status["running_syncs"]] == [first, second]
    assert status["current_sync"] == status["running_syncs"][0]
    assert status["current_sync"]["operation"] == "full_sync"
    assert status["current_sync"]["progress"]["total_pages"] == 3
    assert status["running_syncs"][1]["progress"] is None
    assert {one["name"]: one["current_sync_id"] for one in status["accounts"]} == {"main": first, "fbe": second}


async def test_what_ran_before(site: Site, sql: "asyncpg.Connection[asyncpg.Record]") -> None:
    """The ten latest runs come newest first, and each account says when it last succeeded."""
    await insert_runs(sql, 12)
    status = (await site.get(f"{API}/status")).json
    assert len(status["recent_syncs"]) == 10
    starts = [run["started_at"] for run in status["recent_syncs"]]
    assert starts == sorted(starts, reverse=True)
    newest = await sql.fetchval("SELECT max(completed_at) FROM emag_sync_logs WHERE account_type = 'main'")
    # The runs of main are those of 2, 4, 6 … minutes ago, and the one of 6 minutes ago failed.
    assert datetime.fromisoformat(status["accounts"][0]["last_success_at"]) == newest
    assert status["accounts"][0]["last_successes"].keys() == {"full_sync"}


async def test_when_the_next_run_comes(sandbox: Sandbox, database_url: str, tmp_path: Path) -> None:
    """The soonest of an account's schedules is its next run."""
    account = account_of(sandbox, "main", schedule={"full": "1d", "incremental": "15m"})
    settings = Settings.of({"accounts": {"main": account}, "http": {"port": 0}}, tmp_path)
    async with serving(settings, database_url) as site:
        site.schedule._lay_out()
        (view,) = (await site.get(f"{API}/status")).json["accounts"]
    assert view["next_run_at"] == min(view["next_runs"].values())
    assert datetime.fromisoformat(view["next_run_at"]) - datetime.now(UTC) <= timedelta(minutes=15)
    assert view["next_runs"].keys() == {"full_sync", "incremental_sync"}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, 50),
        ({"limit": "7"}, 7),
        ({"limit": "100"}, 60),
        ({"account_type": "main"}, 30),
        ({"account_type": "both"}, 50),
        ({"account_type": ""}, 50),
        ({"account_type": "gone", "status": "failed"}, 0),
        ({"status": "failed"}, 20),
        ({"status": "failed", "account_type": "fbe"}, 10),
    ],
)
async def test_history_is_filtered(
    site: Site, sql: "asyncpg.Connection[asyncpg.Record]", query: dict[str, str], expected: int
) -> None:
    """History takes a limit, an account and a status, and counts what it gives."""
    await insert_runs(sql, 60)
    answer = await site.get(f"{API}/history", params=query)
    assert (answer.status, answer.json["status"]) == (200, "success")
    assert answer.json["data"]["count"] == len(answer.json["data"]["syncs"]) == expected


async def test_history_is_read_page_by_page(site: Site, sql: "asyncpg.Connection[asyncpg.Record]") -> None:
    """With the start of the last run as ``before``, the next page begins where this one ended."""
    await insert_runs(sql, 5)
    seen: list[str] = []
    query: dict[str, Any] = {"limit": "2"}
    while syncs := (await site.get(f"{API}/history", params=query)).json["data"]["syncs"]:
        seen += [run["id"] for run in syncs]
        query["before"] = syncs[-1]["started_at"]
    assert seen == [str(row["id"]) for row in await sql.fetch("SELECT id FROM emag_sync_logs ORDER BY started_at DESC")]


@pytest.mark.parametrize("written", ["{}T{}Z", "{}T{}+00:00", "{}T{}%2B00:00", "{}T{}", "{} {}", "{}T{} 02:00"])
async def test_times_are_taken_in_every_usual_form(
    site: Site, sql: "asyncpg.Connection[asyncpg.Record]", written: str
) -> None:
    """A zone that is missing is UTC, and a plus sign that became a blank on its way is one again."""
    await insert_runs(sql, 3)
    later = datetime.now(UTC) + timedelta(hours=3)
    before = written.format(f"{later:%Y-%m-%d}", f"{later:%H:%M:%S}")
    answer = await site.get(f"{API}/history?before={before}")
    assert answer.json["data"]["count"] == 3


async def test_errors_are_lists_of_objects(site: Site, sql: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Errors, warnings and parameters are JSON within the answer, not text."""
    await insert_runs(sql, 3)
    (failed,) = (await site.get(f"{API}/history?status=failed")).json["data"]["syncs"]
    assert failed["errors"] == [{"error": "gone", "kind": "internal"}]
    assert (failed["warnings"], failed["sync_params"]) == ([], {})
