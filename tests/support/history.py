"""The history checker: what must hold of the tables after anything, looked up rule by rule and told in words."""

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from emag_syncd.domain.offers import COLUMNS
from emag_syncd.domain.runs import ErrorKind
from emag_syncd.supervision.worker import this_worker
from tests.support.offers import Connection
from tests.support.replay import replayed
from tests.sync.reference import Rows, differences, mirrored

MOST_TOLD = 5

ALWAYS: Mapping[str, str] = {
    "one run at a time": """
        SELECT format('%s has %s running rows', account_type, count(*)) FROM emag_sync_logs
        WHERE status = 'running' GROUP BY account_type, sync_type HAVING count(*) > 1
    """,
    "a slot runs once": """
        SELECT format('%s of %s ran %s times for %s', operation, account_type, count(*), scheduled_for)
        FROM emag_sync_logs WHERE scheduled_for IS NOT NULL
        GROUP BY account_type, sync_type, operation, scheduled_for HAVING count(*) > 1
    """,
    "a run's counters are its rows": """
        WITH logged AS (
            SELECT sync_log_id, count(*) FILTER (WHERE kind = 'created') AS created,
                count(*) FILTER (WHERE kind IN ('updated', 'restored')) AS updated,
                count(*) FILTER (WHERE kind = 'removed') AS removed
            FROM emag_product_changes GROUP BY sync_log_id
        ), aside AS (SELECT sync_log_id, count(*) AS failed FROM emag_sync_rejects GROUP BY sync_log_id), rows AS (
            SELECT l.*, ARRAY[created_items, updated_items, removed_items, failed_items] AS said,
                ARRAY[coalesce(created, 0), coalesce(updated, 0), coalesce(removed, 0), coalesce(failed, 0)] AS are
            FROM emag_sync_logs AS l
            LEFT JOIN logged ON logged.sync_log_id = l.id LEFT JOIN aside ON aside.sync_log_id = l.id
        )
        SELECT format('run %s (%s) says created, updated, removed, failed = %s; its rows are %s', id, status, said, are)
        FROM rows WHERE said <> are
    """,
    "a run's counters add up": """
        SELECT format('run %s (%s) processed %s offers, and tells of %s', id, status, processed_items,
            created_items + updated_items + unchanged_items + failed_items)
        FROM emag_sync_logs
        WHERE processed_items <> created_items + updated_items + unchanged_items + failed_items
    """,
    "what a scan has seen is stored": """
        SELECT DISTINCT format('offer %s was seen by a scan of %s and is not stored', p.id_base + o, s.account_type)
        FROM emag_sync_scan_pages AS p JOIN emag_sync_scans AS s ON s.id = p.scan_id, unnest(p.id_offsets) AS o
        WHERE NOT EXISTS (
            SELECT FROM emag_products AS e WHERE e.account_type = s.account_type AND e.emag_id = p.id_base + o
        )
    """,
    "a checkpoint has its scan": """
        SELECT format('%s pages belong to scan %s, which is not there', count(*), scan_id) FROM emag_sync_scan_pages
        WHERE scan_id NOT IN (SELECT id FROM emag_sync_scans) GROUP BY scan_id
    """,
    "no page without its checkpoint": """
        SELECT format('the runs of scan %s say that they read %s pages; it has %s checkpoints',
            l.scan_id, l.said, p.are)
        FROM (
            SELECT scan_id, sum(pages_processed) AS said FROM emag_sync_logs GROUP BY scan_id
        ) AS l
        JOIN emag_sync_scans AS s ON s.id = l.scan_id,
        LATERAL (
            SELECT coalesce(sum(pages), 0) AS are FROM emag_sync_scan_pages WHERE scan_id = s.id AND end_at > start_at
        ) AS p WHERE l.said > p.are
    """,
    "a completed run leaves no scan": """
        SELECT format('run %s is completed, and its scan is still there', l.id)
        FROM emag_sync_logs AS l JOIN emag_sync_scans AS s ON s.id = l.scan_id WHERE l.status = 'completed'
    """,
    "an ended run says when": """
        SELECT format('run %s (%s) began %s and ended %s after %s s', id, status, started_at, completed_at,
            duration_seconds)
        FROM emag_sync_logs
        WHERE CASE WHEN status = 'running' THEN completed_at IS NOT NULL OR duration_seconds IS NOT NULL
            ELSE completed_at IS NULL OR duration_seconds IS NULL OR completed_at < started_at
                OR abs(duration_seconds - extract(epoch FROM completed_at - started_at)) > 0.01
            END
    """,
    "an ended run has no lease": """
        SELECT format('run %s (%s) still has a lease', id, status) FROM emag_sync_logs
        WHERE status <> 'running' AND (lease_token IS NOT NULL OR lease_expires_at IS NOT NULL)
    """,
    "a completed run has no error": """
        SELECT format('run %s is completed and has errors: %s', id, errors) FROM emag_sync_logs
        WHERE status = 'completed' AND errors <> '[]'
    """,
}
"""The rules that hold whatever anybody does, each with what finds the exceptions."""

UNTOUCHED: Mapping[str, str] = {
    "a change has its run": """
        SELECT format('%s changes were written by run %s, which is not there', count(*), sync_log_id)
        FROM emag_product_changes WHERE sync_log_id NOT IN (SELECT id FROM emag_sync_logs) GROUP BY sync_log_id
    """,
    "no checkpoint without its run": """
        SELECT format('scan %s has %s checkpoints; its runs say that they read %s pages', s.id, p.are, l.said)
        FROM emag_sync_scans AS s,
        LATERAL (
            SELECT coalesce(sum(pages), 0) AS are FROM emag_sync_scan_pages WHERE scan_id = s.id AND end_at > start_at
        ) AS p,
        LATERAL (SELECT coalesce(sum(pages_processed), 0) AS said FROM emag_sync_logs WHERE scan_id = s.id) AS l
        WHERE p.are > l.said
    """,
    "a run that did not complete says why": """
        SELECT format('run %s is %s and has no error', id, status) FROM emag_sync_logs
        WHERE status NOT IN ('running', 'completed') AND errors = '[]'
    """,
}
"""The rules that hold as long as nobody edits the ledger by hand."""

KINDS = """
SELECT format('run %s has an error of kind %s', id, e ->> 'kind')
FROM emag_sync_logs, jsonb_array_elements(errors) AS e
WHERE NOT coalesce(e ->> 'kind' = ANY ($1), false) OR e ->> 'error' IS NULL OR e ->> 'timestamp' IS NULL
"""

DEAD_LEASES = """
SELECT format('run %s of %s is running, and its lease ran out %s ago', id, account_type, now() - lease_expires_at)
FROM emag_sync_logs
WHERE status = 'running' AND lease_expires_at + make_interval(secs => $1) < now()
"""

HOLDERS = "SELECT id, worker_id FROM emag_sync_logs WHERE status = 'running' AND worker_id IS NOT NULL"


@dataclass(frozen=True)
class Expected:
    """What else is known of a history.

    ``grace_seconds`` is how long a lease may have run out: the watchdog's interval and what its turn takes.
    ``recovered`` is whether a daemon on this host has started since the last one died. ``edited`` is whether somebody
    wrote to the ledger by hand. ``truth`` has what the marketplace holds, by account.
    """

    grace_seconds: float = 5.0
    recovered: bool = False
    edited: bool = False
    truth: Mapping[str, Rows] = field(default_factory=dict)


UNKNOWN = Expected()


async def violations(dsn: str, expected: Expected = UNKNOWN) -> list[str]:
    """Return whatever does not hold in a database, in words that name the rule: nothing, when all is well."""
    conn = await asyncpg.connect(dsn)
    try:
        # One snapshot for all rules: daemons may be at work.
        async with conn.transaction(isolation="repeatable_read", readonly=True):
            return [f"{rule}: {what}" async for rule, what in _violations(conn, expected)]
    finally:
        conn.terminate()


async def _violations(conn: Connection, expected: Expected) -> AsyncIterator[tuple[str, str]]:
    rules = ALWAYS if expected.edited else {**ALWAYS, **UNTOUCHED}
    asked: list[tuple[str, str, list[Any]]] = [(rule, query, []) for rule, query in rules.items()]
    asked.append(("a running row has a live lease", DEAD_LEASES, [expected.grace_seconds]))
    if not expected.edited:
        asked.append(("error kinds are a closed set", KINDS, [list(ErrorKind)]))
    for rule, query, arguments in asked:
        for what in _some([row[0] for row in await conn.fetch(query, *arguments)]):
            yield rule, what
    if expected.recovered:
        for what in _orphans(await conn.fetch(HOLDERS)):
            yield "a running row has a living process", what
    for account in await conn.fetch("SELECT DISTINCT account_type FROM emag_products ORDER BY 1"):
        async for found in _replay(conn, account[0]):
            yield found
    for name, rows in expected.truth.items():
        for what in _some(list(differences(await mirrored(conn, name), rows))):
            yield "the mirror is the marketplace", f"{name}: {what}"


def _orphans(rows: list[asyncpg.Record]) -> Iterator[str]:
    worker = this_worker()
    for row in rows:
        if worker.outlived(row["worker_id"]):
            yield f"run {row['id']} is running, and {row['worker_id']} is dead"


async def _replay(conn: Connection, account: str) -> AsyncIterator[tuple[str, str]]:
    replay = await replayed(conn, account)
    wrong = list(replay.odd)
    for removed, made in ((False, replay.live), (True, replay.gone)):
        stored = await mirrored(conn, account, removed=removed)
        columns = {emag_id: {name: row[name] for name in COLUMNS} for emag_id, row in stored.items()}
        wrong += [f"of the {'removed' if removed else 'live'} ones {what}" for what in differences(columns, made)]
    for what in _some(wrong):
        yield "the change log makes the mirror", f"{account}: {what}"


def _some(found: list[str]) -> list[str]:
    """Return what was found; of many of a kind the first few, and how many more there are."""
    if len(found) <= MOST_TOLD:
        return found
    return [*found[:MOST_TOLD], f"and {len(found) - MOST_TOLD} more"]
