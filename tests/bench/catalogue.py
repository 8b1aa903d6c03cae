"""Searching and exporting a catalogue that SQL made: how long it takes, and how much memory."""

import asyncio
import statistics
import sys
import time
from dataclasses import replace

import asyncpg
from rich.console import Console
from rich.table import Table

from emag_syncd.domain.products import ProductFilter, Sort
from emag_syncd.domain.tabular import csv_writer
from emag_syncd.storage import exports
from emag_syncd.storage.catalogue import Catalogue
from emag_syncd.storage.database import Database
from tests.bench.measuring import Stopwatch
from tests.bench.processes import worker

# Names of eight words: rare ones, and ones that every tenth product has.
FILL = """
INSERT INTO emag_products (
    account_type, emag_id, status, name, part_number, part_number_key, ean, brand, category_id, sale_price, currency,
    general_stock, buy_button_rank, validation_status, offer_validation_status, is_sellable
)
SELECT CASE n % 2 WHEN 0 THEN 'main' ELSE 'fbe' END, n, 1,
    concat_ws(' ', kinds[1 + n % 10], 'Model', left(md5(n::text), 6), colours[1 + n % 7],
        left(md5((n % 5003)::text), 5), 'pentru', left(md5((n % 211)::text), 4), n % 128),
    'PN-' || n, 'D' || upper(left(md5(n::text), 8)), ARRAY[(5940000000000 + n)::text], 'Marca ' || n % 500, n % 900,
    n % 10000 / 10.0, 'RON', n % 11, n % 4, 9, 1, n % 11 > 0
FROM generate_series($1::int, $2::int) AS n, (
    SELECT string_to_array('Telefon Husa Cablu Incarcator Laptop Monitor Tastatura Mouse Casti Boxa', ' ') AS kinds,
        string_to_array('negru alb rosu verde albastru gri auriu', ' ') AS colours
) AS words
"""
STEP = 50_000
ROUNDS = 7

SEARCHES = {
    "a part number": "PN-123457",
    "a part number key": "D098F6BCD",
    "an EAN": "5940000012345",
    "a rare word of the name": "c4ca42",
    "two words of the name": "telefon 098f6",
    "a word that a tenth has": "monitor",
    "a word that all have": "pentru",
    "two words that many have": "telefon negru",
    "a word that only the last account has": "cablu",
    "two letters that a fifth has": "12",
    "two letters that few have": "9f",
    "two letters that all have": "mo",
    "nothing that there is": "zzzzzz",
}


async def fill(dsn: str, products: int) -> None:
    """Make the products; their index is made afterwards, which takes less time."""
    conn = await asyncpg.connect(dsn)
    try:
        index = await conn.fetchval("SELECT pg_get_indexdef('emag_products_by_words'::regclass)")
        await conn.execute("DROP INDEX emag_products_by_words; SET maintenance_work_mem = '256MB'")
        for start in range(1, products + 1, STEP):
            await conn.execute(FILL, start, min(start + STEP - 1, products))
        await conn.execute(index)
        await conn.execute("VACUUM ANALYZE emag_products")
    finally:
        await conn.close()


async def show_search(console: Console, dsn: str) -> None:
    """Print how long pages take that search and sort, alone and together with their totals."""
    database = await Database.open(dsn, pool_max_size=1)
    catalogue = Catalogue(database)
    everything = ProductFilter()
    table = Table("search", "found", "page, ms", "with total, ms")
    asked = {name: (replace(everything, search=text), Sort()) for name, text in SEARCHES.items()}
    asked["all, by account and id"] = (everything, Sort())
    asked["all, the cheapest first"] = (everything, Sort.of("sale_price"))
    try:
        for name, (wanted, sort) in asked.items():
            pages, totals = [], []
            for _ in range(ROUNDS):
                began = time.perf_counter()
                await catalogue.page(wanted, sort, limit=50)
                paged = time.perf_counter()
                _, total = await catalogue.found(wanted, sort, limit=50)
                pages.append(paged - began)
                totals.append(time.perf_counter() - paged)
            found = f"{'about ' if total.is_estimate else ''}{total.count:,}"
            table.add_row(name, found, *(f"{statistics.median(times) * 1000:.1f}" for times in (pages, totals)))
    finally:
        await database.close()
    console.print(table)


async def show_export(console: Console, dsn: str) -> None:
    """Print what an export of all products takes, and of a tenth of them."""
    for search in ("monitor", ""):
        result = await worker("catalogue", dsn, search)
        console.print(
            f"export of {result['rows']:,} products as CSV: {result['seconds']:.1f} s,"
            f" {result['rows_per_second']:,.0f} rows/s, peak memory {result['peak_mb']:.1f} MB"
        )


async def _export(dsn: str, search: str) -> None:
    database = await Database.open(dsn, pool_max_size=1)
    try:
        write, rows = csv_writer(exports.PRODUCT), 0
        watch = Stopwatch()
        async for batch in exports.products(Catalogue(database), ProductFilter(search=search or None)):
            write(batch)
            rows += len(batch)
        watch.report(rows)
    finally:
        await database.close()


if __name__ == "__main__":
    asyncio.run(_export(sys.argv[1], sys.argv[2]))
