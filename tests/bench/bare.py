"""Workers: the bare loops to compare with. Arguments: ``upsert`` or ``hashes``, DSN, base URL.

Both read page after page and do nothing else but what their name says: no change log, no proof of completeness, no
fence, no checkpoint. ``upsert`` writes every page with ``INSERT … SELECT unnest … ON CONFLICT``; ``hashes`` compares
each offer's hash with the stored one, and writes in the same way those that differ.
"""

import asyncio
import hashlib
import sys
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import asyncpg
import msgspec

from tests.bench.measuring import Stopwatch
from tests.bench.processes import PAGE, login

SCALARS = {
    "part_number": "text",
    "part_number_key": "text",
    "name": "text",
    "brand": "text",
    "currency": "text",
    "category_id": "int8",
    "vendor_category_id": "int8",
    "vat_id": "int8",
    "status": "int4",
    "warranty": "int4",
    "general_stock": "int4",
    "estimated_stock": "int4",
    "number_of_offers": "int4",
    "buy_button_rank": "int4",
    "sale_price": "float8",
    "recommended_price": "float8",
    "min_sale_price": "float8",
    "max_sale_price": "float8",
    "best_offer_sale_price": "float8",
    "best_offer_recommended_price": "float8",
}
NAMES = ["id", *SCALARS, "hash", "payload"]
TYPES = ["int8", *SCALARS.values(), "bytea", "jsonb"]
CREATE = (
    "CREATE TABLE IF NOT EXISTS bare ("
    + ", ".join(f"{name} {kind}" for name, kind in zip(NAMES, TYPES, strict=True))
    + ", PRIMARY KEY (id))"
)
UPSERT = (
    f"INSERT INTO bare ({', '.join(NAMES)}) SELECT * FROM unnest("
    + ", ".join(f"${n}::{kind}[]" for n, kind in enumerate(TYPES, start=1))
    + ") ON CONFLICT (id) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in NAMES[1:])
    + " WHERE bare.hash IS DISTINCT FROM excluded.hash"
)


class _Envelope(msgspec.Struct):
    results: msgspec.Raw


class _Id(msgspec.Struct):
    id: int


async def pages(base_url: str) -> AsyncIterator[bytes]:
    """Give the results of page after page, as they came."""
    async with aiohttp.ClientSession(headers={"Authorization": aiohttp.encode_basic_auth(*login("main"))}) as session:
        page = 1
        while True:
            async with session.post(
                f"{base_url}/product_offer/read", json={"currentPage": page, "itemsPerPage": PAGE}
            ) as answer:
                results = msgspec.json.decode(await answer.read(), type=_Envelope).results
            if bytes(results) == b"[]":
                return
            yield bytes(results)
            page += 1


async def upsert(conn: "asyncpg.Connection[asyncpg.Record]", page: bytes) -> int:
    """Decode and write a page; return how many offers it has."""
    raws = msgspec.json.decode(page, type=list[msgspec.Raw])
    await _write(conn, raws, msgspec.json.decode(page))
    return len(raws)


async def hashes(conn: "asyncpg.Connection[asyncpg.Record]", page: bytes) -> int:
    """Compare a page's hashes with the stored ones, and write what differs; return how many offers it has."""
    raws = msgspec.json.decode(page, type=list[msgspec.Raw])
    ids = [offer.id for offer in msgspec.json.decode(page, type=list[_Id])]
    found = await conn.fetch("SELECT id, hash FROM bare WHERE id = ANY ($1)", ids)
    stored = {row["id"]: row["hash"] for row in found}
    differing = [raw for emag_id, raw in zip(ids, raws, strict=True) if stored.get(emag_id) != _hash(raw)]
    if differing:
        await _write(conn, differing, [msgspec.json.decode(raw) for raw in differing])
    return len(ids)


async def _write(
    conn: "asyncpg.Connection[asyncpg.Record]", raws: list[msgspec.Raw], offers: list[dict[str, Any]]
) -> None:
    columns = [[offer["id"] for offer in offers]]
    columns += [[offer.get(name) for offer in offers] for name in SCALARS]
    columns += [[_hash(raw) for raw in raws], [bytes(raw) for raw in raws]]
    await conn.execute(UPSERT, *columns)


def _hash(raw: msgspec.Raw) -> bytes:
    return hashlib.sha256(raw).digest()[:16]


async def main(loop: str, dsn: str, base_url: str) -> None:
    """Run one loop over the whole catalogue."""
    conn = await asyncpg.connect(dsn)
    await conn.set_type_codec(
        "jsonb", schema="pg_catalog", encoder=lambda raw: b"\x01" + raw, decoder=lambda raw: raw[1:], format="binary"
    )
    await conn.execute(CREATE)
    step = {"upsert": upsert, "hashes": hashes}[loop]
    rows = 0
    watch = Stopwatch()
    async for page in pages(base_url):
        rows += await step(conn, page)
    watch.report(rows)
    await conn.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4]))
