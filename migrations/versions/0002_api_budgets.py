"""The budget of requests that all processes share: until when each account's is given away.

Revision ID: 0002
Revises: 0001
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# Worth half a second, changed with each request: it needs no write-ahead log, and is empty after a crash.
BUDGETS = """
CREATE UNLOGGED TABLE emag_api_budgets (
    account_type text PRIMARY KEY,
    holder text NOT NULL,
    free_at timestamptz NOT NULL
) WITH (fillfactor = 10)
"""


def upgrade() -> None:
    """Create the table."""
    op.execute(BUDGETS)


def downgrade() -> None:
    """Drop the table."""
    op.execute("DROP TABLE emag_api_budgets")
