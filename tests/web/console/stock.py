"""Products and changes for the console to show."""

from typing import Any

import msgspec

from tests.support.offers import Connection

RAW = {
    "id": 3,
    "stock": [{"warehouse_id": 1, "value": 5}],
    "handling_time": [{"warehouse_id": 1, "value": 2}],
    "validation_status": [
        {"value": 8, "description": "Rejected", "errors": [{"message": {"ro_RO": "Lipsește poza <b>din față</b>"}}]}
    ],
}
COLUMNS = (
    "emag_id, account_type, name, part_number, ean, status, sale_price, general_stock, buy_button_rank, brand,"
    " validation_status, offer_validation_status, is_sellable, removed_at, updated_at, currency"
)
ROWS = """
(1, 'main', 'Cablu USB-C 2 m', 'CB-2', '{5941234567890}', 1, 28.9256, 3, 1, 'Voltora', 9, 1, true, NULL,
    '2026-01-01Z', 'RON'),
(2, 'main', 'Husă neagră', 'HS-1', '{}', 1, 1234.5, 0, 2, 'Zéphyr', 9, 1, false, NULL, '2026-01-02Z', 'RON'),
(3, 'main', 'Lampă <i>albă</i>', 'LP-3', NULL, 0, NULL, 5, NULL, NULL, 8, 2, false, NULL, '2026-01-03Z', 'RON'),
(4, 'main', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '2026-01-04Z', NULL),
(5, 'main', 'Rucsac vechi', 'RC-5', NULL, 1, 10, 0, 1, NULL, 9, 1, false, now(), '2026-01-05Z', 'RON'),
(1, 'fbe', 'Cablu USB-C 1 m', 'CB-1', NULL, 1, 19.9, 9, 1, 'Voltora', 9, 1, true, NULL, '2026-01-06Z', 'RON')
"""
CHANGES: tuple[tuple[str, int, str, dict[str, Any]], ...] = (
    ("main", 1, "created", {"sale_price": {"old": None, "new": 30}, "general_stock": {"old": None, "new": 7}}),
    ("main", 1, "updated", {"sale_price": {"old": 30, "new": 24}, "raw": ["weight"]}),
    ("main", 1, "removed", {}),
    ("main", 1, "restored", {"general_stock": {"old": 7, "new": 3}, "buy_button_rank": {"old": 2, "new": 1}}),
    ("main", 1, "updated", {"sale_price": {"old": 24, "new": 28.9256}, "status": {"old": 0, "new": 1}}),
    ("fbe", 1, "updated", {"name": {"old": "Cablu <vechi>", "new": "Cablu USB-C 1 m"}}),
)
MANY = """
INSERT INTO emag_products (account_type, emag_id, name, status, sale_price, general_stock, is_sellable, currency)
SELECT 'main', n, 'Produs ' || n, 1, n, n % 10, n % 10 > 0, 'RON' FROM generate_series(1000, 1000 + $1 - 1) AS n
"""


async def fill(sql: Connection) -> None:
    """Store six products, one of them removed, and what became of two of them."""
    await sql.execute(f"INSERT INTO emag_products ({COLUMNS}) VALUES {ROWS}")
    await sql.execute("UPDATE emag_products SET raw = $1 WHERE emag_id = 3", msgspec.json.encode(RAW).decode())
    for number, (account, emag_id, kind, changes) in enumerate(CHANGES):
        await sql.execute(
            "INSERT INTO emag_product_changes (account_type, emag_id, kind, changes, changed_at)"
            " VALUES ($1, $2, $3, $4, now() - make_interval(hours => $5))",
            account,
            emag_id,
            kind,
            msgspec.json.encode(changes).decode(),
            len(CHANGES) - number,
        )
