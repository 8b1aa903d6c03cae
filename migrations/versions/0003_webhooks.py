"""What receivers of webhooks are still to be told, written with what it tells of.

Revision ID: 0003
Revises: 0002
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# The receivers that daemons have in their configuration. An address may hold a token, so it stands here without its
# query, and is known by its hash.
ENDPOINTS = """
CREATE TABLE emag_webhook_endpoints (
    id text PRIMARY KEY,
    address text NOT NULL,
    seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    disabled_at timestamptz,
    disabled_reason text
)
"""

# A row a message and receiver, gone when it was delivered. What a run was like when it ended is kept as it was then;
# changes of products are named by the stretch of the change log in which they stand.
OUTBOX = """
CREATE TABLE emag_webhook_outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    message_id uuid NOT NULL DEFAULT gen_random_uuid(),
    endpoint text NOT NULL,
    account_type text NOT NULL,
    type text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    sync_log_id uuid,
    run jsonb,
    first_change_id bigint,
    last_change_id bigint,
    attempts integer NOT NULL DEFAULT 0,
    failing_since timestamptz,
    next_attempt_at timestamptz,
    claim uuid,
    claimed_until timestamptz,
    dead_at timestamptz,
    last_error text
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 200)
"""

WAITING = """
CREATE INDEX emag_webhook_outbox_waiting ON emag_webhook_outbox (endpoint, account_type, id)
    WHERE dead_at IS NULL
"""
DEAD = "CREATE INDEX emag_webhook_outbox_dead ON emag_webhook_outbox (dead_at) WHERE dead_at IS NOT NULL"

# What retention must leave in the change log for messages that are not delivered yet.
CHANGES = """
CREATE INDEX emag_webhook_outbox_changes ON emag_webhook_outbox (first_change_id)
    WHERE first_change_id IS NOT NULL
"""

# However a run is ended. An operator's role needs no rights on the outbox for that: the function has its owner's.
RUN_ENDED = """
CREATE FUNCTION emag_sync_logs_ended() RETURNS trigger LANGUAGE plpgsql
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format(
        'INSERT INTO %1$I.emag_webhook_outbox (endpoint, account_type, type, sync_log_id, run)'
        ' SELECT id, $1, $2, $3, $4 FROM %1$I.emag_webhook_endpoints WHERE disabled_at IS NULL',
        TG_TABLE_SCHEMA
    ) USING NEW.account_type, 'sync.' || NEW.status, NEW.id, to_jsonb(NEW) - 'lease_token';
    RETURN NULL;
END
$$
"""

RUN_ENDED_TRIGGER = """
CREATE TRIGGER emag_sync_logs_ended AFTER UPDATE OF status ON emag_sync_logs
    FOR EACH ROW WHEN (OLD.status = 'running' AND NEW.status <> 'running')
    EXECUTE FUNCTION emag_sync_logs_ended()
"""


def upgrade() -> None:
    """Create the outbox and what fills it."""
    for statement in (ENDPOINTS, OUTBOX, WAITING, DEAD, CHANGES, RUN_ENDED, RUN_ENDED_TRIGGER):
        op.execute(statement)


def downgrade() -> None:
    """Drop them."""
    op.execute("DROP TRIGGER emag_sync_logs_ended ON emag_sync_logs")
    op.execute("DROP FUNCTION emag_sync_logs_ended()")
    op.execute("DROP TABLE emag_webhook_outbox")
    op.execute("DROP TABLE emag_webhook_endpoints")
