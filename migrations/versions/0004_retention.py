"""What retention needs to find old rows without reading the others, and to leave tables tidy behind it.

Revision ID: 0004
Revises: 0003
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# Deleted rows leave room that new ones fill: after a round each block range holds all ages, and BRIN is no help.
API_CALLS = "CREATE INDEX emag_api_calls_by_age ON emag_api_calls (called_at)"
API_CALLS_BRIN = "DROP INDEX emag_api_calls_by_time"
REJECTS = "CREATE INDEX emag_sync_rejects_by_age ON emag_sync_rejects (created_at)"

# Whether a run is the latest of its kind is asked of each one that is old.
OUTCOMES = """
CREATE INDEX emag_sync_logs_by_outcome ON emag_sync_logs (account_type, operation, status, started_at DESC)
"""

TIDIED = ("emag_api_calls", "emag_sync_rejects", "emag_product_changes", "emag_sync_logs")


def upgrade() -> None:
    """Make the indexes, and let autovacuum come before a fifth of a table is dead."""
    for statement in (API_CALLS, API_CALLS_BRIN, REJECTS, OUTCOMES):
        op.execute(statement)
    for table in TIDIED:
        op.execute(f"ALTER TABLE {table} SET (autovacuum_vacuum_scale_factor = 0.05)")


def downgrade() -> None:
    """Undo that."""
    for table in TIDIED:
        op.execute(f"ALTER TABLE {table} RESET (autovacuum_vacuum_scale_factor)")
    op.execute("DROP INDEX emag_sync_logs_by_outcome")
    op.execute("DROP INDEX emag_sync_rejects_by_age")
    op.execute("DROP INDEX emag_api_calls_by_age")
    op.execute("CREATE INDEX emag_api_calls_by_time ON emag_api_calls USING brin (called_at) WITH (autosummarize = on)")
