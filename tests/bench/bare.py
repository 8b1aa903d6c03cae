"""Workers: the bare loops to compare with. Arguments: ``upsert`` or ``hashes``, DSN, base URL.

Both read page after page and do nothing else but what their name says: no change log, no proof of completeness, no
fence, no checkpoint. ``upsert`` writes every page with ``INSERT … SELECT unnest … ON CONFLICT``; ``hashes`` compares
each offer's hash with the stored one and finds nothing to write.
"""

import asyncio
import hashlib
import sys
from collections.abc import AsyncIterator

import aiohttp
import asyncpg
import msgspec

from tests.bench.measuring import Stopwatch
from tests.bench.processes import PASSWORD, USERNAME

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
    async with aiohttp.ClientSession(
        headers={"Authorization": aiohttp.encode_basic_auth(USERNAME, PASSWORD)}
    ) as session:
        page = 1
        while True:
            async with session.post(
                f"{base_url}/product_offer/read", json={"currentPage": page, "itemsPerPage": 100}
            ) as answer:
                results = msgspec.json.decode(await answer.read(), type=_Envelope).results
            if bytes(results) == b"[]":
                return
            yield bytes(results)
            page += 1


async def upsert(conn: "asyncpg.Connection[asyncpg.Record]", page: bytes) -> int:
    """Decode and write a page."""
    raws = msgspec.json.decode(page, type=list[msgspec.Raw])
    offers = msgspec.json.decode(page)
    columns = [[offer["id"] for offer in offers]]
    columns += [[offer.get(name) for offer in offers] for name in SCALARS]
    columns += [[hashlib.sha256(raw).digest()[:16] for raw in raws], [bytes(raw) for raw in raws]]
    await conn.execute(UPSERT, *columns)
    return len(offers)


async def hashes(conn: "asyncpg.Connection[asyncpg.Record]", page: bytes) -> int:
    """Compare a page's hashes with the stored ones."""
    raws = msgspec.json.decode(page, type=list[msgspec.Raw])
    ids = [offer.id for offer in msgspec.json.decode(page, type=list[_Id])]
    found = await conn.fetch("SELECT id, hash FROM bare WHERE id = ANY ($1)", ids)
    stored = {row["id"]: row["hash"] for row in found}
    assert all(stored[emag_id] == hashlib.sha256(raw).digest()[:16] for emag_id, raw in zip(ids, raws, strict=True))
    return len(ids)


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
