"""The trigger that notices other hands costs our own writes less: its condition is parsed anew for every statement.

Revision ID: 0008
Revises: 0007
"""

from alembic import op

revision = "0008"
down_revision = "0007"
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

DROP = "DROP TRIGGER emag_products_changed ON emag_products"
BODY = """
CREATE OR REPLACE FUNCTION emag_products_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    {guard}
    NEW.content_hash := NULL;
    NEW.raw_hash := NULL;
    RETURN NEW;
END
$$
"""
TRIGGER = f"""
CREATE TRIGGER emag_products_changed BEFORE UPDATE OF {", ".join(CONTENT)} ON emag_products
    FOR EACH ROW WHEN ({{when}})
    EXECUTE FUNCTION emag_products_changed()
"""

OLD, NEW = (f"({', '.join(f'{name}.{column}' for column in CONTENT)})" for name in ("OLD", "NEW"))
LIES = f"OLD.content_hash IS NOT DISTINCT FROM NEW.content_hash AND {OLD} IS DISTINCT FROM {NEW}"


def upgrade() -> None:
    """Compare the columns in the function, which is seldom called, and not in the condition."""
    guard = f"IF NOT ({LIES}) THEN RETURN NEW; END IF;"
    for statement in (DROP, BODY.format(guard=guard), TRIGGER.format(when="OLD.raw_hash = NEW.raw_hash")):
        op.execute(statement)


def downgrade() -> None:
    """Compare them in the condition."""
    when = f"OLD.raw_hash IS NOT DISTINCT FROM NEW.raw_hash AND {LIES}"
    for statement in (DROP, BODY.format(guard=""), TRIGGER.format(when=when)):
        op.execute(statement)
