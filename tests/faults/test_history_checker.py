"""The history checker finds what it looks for: a database that is corrupted by hand, once for each rule."""

from dataclasses import replace
from typing import Any

import pytest

from emag_syncd.domain.runs import Counters, ErrorKind, Operation, Outcome, Status
from emag_syncd.storage.database import Database
from emag_syncd.storage.ledger import Ledger
from emag_syncd.storage.mirror import Mirror
from emag_syncd.storage.scans import Scans
from emag_syncd.supervision.worker import Worker, this_worker
from tests.support.history import ALWAYS, UNKNOWN, UNTOUCHED, Expected, violations
from tests.support.offers import PROGRESS, Connection, claimed, everything, offer
from tests.sync.reference import mirrored

CORRUPTIONS = {
    "one run at a time": "DROP INDEX emag_sync_logs_one_running; INSERT INTO emag_sync_logs (account_type, operation)"
    " VALUES ('main', 'full_sync')",
    "a slot runs once": "DROP INDEX emag_sync_logs_one_per_slot; UPDATE emag_sync_logs SET scheduled_for = 'epoch';"
    " INSERT INTO emag_sync_logs (account_type, operation, status, scheduled_for, completed_at, duration_seconds)"
    " VALUES ('main', 'full_sync', 'completed', 'epoch', now(), 0)",
    "a run's counters are its rows": "DELETE FROM emag_sync_rejects",
    "a run's counters add up": "UPDATE emag_sync_logs SET unchanged_items = unchanged_items + 1",
    "what a scan has seen is stored": "UPDATE emag_sync_scan_pages SET id_offsets = id_offsets || 77",
    "a checkpoint has its scan": "DELETE FROM emag_sync_scans",
    "no page without its checkpoint": "DELETE FROM emag_sync_scan_pages",
    "a completed run leaves no scan": "UPDATE emag_sync_logs SET status = 'completed' WHERE scan_id IS NOT NULL",
    "an ended run says when": "UPDATE emag_sync_logs SET duration_seconds = 7 WHERE status = 'failed'",
    "an ended run has no lease": "ALTER TABLE emag_sync_logs DROP CONSTRAINT emag_sync_logs_ended_without_lease;"
    " UPDATE emag_sync_logs SET lease_token = id WHERE status = 'failed'",
    "a completed run has no error": "UPDATE emag_sync_logs SET status = 'completed' WHERE status = 'failed'",
    "a change has its run": "DELETE FROM emag_sync_logs WHERE status = 'failed'",
    "no checkpoint without its run": "UPDATE emag_sync_logs SET pages_processed = 0",
    "a run that did not complete says why": "UPDATE emag_sync_logs SET errors = '[]'",
    "error kinds are a closed set": """UPDATE emag_sync_logs SET errors = '[{"error": "", "timestamp": "",'
        ' "kind": "bad luck"}]' WHERE status = 'failed'""",
    "a running row has a live lease": "UPDATE emag_sync_logs SET lease_expires_at = now() - interval '9 s'"
    " WHERE status = 'running'",
}

DIVERGENCES = {
    "a lost change": "DELETE FROM emag_product_changes WHERE emag_id = 1",
    "a change that was applied twice": "INSERT INTO emag_product_changes (emag_id, account_type, sync_log_id, kind,"
    " changes) SELECT emag_id, account_type, sync_log_id, kind, changes FROM emag_product_changes WHERE emag_id = 2",
    "an offer that nobody logged": "INSERT INTO emag_products (account_type, emag_id, raw) VALUES ('main', 9, '{}')",
    "a column that nobody logged": "UPDATE emag_products SET brand = 'x' WHERE emag_id = 1",
    "a removal that nobody logged": "UPDATE emag_products SET removed_at = now() WHERE emag_id = 1",
    "a return that nobody logged": "UPDATE emag_products SET removed_at = NULL",
    "a lost offer": "DELETE FROM emag_products WHERE emag_id = 3 OR emag_id = 1",
}


@pytest.fixture
async def history(database: Database, sql: Connection) -> Ledger:
    """Make a history without a fault: a run that failed, a scan that is open, and a run that works on it."""
    ledger = Ledger(database, worker_id=str(this_worker()), lease_seconds=60)
    mirror, scans = Mirror(database, lease_seconds=60), Scans(database)
    lease = await claimed(ledger, "main", operation=Operation.FULL)
    scan = await scans.open(lease, resume_within_seconds=600)
    batch = everything(1, removed=3, start=0)
    batch.writes.append(offer(3))
    batch.changes[-1:] = [replace(batch.changes[0], emag_id=3, changes={}), batch.changes[-1]]
    batch.counters.add(Counters(processed_items=1, created_items=1))
    await mirror.commit(lease, scan, batch, PROGRESS, commits=0)
    await ledger.finish(lease, Outcome.of(Status.FAILED, ErrorKind.TIMEOUT, "too late"), Counters())
    lease = await claimed(ledger, "main", operation=Operation.FULL)
    await scans.open(lease, resume_within_seconds=600)
    return ledger


def rules(found: list[str]) -> set[str]:
    """Return the rules that what was found breaks."""
    return {what.partition(": ")[0] for what in found}


@pytest.mark.usefixtures("history")
async def test_a_history_without_a_fault(database_url: str, sql: Connection) -> None:
    """Nothing is found in what the daemon's own parts wrote, the mirror compared with the marketplace included."""
    expected = Expected(recovered=True, truth={"main": await mirrored(sql)})
    assert await violations(database_url, expected) == []
    assert {*ALWAYS, *UNTOUCHED} <= CORRUPTIONS.keys()


@pytest.mark.usefixtures("history")
@pytest.mark.parametrize("rule", CORRUPTIONS)
async def test_each_rule_is_watched(database_url: str, sql: Connection, rule: str) -> None:
    """Whoever breaks a rule by hand is found out under that rule."""
    await sql.execute(CORRUPTIONS[rule])
    assert rule in rules(await violations(database_url))


@pytest.mark.usefixtures("history")
@pytest.mark.parametrize("what", DIVERGENCES)
async def test_the_log_must_make_the_mirror(database_url: str, sql: Connection, what: str) -> None:
    """Whatever is in the one and not in the other is found, whoever edits the ledger."""
    await sql.execute(DIVERGENCES[what])
    assert "the change log makes the mirror" in rules(await violations(database_url, Expected(edited=True)))


@pytest.mark.usefixtures("history")
@pytest.mark.parametrize("fault", ["missing", "too many", "other"])
async def test_the_mirror_must_be_the_marketplace(database_url: str, sql: Connection, fault: str) -> None:
    """An offer that is missing, one too many and a column that differs are told with the offer's id."""
    truth: dict[int, dict[str, Any]] = await mirrored(sql)
    if fault == "missing":
        truth[8] = truth[1]
    elif fault == "too many":
        del truth[1]
    else:
        truth[1]["name"] = "another"
    (found,) = await violations(database_url, Expected(truth={"main": truth}))
    assert found.startswith("the mirror is the marketplace: main: ")


async def test_a_dead_holder(history: Ledger, database_url: str, sql: Connection) -> None:
    """A running row of a process that is gone is found where a daemon has started since, and only there."""
    mine = this_worker()
    dead = Worker(mine.host, mine.boot, mine.pid, "1", "abc")
    await sql.execute("UPDATE emag_sync_logs SET worker_id = $1 WHERE status = 'running'", str(dead))
    assert await violations(database_url, UNKNOWN) == []
    assert rules(await violations(database_url, Expected(recovered=True))) == {"a running row has a living process"}
