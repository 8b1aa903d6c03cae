"""Runs over HTTP, against a real database and a real supervisor."""

import asyncio
from pathlib import Path

import asyncpg
import pytest

from emag_syncd.config import Settings
from emag_syncd.domain.errors import DatabaseError
from emag_syncd.domain.runs import Operation, RunRequest, Trigger
from emag_syncd.sandbox import Sandbox
from emag_syncd.supervision.supervisor import Handle
from tests.support.daemon import Site, serving
from tests.web.conftest import API, PROBLEM, hang, running


async def test_a_sync_is_done_when_its_answer_comes(site: Site, sql: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Without run_async the answer has the run's numbers, and the database has its offers."""
    answer = await site.post(f"{API}/sync", {"account_type": "main", "mode": "full"})
    assert answer.status == 200
    assert answer.json["status"] == "completed"
    assert (
        answer.json["data"].items()
        >= {
            "total_processed": 250,
            "created": 250,
            "updated": 0,
            "unchanged": 0,
            "removed": 0,
            "failed": 0,
            "errors": [],
            "skipped": [],
        }.items()
    )
    assert await sql.fetchval("SELECT count(*) FROM emag_products WHERE account_type = 'main'") == 250
    row = await sql.fetchrow("SELECT * FROM emag_sync_logs WHERE id = $1::text::uuid", answer.json["sync_id"])
    assert row is not None
    assert (row["triggered_by"], row["operation"], row["status"]) == ("api", "full_sync", "completed")


async def test_without_a_body_all_accounts_are_read_incrementally(
    site: Site, sql: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """The defaults are both accounts and mode incremental; the numbers are those of all accounts together."""
    answer = await site.post(f"{API}/sync")
    runs = await sql.fetch("SELECT id::text, account_type, operation, processed_items FROM emag_sync_logs")
    assert {(run["account_type"], run["operation"]) for run in runs} == {
        ("main", "incremental_sync"),
        ("fbe", "incremental_sync"),
    }
    assert answer.json["data"]["total_processed"] == sum(run["processed_items"] for run in runs) > 0
    assert set(answer.json["data"]["sync_ids"]) == {run["id"] for run in runs}


async def test_the_worst_status_of_several_counts(site: Site, sandbox: Sandbox) -> None:
    """One account that fails makes the whole failed, with its error, and does not keep the other from its work."""
    sandbox.accounts["fbe"].access.refused = 403
    answer = await site.post(f"{API}/sync", {"account_type": "all", "mode": "full"})
    assert answer.status == 200
    assert answer.json["status"] == "failed"
    assert answer.json["data"]["created"] == 250
    assert [error["kind"] for error in answer.json["data"]["errors"]] == ["credentials"]
    assert {one["account_type"]: one["status"] for one in answer.json["data"]["syncs"]} == {
        "main": "completed",
        "fbe": "failed",
    }


async def test_an_async_sync_is_only_started(site: Site) -> None:
    """With run_async the answer comes with the run's id while it works."""
    ended = site.next("ended")
    answer = await site.post(f"{API}/sync", {"account_type": "main", "mode": "full", "run_async": True})
    assert answer.status == 202
    assert answer.json["status"] == "accepted"
    assert answer.json["data"]["sync_ids"] == [answer.json["sync_id"]]
    assert await ended == {"id": answer.json["sync_id"], "account_type": "main", "status": "completed"}


async def test_max_pages_and_items_per_page_are_kept(site: Site, sandbox: Sandbox) -> None:
    """A run reads as many pages as was asked for, of the size that was asked for."""
    body = {"account_type": "main", "mode": "full", "max_pages": 2, "items_per_page": 20}
    answer = await site.post(f"{API}/sync", body)
    assert answer.json["data"]["total_processed"] == 40
    reads = [one for one in sandbox.accounts["main"].stats.exchanges if one.resource == "product_offer/read"]
    assert {(one.page, one.size) for one in reads} == {(1, 20), (2, 20)}


async def test_a_selective_sync_reads_what_its_filters_select(
    site: Site, sql: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """Filters reach the marketplace, and the run's row says what they were."""
    await site.post(f"{API}/sync", {"account_type": "main", "mode": "full"})
    wanted = await sql.fetchval("SELECT min(emag_id) FROM emag_products")
    body = {"account_type": "main", "mode": "selective", "filters": {"id": wanted}}
    answer = await site.post(f"{API}/sync", body)
    assert (answer.json["status"], answer.json["data"]["total_processed"]) == ("completed", 1)
    run = await site.get(f"{API}/sync/{answer.json['sync_id']}")
    assert run.json["sync_params"] == {"mode": "selective", "filters": {"id": wanted}}


async def test_a_busy_account_conflicts(site: Site, sandbox: Sandbox) -> None:
    """A second run of an account is refused, and the answer names the one that is under way."""
    hang(sandbox, "main")
    sync_id = await running(site, "main")
    answer = await site.post(f"{API}/sync", {"account_type": "main"})
    assert answer.status == 409
    assert answer.headers["Content-Type"] == PROBLEM
    assert answer.json["sync_id"] == sync_id
    assert answer.json["account_type"] == "main"
    assert sync_id in answer.json["detail"]


async def test_of_several_accounts_the_free_ones_start(site: Site, sandbox: Sandbox) -> None:
    """A busy account is left out and said to be; only when all are busy the answer is a conflict."""
    hang(sandbox, "main")
    hang(sandbox, "fbe")
    blocking = await running(site, "main")
    answer = await site.post(f"{API}/sync", {"account_type": "both", "run_async": True})
    assert answer.status == 202
    assert [one["account_type"] for one in answer.json["data"]["syncs"]] == ["fbe"]
    (skipped,) = answer.json["data"]["skipped"]
    assert (skipped["account_type"], skipped["sync_id"]) == ("main", blocking)
    assert "account main was left out" in answer.json["message"]
    assert (await site.post(f"{API}/sync", {"account_type": "both"})).status == 409


async def test_a_client_that_hangs_up_cancels_nothing(
    site: Site, sandbox: Sandbox, sql: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """The run goes on when nobody waits for its answer any more."""
    sandbox.accounts["main"].latency.low = 0.2
    started, ended = site.next("started"), site.next("ended")
    caller = asyncio.create_task(site.post(f"{API}/sync", {"account_type": "main", "mode": "full"}))
    await started
    caller.cancel()
    assert (await ended)["status"] == "completed"
    assert await sql.fetchval("SELECT count(*) FROM emag_products") == 250


async def test_a_run_ended_by_an_operator_answers_with_what_he_wrote(
    site: Site, sandbox: Sandbox, sql: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """Who waits for a run that a plain UPDATE ended gets its row, whatever the row says."""
    hang(sandbox, "main")
    started = site.next("started")
    caller = asyncio.create_task(site.post(f"{API}/sync", {"account_type": "main", "mode": "full"}))
    await started
    await sql.execute("""UPDATE emag_sync_logs SET status = 'failed', errors = '"by hand"'""")
    await site.core.heartbeat.turn()
    answer = await caller
    assert (answer.status, answer.json["status"], answer.json["data"]["errors"]) == (200, "failed", ["by hand"])


async def test_a_running_sync_shows_its_progress(site: Site, sandbox: Sandbox) -> None:
    """While it runs, a run says how far it is; its lease token is nobody's business."""
    hang(sandbox, "main", page=3)
    progress = site.next("progress")
    sync_id = await running(site, "main")
    await progress
    run = await site.get(f"{API}/sync/{sync_id}")
    assert run.status == 200
    assert run.json.items() >= {"id": sync_id, "account_type": "main", "status": "running", "errors": []}.items()
    assert run.json["progress"].items() >= {"total_pages": 3, "total_items": 250}.items()
    assert "token" not in run.text


async def test_cancel_is_for_real(site: Site, sandbox: Sandbox) -> None:
    """DELETE ends the run and what its process does for it; a second one finds nothing running."""
    hang(sandbox, "main")
    sync_id = await running(site, "main")
    (handle,) = site.core.supervisor.handles()
    answer = await site.ask("DELETE", f"{API}/sync/{sync_id}")
    assert answer.status == 200
    assert (answer.json["id"], answer.json["status"]) == (sync_id, "cancelled")
    assert answer.json["errors"][0]["kind"] == "cancelled"
    await handle.finished
    assert not site.core.supervisor.handles()
    again = await site.ask("DELETE", f"{API}/sync/{sync_id}")
    assert (again.status, again.json["sync_status"]) == (409, "cancelled")


async def test_a_run_of_another_process_is_cancelled_too(site: Site, sql: "asyncpg.Connection[asyncpg.Record]") -> None:
    """A row that no run of this process stands behind is ended all the same."""
    sync_id = await sql.fetchval(
        "INSERT INTO emag_sync_logs (account_type, operation) VALUES ('main', 'full_sync') RETURNING id"
    )
    assert (await site.ask("DELETE", f"{API}/sync/{sync_id}")).json["status"] == "cancelled"


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize(
    "sync_id", ["0d3c6f0e-7f0b-4d53-9d0a-3f4c6d1c7c11", "17", "not-a-uuid", "%00", "%ED%A0%80", "..%2Fstatus"]
)
async def test_an_unknown_sync_is_not_found(site: Site, method: str, sync_id: str) -> None:
    """An id that no run has, or that is none, is 404."""
    answer = await site.ask(method, f"{API}/sync/{sync_id}")
    assert (answer.status, answer.headers["Content-Type"]) == (404, PROBLEM)


async def test_clean_up_ends_what_is_older(site: Site, sql: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Runs above the age are ended, with or without a lease; younger ones are left alone."""
    old = await sql.fetchval(
        "INSERT INTO emag_sync_logs (account_type, operation, started_at)"
        " VALUES ('main', 'full_sync', now() - interval '11 minutes') RETURNING id::text"
    )
    await sql.execute(
        "INSERT INTO emag_sync_logs (account_type, operation, started_at)"
        " VALUES ('fbe', 'full_sync', now() - interval '9 minutes')"
    )
    nothing = await site.post(f"{API}/cleanup-stuck-syncs")
    assert nothing.json["data"] == {"cleaned_count": 0, "timeout_minutes": 15, "sync_ids": []}
    answer = await site.post(f"{API}/cleanup-stuck-syncs", params={"timeout_minutes": 10})
    assert (answer.status, answer.json["status"]) == (200, "success")
    assert answer.json["data"] == {"cleaned_count": 1, "timeout_minutes": 10, "sync_ids": [old]}
    again = await site.post(f"{API}/cleanup-stuck-syncs", {"timeout_minutes": 5})
    assert again.json["data"]["cleaned_count"] == 1
    assert (await site.get(f"{API}/sync/{old}")).json["status"] == "failed"


async def test_clean_up_stops_a_run_of_this_process(
    site: Site, sandbox: Sandbox, sql: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """A run that is cleaned up while it hangs here is stopped, not only declared ended."""
    hang(sandbox, "main")
    await running(site, "main")
    (handle,) = site.core.supervisor.handles()
    await sql.execute("UPDATE emag_sync_logs SET started_at = now() - interval '1 hour'")
    answer = await site.post(f"{API}/cleanup-stuck-syncs", {})
    assert answer.json["data"]["cleaned_count"] == 1
    await handle.finished
    assert not site.core.supervisor.handles()


async def test_while_shutting_down_nothing_starts(site: Site) -> None:
    """A daemon that is about to end says so, and when to come back."""
    await site.core.supervisor.stop()
    answer = await site.post(f"{API}/sync", {"account_type": "main"})
    assert (answer.status, answer.json["kind"]) == (503, "shutdown")
    assert int(answer.headers["Retry-After"]) > 0


async def test_a_run_that_began_elsewhere_blocks_too(site: Site) -> None:
    """Whoever runs the account, another daemon too, the answer is the same conflict."""
    request = RunRequest("main", Operation.FULL, Trigger.CLI)
    lease = await site.core.ledger.claim(request, stale_after_seconds=900)
    answer = await site.post(f"{API}/sync", {"account_type": "main"})
    assert (answer.status, answer.json["sync_id"]) == (409, str(lease.run_id))


async def test_what_fails_to_start_after_others_did_is_left_out(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that goes away half-way does not hide the run that started."""
    start = site.core.supervisor.start

    async def failing(request: RunRequest) -> Handle:
        if request.account == "fbe":
            raise DatabaseError("the server went away")
        return await start(request)

    monkeypatch.setattr(site.core.supervisor, "start", failing)
    answer = await site.post(f"{API}/sync", {"account_type": "both", "run_async": True})
    assert (answer.status, [one["account_type"] for one in answer.json["data"]["syncs"]]) == (202, ["main"])
    assert answer.json["data"]["skipped"] == [
        {"account_type": "fbe", "reason": "the server went away", "sync_id": None}
    ]


async def test_without_accounts_there_is_nothing_to_sync(database_url: str, tmp_path: Path) -> None:
    """A daemon that has no account yet says which settings it lacks."""
    async with serving(Settings.of({"http": {"port": 0}}, tmp_path), database_url) as site:
        answer = await site.post(f"{API}/sync", {"conflict_strategy": "emag_priority"})
    assert (answer.status, answer.headers["Content-Type"]) == (422, PROBLEM)
    assert "accounts.NAME.username" in answer.json["detail"]
