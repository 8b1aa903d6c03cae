"""The tables of the contract, and what a scan needs to be taken up again.

Revision ID: 0001
Revises:
"""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

RUNS = """
CREATE TABLE emag_sync_logs (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    sync_type text NOT NULL DEFAULT 'products',
    account_type text NOT NULL,
    operation text NOT NULL
        CHECK (operation IN ('full_sync', 'incremental_sync', 'selective_sync')),
    status text NOT NULL DEFAULT 'running'
        CHECK (status IN ('running', 'completed', 'partial', 'failed', 'cancelled')),
    started_at timestamptz NOT NULL DEFAULT now(),
    completed_at timestamptz,
    duration_seconds double precision,
    total_items bigint NOT NULL DEFAULT 0,
    processed_items bigint NOT NULL DEFAULT 0,
    created_items bigint NOT NULL DEFAULT 0,
    updated_items bigint NOT NULL DEFAULT 0,
    unchanged_items bigint NOT NULL DEFAULT 0,
    removed_items bigint NOT NULL DEFAULT 0,
    failed_items bigint NOT NULL DEFAULT 0,
    pages_processed bigint NOT NULL DEFAULT 0,
    api_requests_made bigint NOT NULL DEFAULT 0,
    rate_limit_hits bigint NOT NULL DEFAULT 0,
    errors jsonb NOT NULL DEFAULT '[]',
    warnings jsonb NOT NULL DEFAULT '[]',
    sync_params jsonb NOT NULL DEFAULT '{}',
    triggered_by text NOT NULL DEFAULT 'api',
    scheduled_for timestamptz,
    worker_id text,
    heartbeat_at timestamptz,
    lease_expires_at timestamptz,
    lease_token uuid,
    commits bigint NOT NULL DEFAULT 0,
    scan_id uuid
) WITH (fillfactor = 70)
"""

# One run at a time, whoever starts it.
ONE_RUNNING = """
CREATE UNIQUE INDEX emag_sync_logs_one_running ON emag_sync_logs (account_type, sync_type)
    WHERE status = 'running'
"""

# A slot of the schedule runs once in the whole fleet.
ONE_PER_SLOT = """
CREATE UNIQUE INDEX emag_sync_logs_one_per_slot
    ON emag_sync_logs (account_type, sync_type, operation, scheduled_for)
    WHERE scheduled_for IS NOT NULL
"""

RUNS_BY_ACCOUNT = "CREATE INDEX emag_sync_logs_by_account ON emag_sync_logs (account_type, started_at DESC)"
RUNS_BY_START = "CREATE INDEX emag_sync_logs_by_start ON emag_sync_logs (started_at DESC, id)"

# However a run is ended, by the daemon or by an operator's UPDATE: from then on nobody holds its lease, and its row
# says when it ended. A row that is set back to running by hand begins anew, and is nobody's.
STATUS_CHANGED = """
CREATE FUNCTION emag_sync_logs_status_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.lease_token := NULL;
    NEW.lease_expires_at := NULL;
    IF NEW.status = 'running' THEN
        NEW.completed_at := NULL;
        NEW.duration_seconds := NULL;
    ELSE
        NEW.completed_at := coalesce(NEW.completed_at, clock_timestamp());
        NEW.duration_seconds :=
            coalesce(NEW.duration_seconds, extract(epoch FROM NEW.completed_at - NEW.started_at));
    END IF;
    RETURN NEW;
END
$$
"""

STATUS_CHANGED_TRIGGER = """
CREATE TRIGGER emag_sync_logs_status_changed BEFORE UPDATE OF status ON emag_sync_logs
    FOR EACH ROW WHEN ((OLD.status = 'running') <> (NEW.status = 'running'))
    EXECUTE FUNCTION emag_sync_logs_status_changed()
"""

PROGRESS = """
CREATE TABLE emag_sync_progress (
    account_type text NOT NULL,
    sync_type text NOT NULL DEFAULT 'products',
    sync_log_id uuid NOT NULL,
    current_page bigint NOT NULL DEFAULT 0,
    total_pages bigint NOT NULL DEFAULT 0,
    processed_items bigint NOT NULL DEFAULT 0,
    total_items bigint NOT NULL DEFAULT 0,
    items_per_second double precision,
    estimated_completion timestamptz,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (account_type, sync_type)
) WITH (fillfactor = 50)
"""

# A scan outlives the runs that work on it: it is what a later run takes up.
SCANS = """
CREATE TABLE emag_sync_scans (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    account_type text NOT NULL,
    sync_type text NOT NULL DEFAULT 'products',
    operation text NOT NULL,
    pass smallint NOT NULL DEFAULT 1,
    started_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (account_type, sync_type, operation)
)
"""

# What a scan has read, a row a page: the offers' positions [start_at, end_at) and their ids as offsets to
# id_base, which halves them. No foreign keys: their checks would lock and dirty the scan's row with each page.
SCAN_PAGES = """
CREATE TABLE emag_sync_scan_pages (
    scan_id uuid NOT NULL,
    pass smallint NOT NULL,
    start_at bigint NOT NULL,
    end_at bigint NOT NULL,
    id_base bigint NOT NULL,
    id_offsets integer[] NOT NULL
)
"""
SCAN_PAGES_BY_SCAN = "CREATE INDEX emag_sync_scan_pages_by_scan ON emag_sync_scan_pages (scan_id)"

PRODUCTS = """
CREATE TABLE emag_products (
    account_type text NOT NULL,
    emag_id bigint NOT NULL,
    category_id bigint,
    vendor_category_id bigint,
    vat_id bigint,
    first_seen_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    removed_at timestamptz,
    status integer,
    warranty integer,
    general_stock integer,
    estimated_stock integer,
    number_of_offers integer,
    buy_button_rank integer,
    ownership integer,
    validation_status integer,
    translation_validation_status integer,
    offer_validation_status integer,
    is_sellable boolean,
    sale_price numeric(14, 4),
    recommended_price numeric(14, 4),
    min_sale_price numeric(14, 4),
    max_sale_price numeric(14, 4),
    best_offer_sale_price numeric(14, 4),
    best_offer_recommended_price numeric(14, 4),
    currency text,
    part_number text,
    part_number_key text,
    name text,
    brand text,
    main_image_url text,
    ean text[],
    content_hash bytea,
    raw_hash bytea,
    raw jsonb,
    PRIMARY KEY (account_type, emag_id)
) WITH (fillfactor = 85)
"""

# Not every server is built with lz4; where it is, it takes a third off the time to write an offer.
PRODUCTS_LZ4 = """
DO $$
BEGIN
    IF EXISTS (
        SELECT FROM pg_settings WHERE name = 'default_toast_compression' AND 'lz4' = ANY (enumvals)
    ) THEN
        ALTER TABLE emag_products ALTER COLUMN raw SET COMPRESSION lz4;
    END IF;
END
$$
"""

CHANGES = """
CREATE TABLE emag_product_changes (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    emag_id bigint NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT now(),
    sync_log_id uuid,
    account_type text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('created', 'updated', 'removed', 'restored')),
    changes jsonb NOT NULL DEFAULT '{}'
)
"""
CHANGES_BY_OFFER = "CREATE INDEX emag_product_changes_by_offer ON emag_product_changes (account_type, emag_id, id)"
CHANGES_BY_TIME = (
    "CREATE INDEX emag_product_changes_by_time ON emag_product_changes"
    " USING brin (changed_at) WITH (autosummarize = on)"
)

REJECTS = """
CREATE TABLE emag_sync_rejects (
    created_at timestamptz NOT NULL DEFAULT now(),
    sync_log_id uuid,
    account_type text NOT NULL,
    page bigint,
    emag_id bigint,
    reason text NOT NULL,
    raw text NOT NULL
)
"""
REJECTS_BY_RUN = "CREATE INDEX emag_sync_rejects_by_run ON emag_sync_rejects (sync_log_id)"

API_CALLS = """
CREATE TABLE emag_api_calls (
    called_at timestamptz NOT NULL,
    sync_log_id uuid,
    duration_ms double precision NOT NULL,
    response_bytes bigint,
    status_code integer,
    is_error boolean NOT NULL,
    account_type text NOT NULL,
    resource text NOT NULL,
    outcome text NOT NULL,
    params jsonb NOT NULL DEFAULT '{}',
    messages jsonb NOT NULL DEFAULT '[]',
    body text
)
"""
API_CALLS_BY_TIME = (
    "CREATE INDEX emag_api_calls_by_time ON emag_api_calls USING brin (called_at) WITH (autosummarize = on)"
)

STATEMENTS = (
    RUNS,
    ONE_RUNNING,
    ONE_PER_SLOT,
    RUNS_BY_ACCOUNT,
    RUNS_BY_START,
    STATUS_CHANGED,
    STATUS_CHANGED_TRIGGER,
    PROGRESS,
    SCANS,
    SCAN_PAGES,
    SCAN_PAGES_BY_SCAN,
    PRODUCTS,
    PRODUCTS_LZ4,
    CHANGES,
    CHANGES_BY_OFFER,
    CHANGES_BY_TIME,
    REJECTS,
    REJECTS_BY_RUN,
    API_CALLS,
    API_CALLS_BY_TIME,
)

TABLES = (
    "emag_api_calls",
    "emag_sync_rejects",
    "emag_product_changes",
    "emag_products",
    "emag_sync_scan_pages",
    "emag_sync_scans",
    "emag_sync_progress",
    "emag_sync_logs",
)


def upgrade() -> None:
    """Create the tables."""
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """Drop the tables."""
    for table in TABLES:
        op.execute(f"DROP TABLE {table}")
    op.execute("DROP FUNCTION emag_sync_logs_status_changed()")
