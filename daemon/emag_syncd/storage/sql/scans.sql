-- What a scan has read. It outlives its runs: a later one goes on where the last one stopped.

-- name: hold^
-- Locks the run's row for the transaction; no row when the run was ended.
SELECT id FROM emag_sync_logs
WHERE id = :run_id AND lease_token = :token AND status = 'running'
FOR UPDATE;

-- name: unfinished^
SELECT id, pass FROM emag_sync_scans
WHERE account_type = :account AND sync_type = :sync_type AND operation = :operation
    AND started_at > clock_timestamp() - make_interval(secs => :resume_within_seconds);

-- name: drop_scan^
WITH dropped AS (
    DELETE FROM emag_sync_scans
    WHERE account_type = :account AND sync_type = :sync_type AND operation = :operation
    RETURNING id
), pages AS (
    DELETE FROM emag_sync_scan_pages AS p USING dropped WHERE p.scan_id = dropped.id
)
SELECT count(*) FROM dropped;

-- name: start_scan^
INSERT INTO emag_sync_scans (account_type, sync_type, operation)
VALUES (:account, :sync_type, :operation)
RETURNING id, pass;

-- name: attach!
UPDATE emag_sync_logs SET scan_id = :scan_id WHERE id = :run_id;

-- name: next_pass!
UPDATE emag_sync_scans SET pass = :pass_no WHERE id = :scan_id;

-- name: read_spans
SELECT lower(span) AS start_at, upper(span) AS end_at
FROM (
    SELECT unnest(range_agg(int8range(start_at, end_at))) AS span
    FROM emag_sync_scan_pages WHERE scan_id = :scan_id AND pass = :pass_no AND start_at < end_at
) AS spans
WHERE NOT isempty(span)
ORDER BY 1;

-- name: most_counted$
SELECT coalesce(max(total_items), 0) FROM emag_sync_logs
WHERE account_type = :account AND scan_id = :scan_id;

-- name: distinct_seen$
SELECT count(DISTINCT p.id_base + o)
FROM emag_sync_scan_pages AS p, unnest(p.id_offsets) AS o
WHERE p.scan_id = :scan_id AND p.pass = :pass_no;

-- name: unseen
-- The mirror's offers that the scan has not seen; of the active ones only where :only_status says so.
SELECT emag_id FROM emag_products
WHERE account_type = :account AND removed_at IS NULL
    AND (:only_status::int IS NULL OR status = :only_status)
EXCEPT
SELECT p.id_base + o
FROM emag_sync_scan_pages AS p, unnest(p.id_offsets) AS o
WHERE p.scan_id = :scan_id AND p.pass = :pass_no
ORDER BY 1
LIMIT :limit;

-- name: is_open$
SELECT EXISTS (
    SELECT FROM emag_sync_scans
    WHERE account_type = :account AND sync_type = :sync_type AND operation = 'full_sync'
        AND started_at > clock_timestamp() - make_interval(secs => :resume_within_seconds)
);
