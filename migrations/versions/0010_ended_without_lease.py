"""No run ends with its lease: where the trigger is missing that takes it away, as in a half restored database.

A dump's CHECK constraints are restored with the tables, its triggers last.

Revision ID: 0010
Revises: 0009
"""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

FREE = """
UPDATE emag_sync_logs SET lease_token = NULL, lease_expires_at = NULL
WHERE status <> 'running' AND (lease_token IS NOT NULL OR lease_expires_at IS NOT NULL)
"""
NO_LEASE = """
ALTER TABLE emag_sync_logs ADD CONSTRAINT emag_sync_logs_ended_without_lease
    CHECK (status = 'running' OR (lease_token IS NULL AND lease_expires_at IS NULL))
"""


def upgrade() -> None:
    """Take the leases of runs that ended in such a database, and let no other end so."""
    for statement in (FREE, NO_LEASE):
        op.execute(statement)


def downgrade() -> None:
    """Rely on the trigger alone."""
    op.execute("ALTER TABLE emag_sync_logs DROP CONSTRAINT emag_sync_logs_ended_without_lease")
