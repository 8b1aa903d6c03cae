-- A page of the products in an order: each query once for either way, which is in its name.

-- name: page/* way */
SELECT
    /* columns */,
    /* place */
FROM emag_products AS p
/* keys */
WHERE
    /* matching */
    AND /* behind */
ORDER BY /* order */
LIMIT :limit OFFSET :skip;

-- name: nearby/* way */
-- What of the page is among the next so many products by account and id.
SELECT
    /* columns */,
    /* place */
FROM (
    SELECT p.*
    FROM emag_products AS p
    /* keys */
    WHERE (:account::text IS NULL OR p.account_type = :account) AND /* behind */
    ORDER BY /* order */
    LIMIT :nearby
) AS p
/* keys */
WHERE
    /* matching */
ORDER BY /* order */
LIMIT :limit OFFSET :skip;

-- name: gathered/* way */
-- The same page out of the first so many that match, and how many those are; all products of the page where they are no
-- more than so many.
WITH found AS MATERIALIZED (
    SELECT p.account_type, p.emag_id, k.words, k.number, k.moment
    FROM emag_products AS p
    /* keys */
    WHERE
        /* matching */
    LIMIT :most
), page AS (
    SELECT p.*
    FROM found AS p
    CROSS JOIN LATERAL (SELECT p.words, p.number, p.moment) AS k
    WHERE /* behind */
    ORDER BY /* order */
    LIMIT :limit OFFSET :skip
)
SELECT
    /* columns */,
    /* place */,
    counted.found
FROM (SELECT count(*) AS found FROM found) AS counted
LEFT JOIN page AS k ON true
LEFT JOIN emag_products AS p ON p.account_type = k.account_type AND p.emag_id = k.emag_id
ORDER BY /* order */;
