"""A checkpoint may stand for several pages that follow each other: a run without news writes less.

Revision ID: 0009
Revises: 0008
"""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Tell how many pages a checkpoint stands for."""
    op.execute("ALTER TABLE emag_sync_scan_pages ADD COLUMN pages smallint NOT NULL DEFAULT 1")


def downgrade() -> None:
    """Do without: the positions of all of them stay."""
    op.execute("ALTER TABLE emag_sync_scan_pages DROP COLUMN pages")
