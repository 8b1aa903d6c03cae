-- The mirror of the marketplace's offers, and the one transaction in which a page is merged into it.

-- name: known
-- LATERAL keeps the planner on the primary key even before the table was ever analysed.
SELECT p.emag_id, p.raw_hash, p.content_hash, p.removed_at IS NOT NULL AS removed
FROM unnest(:ids::bigint[]) AS wanted (id)
CROSS JOIN LATERAL (
    SELECT emag_id, raw_hash, content_hash, removed_at FROM emag_products
    WHERE account_type = :account AND emag_id = wanted.id
    LIMIT 1
) AS p;

-- name: stored
SELECT p.* FROM unnest(:ids::bigint[]) AS wanted (id)
CROSS JOIN LATERAL (
    SELECT * FROM emag_products WHERE account_type = :account AND emag_id = wanted.id LIMIT 1
) AS p;

-- name: advance$
-- The fence, the run's counters, its lease, its progress and the scan's checkpoint, all or nothing.
WITH fence AS (
    UPDATE emag_sync_logs
    SET total_items = :total_items,
        processed_items = processed_items + :processed_items,
        created_items = created_items + :created_items,
        updated_items = updated_items + :updated_items,
        unchanged_items = unchanged_items + :unchanged_items,
        removed_items = removed_items + :removed_items,
        failed_items = failed_items + :failed_items,
        pages_processed = pages_processed + :pages_processed,
        api_requests_made = api_requests_made + :api_requests_made,
        rate_limit_hits = rate_limit_hits + :rate_limit_hits,
        warnings = coalesce(:warnings::jsonb, warnings),
        commits = commits + 1,
        heartbeat_at = clock_timestamp(),
        lease_expires_at = clock_timestamp() + make_interval(secs => :lease_seconds)
    WHERE id = :run_id AND lease_token = :token AND status = 'running' AND commits = :commits
    RETURNING id, account_type, sync_type
), progress AS (
    INSERT INTO emag_sync_progress AS p (
        account_type, sync_type, sync_log_id, current_page, total_pages, processed_items, total_items,
        items_per_second, estimated_completion, updated_at
    )
    SELECT account_type, sync_type, id, :current_page, :total_pages, :progress_items, :total_items,
        :items_per_second, clock_timestamp() + make_interval(secs => :seconds_left), clock_timestamp()
    FROM fence
    ON CONFLICT (account_type, sync_type) DO UPDATE
    SET sync_log_id = excluded.sync_log_id,
        current_page = excluded.current_page,
        total_pages = excluded.total_pages,
        processed_items = excluded.processed_items,
        total_items = excluded.total_items,
        items_per_second = excluded.items_per_second,
        estimated_completion = excluded.estimated_completion,
        updated_at = excluded.updated_at
    -- Nobody can follow more than a few a second; the last one is what stays.
    WHERE p.sync_log_id <> excluded.sync_log_id
        OR p.updated_at NOT BETWEEN excluded.updated_at - interval '0.2 s' AND excluded.updated_at
        OR excluded.processed_items >= excluded.total_items
), pages AS (
    INSERT INTO emag_sync_scan_pages (scan_id, pass, start_at, end_at, id_base, id_offsets, pages)
    SELECT :scan_id, :pass_no, page.start_at, page.end_at, page.id_base, page.id_offsets::integer[], page.pages
    FROM fence, unnest(
        :starts::bigint[], :ends::bigint[], :bases::bigint[], :offsets::text[], :pages::smallint[]
    ) AS page (start_at, end_at, id_base, id_offsets, pages)
)
SELECT count(*) AS held FROM fence;

-- name: upsert*!
-- Called with offers that differ from what is stored, and with no others: a row that did not change is not written.
INSERT INTO emag_products (
    account_type, emag_id,
    part_number, part_number_key, name, brand, category_id, vendor_category_id, status, sale_price,
    recommended_price, min_sale_price, max_sale_price, best_offer_sale_price,
    best_offer_recommended_price, currency, vat_id, warranty, general_stock, estimated_stock, ean,
    number_of_offers, buy_button_rank, ownership, validation_status, translation_validation_status,
    offer_validation_status, is_sellable, main_image_url, content_hash, raw_hash, raw
)
VALUES (
    :account_type, :emag_id,
    :part_number, :part_number_key, :name, :brand, :category_id, :vendor_category_id, :status,
    :sale_price, :recommended_price, :min_sale_price, :max_sale_price, :best_offer_sale_price,
    :best_offer_recommended_price, :currency, :vat_id, :warranty, :general_stock, :estimated_stock,
    :ean, :number_of_offers, :buy_button_rank, :ownership, :validation_status,
    :translation_validation_status, :offer_validation_status, :is_sellable, :main_image_url,
    :content_hash, :raw_hash, :raw
)
ON CONFLICT (account_type, emag_id) DO UPDATE
SET removed_at = NULL,
    updated_at = CASE
        WHEN emag_products.content_hash IS DISTINCT FROM excluded.content_hash THEN excluded.updated_at
        ELSE emag_products.updated_at
    END,
    part_number = excluded.part_number,
    part_number_key = excluded.part_number_key,
    name = excluded.name,
    brand = excluded.brand,
    category_id = excluded.category_id,
    vendor_category_id = excluded.vendor_category_id,
    status = excluded.status,
    sale_price = excluded.sale_price,
    recommended_price = excluded.recommended_price,
    min_sale_price = excluded.min_sale_price,
    max_sale_price = excluded.max_sale_price,
    best_offer_sale_price = excluded.best_offer_sale_price,
    best_offer_recommended_price = excluded.best_offer_recommended_price,
    currency = excluded.currency,
    vat_id = excluded.vat_id,
    warranty = excluded.warranty,
    general_stock = excluded.general_stock,
    estimated_stock = excluded.estimated_stock,
    ean = excluded.ean,
    number_of_offers = excluded.number_of_offers,
    buy_button_rank = excluded.buy_button_rank,
    ownership = excluded.ownership,
    validation_status = excluded.validation_status,
    translation_validation_status = excluded.translation_validation_status,
    offer_validation_status = excluded.offer_validation_status,
    is_sellable = excluded.is_sellable,
    main_image_url = excluded.main_image_url,
    content_hash = excluded.content_hash,
    raw_hash = excluded.raw_hash,
    raw = excluded.raw;

-- name: commits_of$
SELECT commits FROM emag_sync_logs WHERE id = :run_id AND lease_token = :token AND status = 'running';

-- name: append_changes!
-- Whoever is told of changes by webhooks is told of all of a batch in one message.
WITH appended AS (
    INSERT INTO emag_product_changes (account_type, emag_id, sync_log_id, kind, changes)
    SELECT :account, change.emag_id, :run_id, change.kind, change.changes
    FROM unnest(:ids::bigint[], :kinds::text[], :changes::jsonb[]) AS change (emag_id, kind, changes)
    RETURNING id
)
INSERT INTO emag_webhook_outbox (endpoint, account_type, type, sync_log_id, first_change_id, last_change_id)
SELECT e.id, :account, 'product.changed', :run_id, batch.first_id, batch.last_id
FROM (SELECT min(id) AS first_id, max(id) AS last_id FROM appended) AS batch, emag_webhook_endpoints AS e
WHERE e.disabled_at IS NULL;

-- name: remove!
UPDATE emag_products SET removed_at = clock_timestamp()
WHERE account_type = :account AND emag_id = ANY (:ids::bigint[]) AND removed_at IS NULL;

-- name: set_aside!
INSERT INTO emag_sync_rejects (sync_log_id, account_type, page, emag_id, reason, raw)
SELECT :run_id, :account, reject.page, reject.emag_id, reject.reason, reject.raw
FROM unnest(
    :pages::bigint[], :ids::bigint[], :reasons::text[], :raws::text[]
) AS reject (page, emag_id, reason, raw);

-- name: live_offers$
SELECT count(*) FROM emag_products WHERE account_type = :account AND removed_at IS NULL;

-- name: states
SELECT account_type,
    count(*) FILTER (WHERE removed_at IS NULL) AS offers,
    count(*) FILTER (WHERE removed_at IS NULL AND status = 1) AS active,
    count(*) FILTER (WHERE removed_at IS NULL AND status = 0) AS inactive,
    count(*) FILTER (WHERE removed_at IS NULL AND status = 2) AS end_of_life,
    count(*) FILTER (WHERE removed_at IS NULL AND is_sellable) AS sellable,
    count(*) FILTER (WHERE removed_at IS NULL AND status = 1 AND general_stock <= 0) AS out_of_stock,
    count(*) FILTER (WHERE removed_at IS NULL AND status = 1 AND buy_button_rank > 1) AS buy_button_lost,
    count(*) FILTER (WHERE removed_at IS NULL AND validation_status = ANY (:rejected::int[])) AS rejected,
    count(*) FILTER (WHERE removed_at IS NOT NULL) AS removed
FROM emag_products GROUP BY account_type;
