-- Runs as people look back at them: lists, and what one run did.

-- name: runs
-- Newest first; page by page, each after the last row of the one before.
SELECT * FROM emag_sync_logs
WHERE (:account::text IS NULL OR account_type = :account)
    AND (:operation::text IS NULL OR operation = :operation)
    AND (:status::text IS NULL OR status = :status)
    AND (:since::timestamptz IS NULL OR started_at >= :since)
    AND (
        :before::timestamptz IS NULL OR started_at < :before
        OR (started_at = :before AND id > :after_id::uuid)
    )
ORDER BY started_at DESC, id
LIMIT :limit;

-- name: durations
SELECT id, account_type, operation, status, started_at, duration_seconds FROM emag_sync_logs
WHERE (:account::text IS NULL OR account_type = :account)
    AND (:operation::text IS NULL OR operation = :operation)
    AND (:status::text IS NULL OR status = :status)
    AND (:since::timestamptz IS NULL OR started_at >= :since)
    AND status <> 'running'
ORDER BY started_at DESC, id
LIMIT :limit;

-- name: last_ended
-- An account at a time: each is one step down an index, however many runs there were.
SELECT run.* FROM unnest(:accounts::text[]) AS account (name)
CROSS JOIN LATERAL (
    SELECT * FROM emag_sync_logs
    WHERE account_type = account.name AND status <> 'running'
    ORDER BY started_at DESC LIMIT 1
) AS run;

-- name: calls
-- The log has an index by time only: a run's calls lie within its own time.
SELECT called_at, resource, params, status_code, is_error, duration_ms, response_bytes, outcome, messages, body
FROM emag_api_calls
WHERE called_at >= :started_at::timestamptz - interval '1 minute'
    AND called_at <= coalesce(:completed_at::timestamptz, clock_timestamp()) + interval '1 minute'
    AND (:before::timestamptz IS NULL OR called_at < :before)
    AND sync_log_id = :run_id AND (is_error OR NOT :errors_only)
ORDER BY called_at DESC
LIMIT :limit;

-- name: changes
-- In no order but that of the table, which grows at its end: sorting would read all that a large run changed.
SELECT id, emag_id, kind, changes, changed_at FROM emag_product_changes
WHERE changed_at >= :started_at AND changed_at <= coalesce(:completed_at::timestamptz, clock_timestamp())
    AND sync_log_id = :run_id
LIMIT :limit;

-- name: rejects
SELECT page, emag_id, reason, created_at FROM emag_sync_rejects
WHERE sync_log_id = :run_id ORDER BY created_at, page LIMIT :limit;

-- name: scan^
-- What a scan has read so far: it is there until the scan is done.
SELECT s.started_at, s.pass, count(p.scan_id) AS pages, coalesce(sum(p.end_at - p.start_at), 0)::bigint AS offers
FROM emag_sync_scans AS s
LEFT JOIN emag_sync_scan_pages AS p ON p.scan_id = s.id AND p.pass = s.pass
WHERE s.id = :scan_id
GROUP BY s.id;
