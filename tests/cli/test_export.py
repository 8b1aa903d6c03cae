"""What is stored, as files for people and programs."""

import asyncio
import csv
import io
import json
import os
import shutil
import subprocess
from decimal import Decimal
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import asyncpg
import pytest

from emag_syncd.storage.exports import CHANGE, PRODUCT, RUN
from tests.cli.support import Desk, ended

FILL = """
INSERT INTO emag_products (account_type, emag_id, name, part_number, ean, sale_price, general_stock, updated_at)
SELECT CASE n % 2 WHEN 0 THEN 'main' ELSE 'fbe' END, n, 'Husă ' || n, '00' || n, ARRAY['5941234567890'], n + 0.5, -n,
    '2026-01-01Z'
FROM generate_series(1, 1200) AS n;
INSERT INTO emag_product_changes (account_type, emag_id, kind, changes)
SELECT account_type, emag_id, 'created', '{"sale_price": {"old": null, "new": 1.50}}' FROM emag_products;
INSERT INTO emag_sync_logs (account_type, operation, status, completed_at)
SELECT 'main', 'full_sync', 'completed', now() FROM generate_series(1, 1001)
"""

Sql = asyncpg.Connection


@pytest.fixture
async def full(ready: Desk, sql: "Sql[Any]") -> Desk:
    """Give a desk with products, changes and runs, more than a batch of each."""
    await sql.execute(FILL)
    return ready


def lines(out: str) -> list[dict[str, str]]:
    """Read CSV."""
    assert out.startswith("\ufeff")
    return list(csv.DictReader(io.StringIO(out.removeprefix("\ufeff"), newline="")))


async def test_everything_is_exported(full: Desk) -> None:
    """Each kind in both formats has every row once, and each column."""
    for what, columns, count in (("products", PRODUCT, 1200), ("changes", CHANGE, 1200), ("history", RUN, 1001)):
        as_csv, as_json = await full.run("export", what), await full.run("export", what, "--format", "jsonl")
        assert (as_csv.code, as_csv.err, as_json.code, as_json.err) == (0, "", 0, "")
        rows = [json.loads(line) for line in as_json.out.splitlines()]
        assert tuple(lines(as_csv.out)[0]) == tuple(rows[0]) == columns
        ids = [(row.get("account_type"), row.get("emag_id"), row.get("id")) for row in rows]
        assert len(lines(as_csv.out)) == len(set(ids)) == count


async def test_programs_get_exact_numbers(full: Desk) -> None:
    """JSON Lines keep digits as they are, and text as text."""
    found = await full.run("export", "products", "--format", "jsonl", "--search", "Husă 1200")
    (row,) = [json.loads(line, parse_float=Decimal) for line in found.out.splitlines()]
    assert (row["sale_price"], row["part_number"], row["general_stock"]) == (Decimal("1200.5000"), "001200", -1200)
    assert row["ean"] == ["5941234567890"]
    changed = await full.run("export", "changes", "--format", "jsonl", "--search", "Husă 1200", "--account", "main")
    (line,) = changed.out.splitlines()
    assert '"new": 1.50' in line or '"new":1.50' in line


async def test_a_file_appears_when_it_is_whole(full: Desk, sql: "Sql[Any]") -> None:
    """An export that fails leaves what was there before, and nothing else."""
    target = full.folder / "products.csv"
    target.write_text("before", encoding="utf-8")
    await sql.execute("ALTER TABLE emag_products RENAME COLUMN brand TO mark")
    failed = await full.run("export", "products", "--output", str(target))
    assert (failed.code, target.read_text(encoding="utf-8")) == (1, "before")
    await sql.execute("ALTER TABLE emag_products RENAME COLUMN mark TO brand")
    done = await full.run("export", "products", "--output", str(target), "--account", "main")
    assert (done.code, done.out, done.err) == (0, "", "")
    assert len(lines(target.read_text(encoding="utf-8"))) == 600
    assert sorted(path.name for path in full.folder.iterdir()) == ["config.toml", "products.csv"]


async def test_what_is_no_file_stays_what_it_is(full: Desk) -> None:
    """A pipe with a name is written to, and not replaced by a file; a folder that is missing is named."""
    pipe = full.folder / "pipe"
    os.mkfifo(pipe)
    reading = asyncio.create_task(asyncio.to_thread(pipe.read_text, encoding="utf-8"))
    done = await full.run("export", "history", "--output", str(pipe))
    assert done.code == 0
    assert len(lines(await reading)) == 1001
    assert pipe.is_fifo()
    missing = await full.run("export", "history", "--output", str(full.folder / "none" / "x.csv"))
    assert missing.code == 1
    assert "No such file or directory" in missing.line


async def test_a_reader_that_leaves_is_no_error_of_ours(full: Desk) -> None:
    """Whoever takes only the first lines gets no traceback, and the command ends."""
    read, write = os.pipe()
    async with full.started("export", "products", stdout=write) as process:
        os.close(write)
        assert os.read(read, 10)
        os.close(read)
        left = await ended(process)
    assert (left.code, left.err) == (1, "")


async def test_an_account_that_is_not_configured(full: Desk) -> None:
    """It is a mistake, and not an empty file."""
    refused = await full.run("export", "products", "--account", "mian")
    assert (refused.code, refused.line) == (2, "emag-syncd: no account is called mian: configured are: main, fbe")


SHEET = "{urn:oasis:names:tc:opendocument:xmlns:table:1.0}"
BY_DIALOG = "--infilter=CSV:44,34,76"
"""Commas, quotes, UTF-8: what the dialog finds out by itself; without a window LibreOffice looks for no mark."""

OFFICE = "{urn:oasis:names:tc:opendocument:xmlns:office:1.0}"
TEXTS = (
    *("=1+1", "+1", "-2+3", "@SUM(A1)", "\tTab", "00123", "5941234567890", "1E5", "1.5e10", "3-12", "1/2", "12:30"),
    *("1,5", "1.234,50", "10.02.2026", "2026-01-02", "50%", "5 RON", "$5", "(5)", "1 1/2", "TRUE", "Husă „neagră”"),
    *('a"b,c\nd', "'quoted", "#REF!", "1_000", "0x1F", ".5", "5.", "²", "=cmd|' /C calc'!A0", "MAR1", "1-mar", "5 pm"),
    *("0", "594 595"),
)
"""What a spreadsheet might take for something else."""


def cells(sheet: Path) -> list[list[tuple[str, str]]]:
    """Return the kind and the text of each cell, row by row."""
    rows = []
    for row in ET.parse(sheet).iter(f"{SHEET}table-row"):
        found = []
        for cell in row.iter(f"{SHEET}table-cell"):
            assert cell.get(f"{SHEET}formula") is None
            one = cell.get(f"{OFFICE}value-type", ""), "\n".join("".join(line.itertext()) for line in cell)
            found += [one] * int(cell.get(f"{SHEET}number-columns-repeated", 1))
        rows += [found]
    return rows


async def test_a_spreadsheet_reads_it_right(full: Desk, sql: "Sql[Any]", tmp_path: Path) -> None:
    """LibreOffice sees text as text, numbers as numbers, moments as such, and calculates nothing."""
    office = shutil.which("soffice") or shutil.which("libreoffice")
    if office is None:
        pytest.skip("LibreOffice is not installed: its package is libreoffice-calc")
    await sql.execute("DELETE FROM emag_products WHERE emag_id > $1 OR account_type <> 'main'", 2 * len(TEXTS))
    for number, text in enumerate(TEXTS, 1):
        await sql.execute("UPDATE emag_products SET name = $1 WHERE emag_id = $2", text, 2 * number)
    target = tmp_path / "products.csv"
    await full.run("export", "products", "--output", str(target))
    command = [office, "--headless", BY_DIALOG, "--convert-to", "fods", "--outdir", str(tmp_path), str(target)]
    await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True, env={"HOME": str(tmp_path)})
    head, *rows = cells(target.with_suffix(".fods"))
    names = [text for _, text in head[: len(PRODUCT)]]
    assert tuple(names) == PRODUCT
    sheet = [dict(zip(names, row, strict=False)) for row in rows[: len(TEXTS)]]
    shown = {int(row["emag_id"][1]): row["name"] for row in sheet}
    for number, text in enumerate(TEXTS, 1):
        kind, words = shown[2 * number]
        assert kind == "string" or text == words
        assert words.removeprefix("'") == text.removeprefix("'").removeprefix("\t")
    assert {(row["general_stock"][0], row["sale_price"][0], row["ean"]) for row in sheet} == {
        ("float", "float", ("string", "'5941234567890"))
    }
    assert sheet[0]["updated_at"][0] == "date"
