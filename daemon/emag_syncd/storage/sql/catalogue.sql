-- What people and programs ask of the stored products and their changes.
--
-- Every filter of a query is optional. They are planned with their values: what is not asked for is not in the plan, a
-- CASE is the branch that applies, and an index serves as it would a query with nothing else in it.

-- name: plan_with_values!
SET LOCAL plan_cache_mode = force_custom_plan;

-- name: gather!
-- Have matches gathered by index and sorted, instead of going through all in order until there are enough.
SELECT set_config('enable_indexscan', 'off', true), set_config('enable_seqscan', 'off', true);

-- name: count_up_to$
SELECT count(*) FROM (
    SELECT FROM emag_products AS p
    WHERE
        /* matching */
    LIMIT :most
) AS found;

-- name: estimated$
-- What the planner thinks that there are.
EXPLAIN (FORMAT JSON) SELECT FROM emag_products AS p
WHERE
    /* matching */;

-- name: one^
SELECT
    /* columns */,
    p.raw
FROM emag_products AS p WHERE p.account_type = :account AND p.emag_id = :emag_id;

-- name: history_of
-- The changes of one product, newest first.
SELECT id, account_type, emag_id, sync_log_id, changed_at, kind, changes FROM emag_product_changes
WHERE account_type = :account AND emag_id = :emag_id AND (:before::bigint IS NULL OR id < :before)
ORDER BY id DESC LIMIT :limit;

-- name: points
-- A product's price, stock and buy-button rank each time that one of them changed, newest first: whoever draws them
-- needs no more than so many.
SELECT id, changed_at, kind,
    changes -> 'sale_price' -> 'new' AS sale_price,
    changes -> 'general_stock' -> 'new' AS general_stock,
    changes -> 'buy_button_rank' -> 'new' AS buy_button_rank
FROM emag_product_changes
WHERE account_type = :account AND emag_id = :emag_id
    AND (kind IN ('removed', 'restored') OR changes ?| ARRAY['sale_price', 'general_stock', 'buy_button_rank'])
ORDER BY id DESC LIMIT :limit;

-- name: settled$
-- The last id up to which no change can appear any more.
--
-- Ids are drawn before they are committed, and another account's transaction may draw later and commit earlier. A trigger
-- lets each transaction that is about to draw ids hold a lock that tells the last id there was: those that it draws are
-- above it. The rows are read first: whoever drew an id up to the last one there held its lock by then, and either still
-- does or has committed. A lock can tell the lower 32 bits only; what lies far below the last id is really above it.
SELECT least(last.id, (
    SELECT last.id - max(below.distance)
    FROM pg_locks AS l
    CROSS JOIN LATERAL (SELECT (last.id - l.objid::bigint) & 4294967295 AS distance) AS below
    WHERE l.locktype = 'advisory' AND l.objsubid = 2 AND l.classid = 'emag_product_changes'::regclass
        AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND below.distance < 2147483648
))
FROM (SELECT coalesce(max(id), 0) AS id FROM emag_product_changes) AS last;

-- name: changes_after
SELECT id, account_type, emag_id, sync_log_id, changed_at, kind, changes FROM emag_product_changes
WHERE id > :after AND id <= :settled
    AND (:account::text IS NULL OR account_type = :account)
    AND (:kind::text IS NULL OR kind = :kind)
ORDER BY id LIMIT :limit;

-- name: changes_before
SELECT c.id, c.account_type, c.emag_id, c.sync_log_id, c.changed_at, c.kind, c.changes, p.name, p.part_number, p.currency,
    p.main_image_url
FROM emag_product_changes AS c
LEFT JOIN emag_products AS p ON p.account_type = c.account_type AND p.emag_id = c.emag_id
WHERE (:before::bigint IS NULL OR c.id < :before)
    AND (:account::text IS NULL OR c.account_type = :account)
    AND (:kind::text IS NULL OR c.kind = :kind)
    AND (:run_id::uuid IS NULL OR c.sync_log_id = :run_id)
    AND (:column::text IS NULL OR c.changes ? :column)
ORDER BY c.id DESC LIMIT :limit;

-- name: is_searchable$
-- Whether names and part numbers have their index, which needs an extension.
SELECT to_regclass('emag_products_by_words') IS NOT NULL;

-- name: changes_of_matching
-- Those of the products that match, oldest first.
SELECT c.id, c.account_type, c.emag_id, c.sync_log_id, c.changed_at, c.kind, c.changes
FROM emag_products AS p
JOIN emag_product_changes AS c ON c.account_type = p.account_type AND c.emag_id = p.emag_id
WHERE c.id > :after AND c.id <= :settled
    AND
    /* matching */
ORDER BY c.id LIMIT :limit;

-- name: runs_after
SELECT * FROM emag_sync_logs
WHERE (:account::text IS NULL OR account_type = :account)
    AND (:after_id::uuid IS NULL OR (started_at, id) > (:after_start::timestamptz, :after_id))
ORDER BY started_at, id LIMIT :limit;

-- name: endings
-- How the runs that began within so many days ended.
SELECT status, count(*) AS runs FROM emag_sync_logs
WHERE started_at > now() - make_interval(days => :days) AND status <> 'running'
GROUP BY status;
