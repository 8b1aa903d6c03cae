-- The run ledger. Every time is PostgreSQL's own; every write of a run is conditional on its lease token.

-- name: missing_part$
-- What keeps runs apart and ends them, and is not there: a dump's rows are restored long before its indexes and triggers.
SELECT part FROM unnest(ARRAY[
    'emag_sync_logs_one_running', 'emag_sync_logs_one_per_slot',
    'emag_sync_logs_status_changed', 'emag_sync_logs_ended'
]) AS part
WHERE to_regclass(part) IS NULL
    AND NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 'emag_sync_logs'::regclass AND tgname = part)
LIMIT 1;

-- name: claim^
INSERT INTO emag_sync_logs (
    id, sync_type, account_type, operation, status, started_at, triggered_by, sync_params, scheduled_for,
    worker_id, heartbeat_at, lease_expires_at, lease_token
)
VALUES (
    :run_id, :sync_type, :account, :operation, 'running', clock_timestamp(), :triggered_by, :sync_params, :scheduled_for,
    :worker_id, clock_timestamp(), clock_timestamp() + make_interval(secs => :lease_seconds), gen_random_uuid()
)
ON CONFLICT DO NOTHING
RETURNING id, lease_token, started_at;

-- name: claimed^
-- A claim whose answer was lost.
SELECT id, lease_token FROM emag_sync_logs
WHERE id = :run_id AND worker_id = :worker_id AND status = 'running';

-- name: slot_taken$
-- Also by a run of the very request that has ended already, whatever its row was made to say since.
SELECT EXISTS (
    SELECT FROM emag_sync_logs
    WHERE account_type = :account AND sync_type = :sync_type AND operation = :operation
        AND scheduled_for = :scheduled_for
) OR EXISTS (SELECT FROM emag_sync_logs WHERE id = :run_id);

-- name: free_slots_to_come!
-- A run that began in the future began before the clock was set back. Its slot is one that is still to come.
UPDATE emag_sync_logs SET scheduled_for = NULL
WHERE account_type = :account AND sync_type = :sync_type AND scheduled_for IS NOT NULL
    AND started_at > clock_timestamp() + interval '1 minute';

-- name: running_of^
SELECT id FROM emag_sync_logs
WHERE account_type = :account AND sync_type = :sync_type AND status = 'running';

-- name: beat
-- A row that is locked is skipped: its own page transaction holds it, and renews the lease itself.
WITH held AS (
    SELECT l.id FROM emag_sync_logs AS l
    JOIN unnest(:ids::uuid[], :tokens::uuid[]) AS mine (id, token) ON l.id = mine.id
    WHERE l.lease_token = mine.token AND l.status = 'running'
    FOR UPDATE OF l SKIP LOCKED
), beaten AS (
    UPDATE emag_sync_logs AS l
    SET heartbeat_at = clock_timestamp(),
        lease_expires_at = clock_timestamp() + make_interval(secs => :lease_seconds)
    FROM held WHERE l.id = held.id
)
SELECT l.id FROM emag_sync_logs AS l
JOIN unnest(:ids::uuid[], :tokens::uuid[]) AS mine (id, token) ON l.id = mine.id
WHERE l.lease_token = mine.token AND l.status = 'running';

-- name: finish^
WITH ended AS (
    UPDATE emag_sync_logs
    SET status = :status,
        errors = errors || :errors,
        warnings = coalesce(:warnings::jsonb, warnings),
        api_requests_made = api_requests_made + :api_requests_made,
        rate_limit_hits = rate_limit_hits + :rate_limit_hits
    WHERE id = :run_id AND lease_token = :token AND status = 'running'
        AND (:commits::bigint IS NULL OR commits = :commits)
    RETURNING *
), dropped AS (
    DELETE FROM emag_sync_scans AS s USING ended
    WHERE :scan_done AND s.id = ended.scan_id
), pages AS (
    DELETE FROM emag_sync_scan_pages AS p USING ended
    WHERE :scan_done AND p.scan_id = ended.scan_id
)
SELECT * FROM ended;

-- name: end_stalled
-- A process that is stopped between a statement's preparation and its execution holds its run's row, and none of the
-- server's time limits counts then: to the server the statement is under way. Its session is ended, whose run is over.
SELECT pg_terminate_backend(session.pid, 1000)
FROM emag_sync_logs AS run
JOIN pg_locks AS held ON held.locktype = 'transactionid' AND held.granted AND held.transactionid = run.xmax
JOIN pg_stat_activity AS session ON session.pid = held.pid
WHERE run.status = 'running' AND run.lease_expires_at < clock_timestamp()
    AND session.usename = current_user AND session.state = 'active' AND session.wait_event = 'ClientRead';

-- name: reap
-- Ends the runs whose process is gone: those whose lease ran out, and those that never had one and are old.
WITH stale AS (
    SELECT id FROM emag_sync_logs
    WHERE status = 'running'
        AND coalesce(
            lease_expires_at, started_at + make_interval(secs => :stale_after_seconds)
        ) < clock_timestamp()
        AND (:account::text IS NULL OR account_type = :account)
    FOR UPDATE SKIP LOCKED
)
UPDATE emag_sync_logs AS l
SET status = 'failed',
    errors = errors || jsonb_build_array(jsonb_build_object(
        'error', CASE
            WHEN l.lease_token IS NULL THEN format(
                'Stale: running since %s without a lease', to_char(l.started_at, 'YYYY-MM-DD HH24:MI:SS TZ'))
            ELSE format(
                'Stale: no sign of life from %s since %s',
                l.worker_id, to_char(l.heartbeat_at, 'YYYY-MM-DD HH24:MI:SS TZ'))
        END,
        'kind', 'stale',
        'timestamp', to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
    ))
FROM stale WHERE l.id = stale.id
RETURNING l.*;

-- name: held_by_workers
SELECT id, worker_id FROM emag_sync_logs WHERE status = 'running' AND starts_with(worker_id, :prefix);

-- name: end_runs
UPDATE emag_sync_logs
SET status = :status, errors = errors || :errors
WHERE id = ANY (:ids::uuid[]) AND status = 'running'
RETURNING *;

-- name: end_free_runs
-- A row that is locked is left for later: the server may still be at work for the process that died.
WITH free AS (
    SELECT id FROM emag_sync_logs WHERE id = ANY (:ids::uuid[]) AND status = 'running' FOR UPDATE SKIP LOCKED
)
UPDATE emag_sync_logs AS l
SET status = :status, errors = errors || :errors
FROM free WHERE l.id = free.id
RETURNING l.*;

-- name: older_than
SELECT id FROM emag_sync_logs
WHERE status = 'running' AND started_at < clock_timestamp() - make_interval(secs => :seconds);

-- name: by_id^
SELECT * FROM emag_sync_logs WHERE id = :run_id;

-- name: running_runs
SELECT * FROM emag_sync_logs WHERE status = 'running' ORDER BY started_at;

-- name: stale_count$
SELECT count(*) FROM emag_sync_logs
WHERE status = 'running'
    AND coalesce(lease_expires_at, started_at + make_interval(secs => :stale_after_seconds)) < clock_timestamp();

-- name: history
SELECT * FROM emag_sync_logs
WHERE (:account::text IS NULL OR account_type = :account)
    AND (:status::text IS NULL OR status = :status)
    AND (:before::timestamptz IS NULL OR started_at < :before)
ORDER BY started_at DESC, id
LIMIT :limit;

-- name: last_successes
-- A row that was inserted by hand may say nothing of its end; a run of some pages only says nothing of the rest.
-- From one account and operation to the next, down an index: there may be millions of runs.
WITH RECURSIVE kinds AS (
    (SELECT account_type, operation FROM emag_sync_logs ORDER BY account_type, operation LIMIT 1)
    UNION ALL
    SELECT following.* FROM kinds CROSS JOIN LATERAL (
        SELECT account_type, operation FROM emag_sync_logs AS l
        WHERE (l.account_type, l.operation) > (kinds.account_type, kinds.operation)
        ORDER BY account_type, operation LIMIT 1
    ) AS following
)
SELECT kinds.account_type, kinds.operation, max(last.completed_at) AS completed_at FROM kinds CROSS JOIN LATERAL (
    SELECT coalesce(completed_at, started_at) AS completed_at FROM emag_sync_logs AS l
    WHERE l.account_type = kinds.account_type AND l.operation = kinds.operation
        AND status = 'completed' AND NOT sync_params ? 'max_pages'
    -- The latest that began ended last, but for what was written by hand.
    ORDER BY started_at DESC LIMIT 8
) AS last
GROUP BY kinds.account_type, kinds.operation;

-- name: last_runs
-- As the last successes: the latest of each outcome, and of those the latest.
WITH RECURSIVE kinds AS (
    (
        SELECT account_type, operation, status FROM emag_sync_logs
        ORDER BY account_type, operation, status LIMIT 1
    )
    UNION ALL
    SELECT following.* FROM kinds CROSS JOIN LATERAL (
        SELECT account_type, operation, status FROM emag_sync_logs AS l
        WHERE (l.account_type, l.operation, l.status) > (kinds.account_type, kinds.operation, kinds.status)
        ORDER BY account_type, operation, status LIMIT 1
    ) AS following
)
SELECT DISTINCT ON (kinds.account_type, kinds.operation) kinds.account_type, kinds.operation, kinds.status
FROM kinds CROSS JOIN LATERAL (
    SELECT started_at FROM emag_sync_logs AS l
    WHERE l.account_type = kinds.account_type AND l.operation = kinds.operation AND l.status = kinds.status
    ORDER BY started_at DESC LIMIT 1
) AS last
WHERE kinds.status <> 'running'
ORDER BY kinds.account_type, kinds.operation, last.started_at DESC;

-- name: outcomes
-- The latest ended runs of an account, newest first: what the schedule needs to know whether to wait.
SELECT operation, status, pages_processed, sync_params ? 'max_pages' AS some_pages_only,
    errors -> -1 ->> 'kind' AS kind,
    extract(epoch FROM clock_timestamp() - coalesce(completed_at, started_at))::float8 AS age_seconds
FROM emag_sync_logs
WHERE account_type = :account AND sync_type = :sync_type AND status <> 'running'
ORDER BY started_at DESC
LIMIT :limit;

-- name: slot_covered$
-- A slot needs no run when it had one, or when a full run began after it, one that was to read everything.
-- What began in the future began before the clock was set back, and says nothing of this slot.
SELECT EXISTS (
    SELECT FROM emag_sync_logs
    WHERE account_type = :account AND sync_type = :sync_type AND id IS DISTINCT FROM :other_than::uuid
        AND started_at <= clock_timestamp() + interval '1 minute'
        AND (
            (operation = :operation AND scheduled_for >= :slot)
            OR (operation = 'full_sync' AND started_at >= :slot AND status IN ('completed', 'partial')
                AND NOT sync_params ? 'max_pages')
        )
);

-- name: now$
SELECT clock_timestamp();

-- name: progress_of
SELECT p.* FROM emag_sync_progress AS p
JOIN emag_sync_logs AS l ON l.id = p.sync_log_id AND l.status = 'running';
