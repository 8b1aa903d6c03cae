"""What other hands do to the tables is noticed: a row changed by plain SQL is compared anew, no run is without an end.

Revision ID: 0005
Revises: 0004
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

CONTENT = (
    "part_number",
    "part_number_key",
    "name",
    "brand",
    "category_id",
    "vendor_category_id",
    "status",
    "sale_price",
    "recommended_price",
    "min_sale_price",
    "max_sale_price",
    "best_offer_sale_price",
    "best_offer_recommended_price",
    "currency",
    "vat_id",
    "warranty",
    "general_stock",
    "estimated_stock",
    "ean",
    "number_of_offers",
    "buy_button_rank",
    "ownership",
    "validation_status",
    "translation_validation_status",
    "offer_validation_status",
    "is_sellable",
    "main_image_url",
    "raw",
)

# The hashes say that a row is as the marketplace has it. Whoever changes the row and not the hashes makes them lie.
CHANGED = """
CREATE FUNCTION emag_products_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.content_hash := NULL;
    NEW.raw_hash := NULL;
    RETURN NEW;
END
$$
"""

CHANGED_TRIGGER = f"""
CREATE TRIGGER emag_products_changed BEFORE UPDATE OF {", ".join(CONTENT)} ON emag_products
    FOR EACH ROW WHEN (
        OLD.raw_hash IS NOT DISTINCT FROM NEW.raw_hash
        AND OLD.content_hash IS NOT DISTINCT FROM NEW.content_hash
        AND ({", ".join(f"OLD.{name}" for name in CONTENT)})
            IS DISTINCT FROM ({", ".join(f"NEW.{name}" for name in CONTENT)})
    )
    EXECUTE FUNCTION emag_products_changed()
"""

# No age and no duration can be told from infinite times: one such row would stop the watchdog and the schedule.
# NOT VALID: a row that is there already is no reason not to start.
FINITE = """
ALTER TABLE emag_sync_logs ADD CONSTRAINT emag_sync_logs_finite
    CHECK (isfinite(started_at) AND isfinite(completed_at)) NOT VALID
"""


def upgrade() -> None:
    """Add a trigger and a constraint."""
    for statement in (CHANGED, CHANGED_TRIGGER, FINITE):
        op.execute(statement)


def downgrade() -> None:
    """Drop them."""
    op.execute("ALTER TABLE emag_sync_logs DROP CONSTRAINT emag_sync_logs_finite")
    op.execute("DROP TRIGGER emag_products_changed ON emag_products")
    op.execute("DROP FUNCTION emag_products_changed()")
