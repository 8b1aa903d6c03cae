"""What searching the products and following their changes needs.

Revision ID: 0007
Revises: 0006
"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

# pg_trgm is trusted: who may create in the database may have it, where the server has it at all. Without it all works,
# and searching reads every row. Whatever it is that stands in the way, it is no reason not to start.
WORDS = """
DO $$
BEGIN
    CREATE EXTENSION IF NOT EXISTS pg_trgm;
    CREATE INDEX emag_products_by_words ON emag_products USING gin (
        name gin_trgm_ops, part_number gin_trgm_ops, part_number_key gin_trgm_ops, ean
    );
EXCEPTION WHEN OTHERS THEN
    RAISE NOTICE 'searching will be slow without pg_trgm: %', SQLERRM;
END
$$
"""

# What is not of every day is found among what is.
CHANGES = """
CREATE INDEX emag_product_changes_by_kind ON emag_product_changes (kind, id) WHERE kind <> 'updated'
"""

# Whoever follows the changes by id must not be told of one while a smaller one is still to come. So a transaction that
# is about to draw ids holds a lock until it ends, and the lock tells that its ids are above the last one there was.
ANNOUNCE = """
CREATE FUNCTION emag_product_changes_announce() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    last bigint;
BEGIN
    EXECUTE format('SELECT coalesce(max(id), 0) FROM %s', TG_RELID::regclass) INTO last;
    PERFORM pg_advisory_xact_lock_shared(TG_RELID::int, (last << 32 >> 32)::int);
    RETURN NULL;
END
$$
"""
ANNOUNCED = """
CREATE TRIGGER emag_product_changes_announced BEFORE INSERT ON emag_product_changes
    FOR EACH STATEMENT EXECUTE FUNCTION emag_product_changes_announce()
"""


def upgrade() -> None:
    """Make the indexes and the trigger."""
    for statement in (WORDS, CHANGES, ANNOUNCE, ANNOUNCED):
        op.execute(statement)


def downgrade() -> None:
    """Drop them. The extension stays: others may use it by now."""
    op.execute("DROP TRIGGER emag_product_changes_announced ON emag_product_changes")
    op.execute("DROP FUNCTION emag_product_changes_announce()")
    op.execute("DROP INDEX emag_product_changes_by_kind")
    op.execute("DROP INDEX IF EXISTS emag_products_by_words")
