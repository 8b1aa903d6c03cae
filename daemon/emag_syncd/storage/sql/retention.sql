-- Deletes what is old, a few rows at a time, so that no statement is long and nobody waits for one.
--
-- Each query walks from the oldest row on, beginning at the place of the last one that the query before saw (:after), and
-- returns how many rows it saw, how many of them it deleted, and the place of the last one.
-- now() and not clock_timestamp(): the planner takes only what stays the same within a statement to an index.

-- name: only_sweeper$
-- One daemon at a time: two would wait for each other's rows.
SELECT pg_try_advisory_xact_lock(:key);

-- name: sweep_changes^
-- By id, which grows with time. What a webhook still has to tell of stays.
WITH seen AS (
    SELECT id, changed_at FROM emag_product_changes
    WHERE id >= coalesce(:after::bigint, 0)
        AND id < coalesce((SELECT min(first_change_id) FROM emag_webhook_outbox), 9223372036854775807)
    ORDER BY id LIMIT :limit
), gone AS (
    DELETE FROM emag_product_changes WHERE id = ANY (ARRAY(
        SELECT id FROM seen WHERE changed_at < now() - make_interval(secs => :seconds)
    ))
    RETURNING id
)
SELECT (SELECT count(*) FROM seen) AS seen, (SELECT count(*) FROM gone) AS deleted, (SELECT max(id) FROM seen) AS last;

-- name: sweep_runs^
-- What is kept whatever its age: runs under way, the latest of an account, of its operations and of their outcomes,
-- the one that had the latest slot of a schedule, and those of a scan that is not finished. Each of these is read for
-- what happens next. The subqueries are scalar ones for the planner to look them up row by row.
WITH seen AS (
    SELECT id, started_at FROM emag_sync_logs
    WHERE started_at >= coalesce(:after::timestamptz, '-infinity')
        AND started_at < now() - make_interval(secs => :seconds)
    ORDER BY started_at LIMIT :limit
), gone AS (
    DELETE FROM emag_sync_logs AS l
    WHERE l.id = ANY (ARRAY(SELECT id FROM seen))
        AND l.status <> 'running'
        AND (
            SELECT true FROM emag_sync_logs AS n
            WHERE n.account_type = l.account_type AND n.operation = l.operation AND n.status = l.status
                AND n.started_at > l.started_at AND (l.sync_params ? 'max_pages' OR NOT n.sync_params ? 'max_pages')
            LIMIT 1
        )
        AND (
            SELECT count(*) FROM (
                SELECT FROM emag_sync_logs AS n
                WHERE n.account_type = l.account_type AND n.started_at > l.started_at
                LIMIT :latest
            ) AS newer
        ) = :latest
        AND (
            l.scheduled_for IS NULL
            OR (
                SELECT true FROM emag_sync_logs AS n
                WHERE n.account_type = l.account_type AND n.sync_type = l.sync_type AND n.operation = l.operation
                    AND n.scheduled_for > l.scheduled_for
                LIMIT 1
            )
        )
        AND (SELECT true FROM emag_sync_scans AS s WHERE s.id = l.scan_id LIMIT 1) IS NULL
    RETURNING l.id
)
SELECT (SELECT count(*) FROM seen) AS seen, (SELECT count(*) FROM gone) AS deleted,
    (SELECT max(started_at) FROM seen) AS last;

-- name: sweep_api_calls^
WITH seen AS (
    SELECT ctid AS place, called_at FROM emag_api_calls
    WHERE called_at >= coalesce(:after::timestamptz, '-infinity')
        AND called_at < now() - make_interval(secs => :seconds)
    ORDER BY called_at LIMIT :limit
), gone AS (
    DELETE FROM emag_api_calls WHERE ctid = ANY (ARRAY(SELECT place FROM seen)) RETURNING 1
)
SELECT (SELECT count(*) FROM seen) AS seen, (SELECT count(*) FROM gone) AS deleted,
    (SELECT max(called_at) FROM seen) AS last;

-- name: sweep_rejects^
WITH seen AS (
    SELECT ctid AS place, created_at FROM emag_sync_rejects
    WHERE created_at >= coalesce(:after::timestamptz, '-infinity')
        AND created_at < now() - make_interval(secs => :seconds)
    ORDER BY created_at LIMIT :limit
), gone AS (
    DELETE FROM emag_sync_rejects WHERE ctid = ANY (ARRAY(SELECT place FROM seen)) RETURNING 1
)
SELECT (SELECT count(*) FROM seen) AS seen, (SELECT count(*) FROM gone) AS deleted,
    (SELECT max(created_at) FROM seen) AS last;

-- name: sweep_scans^
-- Those that are too old to be taken up, and that no run works on any more, with what they have read.
WITH seen AS (
    SELECT id, started_at FROM emag_sync_scans
    WHERE started_at >= coalesce(:after::timestamptz, '-infinity')
        AND started_at < now() - make_interval(secs => :seconds)
    ORDER BY started_at LIMIT :limit
), gone AS (
    DELETE FROM emag_sync_scans AS s
    WHERE s.id = ANY (ARRAY(SELECT id FROM seen))
        AND (SELECT true FROM emag_sync_logs AS l WHERE l.scan_id = s.id AND l.status = 'running' LIMIT 1) IS NULL
    RETURNING s.id
), pages AS (
    DELETE FROM emag_sync_scan_pages AS p USING gone WHERE p.scan_id = gone.id
)
SELECT (SELECT count(*) FROM seen) AS seen, (SELECT count(*) FROM gone) AS deleted,
    (SELECT max(started_at) FROM seen) AS last;

-- name: sweep_endpoints^
-- Receivers that no daemon has had in its configuration for so long.
WITH seen AS (
    SELECT id, seen_at FROM emag_webhook_endpoints
    WHERE seen_at >= coalesce(:after::timestamptz, '-infinity')
        AND seen_at < now() - make_interval(secs => :seconds)
    ORDER BY seen_at LIMIT :limit
), gone AS (
    DELETE FROM emag_webhook_endpoints WHERE id = ANY (ARRAY(SELECT id FROM seen)) RETURNING id
)
SELECT (SELECT count(*) FROM seen) AS seen, (SELECT count(*) FROM gone) AS deleted,
    (SELECT max(seen_at) FROM seen) AS last;

-- name: sweep_outbox^
-- What was given up that long ago, and what was for receivers that are forgotten.
WITH seen AS (
    (
        SELECT id, dead_at FROM emag_webhook_outbox
        WHERE dead_at >= coalesce(:after::timestamptz, '-infinity')
            AND dead_at < now() - make_interval(secs => :seconds)
        ORDER BY dead_at LIMIT :limit
    )
    UNION ALL
    (
        SELECT o.id, NULL FROM emag_webhook_outbox AS o
        WHERE NOT EXISTS (SELECT FROM emag_webhook_endpoints AS e WHERE e.id = o.endpoint)
        LIMIT :limit
    )
), gone AS (
    DELETE FROM emag_webhook_outbox WHERE id = ANY (ARRAY(SELECT id FROM seen)) RETURNING id
)
SELECT (SELECT count(*) FROM seen) AS seen, (SELECT count(*) FROM gone) AS deleted,
    (SELECT max(dead_at) FROM seen) AS last;
