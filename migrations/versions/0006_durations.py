"""A run that a clock set back ended before it began took no time, rather than less than none.

Revision ID: 0006
Revises: 0005
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

STATUS_CHANGED = """
CREATE OR REPLACE FUNCTION emag_sync_logs_status_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.lease_token := NULL;
    NEW.lease_expires_at := NULL;
    IF NEW.status = 'running' THEN
        NEW.completed_at := NULL;
        NEW.duration_seconds := NULL;
    ELSE
        NEW.completed_at := coalesce(NEW.completed_at, clock_timestamp());
        NEW.duration_seconds := coalesce(NEW.duration_seconds, {duration});
    END IF;
    RETURN NEW;
END
$$
"""

BEFORE = "extract(epoch FROM NEW.completed_at - NEW.started_at)"


def upgrade() -> None:
    """Count no run's time below zero."""
    op.execute(STATUS_CHANGED.format(duration=f"greatest({BEFORE}, 0)"))


def downgrade() -> None:
    """Undo that."""
    op.execute(STATUS_CHANGED.format(duration=BEFORE))
