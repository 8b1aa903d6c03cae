-- What receivers of webhooks are still to be told. A lane is what one receiver is told of one account: in order.

-- name: register
-- Whoever has these receivers in its configuration says so from time to time.
INSERT INTO emag_webhook_endpoints AS e (id, address)
SELECT mine.id, mine.address FROM unnest(:ids::text[], :addresses::text[]) AS mine (id, address)
ORDER BY mine.id
ON CONFLICT (id) DO UPDATE SET seen_at = clock_timestamp(), address = excluded.address
RETURNING id, address, disabled_at, disabled_reason;

-- name: claim_lanes
-- The first waiting message of a lane is the only one that may be sent: it holds the others' places behind it.
WITH RECURSIVE lane (account_type) AS (
    (
        SELECT account_type FROM emag_webhook_outbox
        WHERE endpoint = :endpoint AND dead_at IS NULL
        ORDER BY account_type LIMIT 1
    )
    UNION ALL
    SELECT (
        SELECT o.account_type FROM emag_webhook_outbox AS o
        WHERE o.endpoint = :endpoint AND o.dead_at IS NULL AND o.account_type > lane.account_type
        ORDER BY o.account_type LIMIT 1
    )
    FROM lane WHERE lane.account_type IS NOT NULL
), head AS (
    SELECT first.id
    FROM lane CROSS JOIN LATERAL (
        SELECT o.id, o.next_attempt_at, o.claimed_until FROM emag_webhook_outbox AS o
        WHERE o.endpoint = :endpoint AND o.account_type = lane.account_type AND o.dead_at IS NULL
        ORDER BY o.id LIMIT 1
    ) AS first
    WHERE coalesce(first.next_attempt_at, '-infinity') <= clock_timestamp()
        AND coalesce(first.claimed_until, '-infinity') < clock_timestamp()
    LIMIT :limit
)
UPDATE emag_webhook_outbox AS o
SET claim = gen_random_uuid(), claimed_until = clock_timestamp() + make_interval(secs => :claim_seconds)
FROM head
WHERE o.id = head.id AND o.dead_at IS NULL
    AND coalesce(o.next_attempt_at, '-infinity') <= clock_timestamp()
    AND coalesce(o.claimed_until, '-infinity') < clock_timestamp()
RETURNING o.*;

-- name: delivered^
-- Drops the message and claims the next of its lane in the same breath; no row where the claim was lost or none waits.
WITH gone AS (
    DELETE FROM emag_webhook_outbox WHERE id = :id AND claim = :claim
    RETURNING id, endpoint, account_type
), next AS (
    SELECT o.id
    FROM gone CROSS JOIN LATERAL (
        SELECT id FROM emag_webhook_outbox
        WHERE endpoint = gone.endpoint AND account_type = gone.account_type AND dead_at IS NULL AND id > gone.id
        ORDER BY id LIMIT 1
    ) AS o
)
UPDATE emag_webhook_outbox AS o
SET claim = gen_random_uuid(), claimed_until = clock_timestamp() + make_interval(secs => :claim_seconds)
FROM next
WHERE o.id = next.id AND o.dead_at IS NULL AND coalesce(o.claimed_until, '-infinity') < clock_timestamp()
RETURNING o.*;

-- name: failed^
-- A message is given up when it is old and its lane has failed for as long. The next one inherits for how long that
-- is, so that a receiver that is gone for good does not hold each of its messages anew.
WITH failed AS (
    UPDATE emag_webhook_outbox
    SET attempts = attempts + 1,
        failing_since = coalesce(failing_since, clock_timestamp()),
        next_attempt_at = clock_timestamp() + make_interval(secs => :wait_seconds),
        last_error = :error,
        claim = NULL,
        claimed_until = NULL,
        dead_at = CASE
            WHEN greatest(created_at, coalesce(failing_since, clock_timestamp()))
                < clock_timestamp() - make_interval(secs => :patience_seconds) THEN clock_timestamp()
        END
    WHERE id = :id AND claim = :claim
    RETURNING id, endpoint, account_type, attempts, failing_since, dead_at
), heir AS (
    SELECT o.id, failed.attempts, failed.failing_since
    FROM failed CROSS JOIN LATERAL (
        SELECT id FROM emag_webhook_outbox
        WHERE endpoint = failed.endpoint AND account_type = failed.account_type AND dead_at IS NULL
            AND id > failed.id
        ORDER BY id LIMIT 1
    ) AS o
    WHERE failed.dead_at IS NOT NULL
), inherited AS (
    UPDATE emag_webhook_outbox AS o SET attempts = heir.attempts, failing_since = heir.failing_since
    FROM heir WHERE o.id = heir.id
)
SELECT dead_at IS NOT NULL AS dead FROM failed;

-- name: unclaim!
UPDATE emag_webhook_outbox SET claim = NULL, claimed_until = NULL WHERE id = ANY (:ids::bigint[])
    AND claim = ANY (:claims::uuid[]);

-- name: changes_of
SELECT id, emag_id, kind, changed_at, changes FROM emag_product_changes
WHERE id BETWEEN :first_id AND :last_id AND account_type = :account AND sync_log_id = :run_id
ORDER BY id;

-- name: disable$
-- The receiver said that it is gone: nothing more is written for it, and what waits is dead.
WITH gone AS (
    UPDATE emag_webhook_endpoints SET disabled_at = clock_timestamp(), disabled_reason = :reason
    WHERE id = :endpoint AND disabled_at IS NULL
), dead AS (
    UPDATE emag_webhook_outbox
    SET dead_at = clock_timestamp(), last_error = :reason, claim = NULL, claimed_until = NULL
    WHERE endpoint = :endpoint AND dead_at IS NULL
    RETURNING id
)
SELECT count(*) FROM dead;

-- name: retry^
-- Puts dead messages back into their places, and lets disabled receivers be tried again.
WITH enabled AS (
    UPDATE emag_webhook_endpoints SET disabled_at = NULL, disabled_reason = NULL
    WHERE disabled_at IS NOT NULL
    RETURNING id
), revived AS (
    UPDATE emag_webhook_outbox
    SET dead_at = NULL, attempts = 0, failing_since = NULL, next_attempt_at = NULL
    WHERE dead_at IS NOT NULL
    RETURNING id
)
SELECT (SELECT count(*) FROM revived) AS messages, (SELECT count(*) FROM enabled) AS endpoints;

-- name: backlog^
-- Of the receivers that some daemon still has in its configuration.
SELECT count(o.id) FILTER (WHERE o.dead_at IS NULL) AS pending,
    count(o.id) FILTER (WHERE o.dead_at IS NOT NULL) AS dead,
    coalesce(extract(epoch FROM clock_timestamp() - min(o.created_at) FILTER (WHERE o.dead_at IS NULL)), 0)::float8
        AS oldest_pending_seconds
FROM emag_webhook_outbox AS o
JOIN emag_webhook_endpoints AS e ON e.id = o.endpoint
WHERE e.seen_at > clock_timestamp() - make_interval(secs => :seen_within_seconds);
