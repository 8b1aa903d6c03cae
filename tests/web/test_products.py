"""The stored products over HTTP: lists, one of them, their changes, numbers, and files."""

import asyncio
import csv
import io
import socket
from datetime import UTC, datetime
from typing import Any

import aiohttp
import asyncpg
import pytest

from emag_syncd.domain.tabular import csv_writer
from emag_syncd.storage import exports
from emag_syncd.web import exports as web_exports
from tests.support.daemon import Site
from tests.support.waiting import until
from tests.web.conftest import API, PROBLEM

FILL = """
INSERT INTO emag_products (
    account_type, emag_id, name, part_number, ean, status, sale_price, general_stock, currency, is_sellable,
    offer_validation_status, validation_status, raw, updated_at
)
SELECT CASE n % 2 WHEN 0 THEN 'main' ELSE 'fbe' END, n, 'Husă ' || n, 'PN-' || n, ARRAY['594123456789' || n % 10], 1,
    n + 0.5, n % 3, 'RON', n % 3 > 0, 1, 9, jsonb_build_object('id', n, 'price', n + 0.50), '2026-01-01Z'
FROM generate_series(1, $1) AS n
"""
CHANGE = """
INSERT INTO emag_product_changes (account_type, emag_id, kind, changes)
SELECT 'main', n, 'updated', '{"sale_price": {"old": 1.5, "new": 2.50}}' FROM generate_series(1, $1) AS n
"""

Sql = asyncpg.Connection


async def test_a_list_of_products(site: Site, sql: "Sql[Any]") -> None:
    """A list has products under the names that the ERP has for them, and says how many there are."""
    await sql.execute(FILL, 60)
    answer = await site.get(f"{API}/products", params={"account_type": "main", "search": "husă 12"})
    assert (answer.status, answer.json["status"]) == (200, "success")
    assert answer.json["data"]["pagination"] == {
        "skip": 0,
        "limit": 50,
        "total": 1,
        "total_is_estimate": False,
        "next": None,
    }
    (product,) = answer.json["data"]["products"]
    expected = {"id": "main/12", "emag_id": 12, "sku": "PN-12", "name": "Husă 12", "account_type": "main"}
    expected |= {"price": 12.5, "currency": "RON", "stock_quantity": 0, "is_active": True, "status": 1}
    assert expected.items() <= product.items()
    assert (product["why_not"], product["ean"], product["removed_at"]) == (["stock"], ["5941234567892"], None)
    assert "raw" not in product
    assert "content_hash" not in product


async def test_products_are_synced_when_last_seen(site: Site, sql: "Sql[Any]") -> None:
    """What a later sync found unchanged is as fresh as that sync; other accounts' syncs tell nothing."""
    await sql.execute(FILL, 2)
    ended = await sql.fetchval(
        "INSERT INTO emag_sync_logs (account_type, operation, status, completed_at)"
        " VALUES ('main', 'full_sync', 'completed', now()) RETURNING completed_at"
    )
    fbe, main = (await site.get(f"{API}/products")).json["data"]["products"]
    assert datetime.fromisoformat(main["last_synced_at"]) == ended
    assert datetime.fromisoformat(fbe["last_synced_at"]) == datetime(2026, 1, 1, tzinfo=UTC)


async def test_pages_of_products(site: Site, sql: "Sql[Any]") -> None:
    """``next`` leads from page to page, as ``skip`` does."""
    await sql.execute(FILL, 25)
    query: dict[str, Any] = {"limit": 10, "sort": "-sale_price"}
    seen: list[int] = []
    while True:
        data = (await site.get(f"{API}/products", params=query)).json["data"]
        seen += [product["emag_id"] for product in data["products"]]
        if (following := data["pagination"]["next"]) is None:
            break
        query["after"] = following
    assert seen == list(range(25, 0, -1))
    skipped = await site.get(f"{API}/products", params={"limit": 10, "skip": 20, "sort": "-sale_price"})
    assert [product["emag_id"] for product in skipped.json["data"]["products"]] == seen[20:]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("sort=price", "sort must be one of id, -id, name"),
        ("limit=1001", "limit: input should be less than or equal to 1000"),
        ("skip=-1", "skip: "),
        ("sellable=perhaps", "sellable: "),
        ("after=x", "after must be what an earlier answer gave"),
        ("after=WyJuYW1lIiwieCIsIm1haW4iLDFd", "sorted by name, and sort is id"),
        ("search=%00", "search: "),
        ("search=%ED%A0%80", ""),
        ("colour=red", "'colour' is unknown"),
    ],
)
async def test_what_makes_no_sense_is_refused(site: Site, query: str, words: str) -> None:
    """Each parameter is held to what it may be."""
    answer = await site.get(f"{API}/products?{query}")
    assert answer.status in ({422} if words else {200, 422})
    if words:
        assert answer.headers["Content-Type"].startswith(PROBLEM)
        assert words in answer.json["detail"]


async def test_one_product_and_its_history(site: Site, sql: "Sql[Any]") -> None:
    """One product has its raw form with numbers as they came, and its changes newest first."""
    await sql.execute(FILL, 2)
    await sql.execute("INSERT INTO emag_product_changes (account_type, emag_id, kind) VALUES ('main', 2, 'created')")
    await sql.execute(CHANGE, 2)
    answer = await site.get(f"{API}/products/main/2")
    assert answer.json["data"]["raw"] == {"id": 2, "price": 2.5}
    assert '"price":2.50' in answer.text.replace(" ", "")
    history = (await site.get(f"{API}/products/main/2/changes", params={"limit": 1})).json["data"]
    assert [(one["kind"], one["changes"]) for one in history["changes"]] == [
        ("updated", {"sale_price": {"old": 1.5, "new": 2.5}})
    ]
    before = history["changes"][-1]["id"]
    older = (await site.get(f"{API}/products/main/2/changes", params={"before": before})).json["data"]
    assert [one["kind"] for one in older["changes"]] == ["created"]
    assert (await site.get(f"{API}/products/fbe/1/changes")).json["data"] == {"changes": [], "count": 0}


@pytest.mark.parametrize("path", ["main/9", "gone/2", "main/x", "main/99999999999999999999", "main/-2", "%00/2"])
async def test_a_product_that_is_not_there(site: Site, path: str) -> None:
    """There is no page of it, and none of its history, whatever the address says."""
    for address in (f"{API}/products/{path}", f"{API}/products/{path}/changes"):
        answer = await site.get(address)
        assert answer.status == 404
        assert "there is no product" in answer.json["detail"]


async def test_changes_are_followed(site: Site, sql: "Sql[Any]") -> None:
    """Each answer says where the next one begins; at the end it stays there."""
    await sql.execute(CHANGE, 25)
    seen: list[int] = []
    after = 0
    while True:
        data = (await site.get(f"{API}/changes", params={"after": after, "limit": 10})).json["data"]
        after = data["next_after"]
        if not data["count"]:
            break
        seen += [change["id"] for change in data["changes"]]
    assert (seen, after) == (list(range(1, 26)), 25)
    assert (await site.get(f"{API}/changes?kind=removed&account_type=both")).json["data"]["count"] == 0


async def test_statistics(site: Site, sql: "Sql[Any]") -> None:
    """Products by account, those without any too, and how the syncs fared."""
    await sql.execute(FILL, 3)
    await sql.execute("DELETE FROM emag_products WHERE account_type = 'main'")
    await sql.execute(
        "INSERT INTO emag_sync_logs (account_type, operation, status, completed_at)"
        " SELECT 'fbe', 'full_sync', CASE n WHEN 1 THEN 'failed' ELSE 'completed' END, now()"
        " FROM generate_series(1, 4) AS n"
    )
    found = (await site.get(f"{API}/statistics")).json
    assert found["products_by_account"] == {"fbe": 2, "main": 0}
    assert (found["total_products"], found["success_rate"], len(found["recent_syncs"])) == (2, 0.75, 4)
    assert found["syncs_by_status"] == {"completed": 3, "failed": 1}


async def test_products_as_a_file(site: Site, sql: "Sql[Any]", monkeypatch: pytest.MonkeyPatch) -> None:
    """A file has a line a product, whatever the number of batches, and only those that were asked for."""
    monkeypatch.setattr(exports, "BATCH", 10)
    await sql.execute(FILL, 60)
    answer = await site.get(f"{API}/export.csv", params={"account_type": "main", "in_stock": "true"})
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="emag-products.csv"'
    assert answer.text.startswith("\ufeffaccount_type,emag_id,")
    lines = list(csv.DictReader(io.StringIO(answer.text.removeprefix("\ufeff"))))
    assert [int(line["emag_id"]) for line in lines] == [n for n in range(2, 61, 2) if n % 3]
    assert (lines[0]["ean"], lines[0]["sale_price"], lines[0]["name"]) == ("'5941234567892", "2.5", "Husă 2")


async def test_an_export_that_fails_does_not_look_whole(
    site: Site, sql: "Sql[Any]", monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the database goes away in the middle, the connection breaks; where it does at once, that is told."""
    monkeypatch.setattr(exports, "BATCH", 10)
    await sql.execute(FILL, 60)
    write = csv_writer(exports.PRODUCT)
    wrote = 0

    def failing(rows: Any) -> bytes:
        nonlocal wrote
        wrote += 1
        if wrote == 3:
            raise TimeoutError
        return write(rows)

    monkeypatch.setattr(web_exports, "csv_writer", lambda _: failing)
    async with site.browser.get(f"{API}/export.csv") as response:
        assert response.status == 200
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()
    await sql.execute("DROP TABLE emag_products")
    answer = await site.get(f"{API}/export.csv")
    assert (answer.status, answer.json["kind"]) == (503, "database")


async def test_a_reader_that_takes_nothing_is_let_go(
    site: Site, sql: "Sql[Any]", monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it waits, readers beyond the most there may be are refused; then it makes place, with half of the file."""
    monkeypatch.setattr(web_exports, "MOST_READERS", 1)
    monkeypatch.setattr(web_exports, "PATIENCE_SECONDS", 2.0)
    await sql.execute(FILL, 3_000)
    # More than the system keeps for a reader.
    await sql.execute("UPDATE emag_products SET name = repeat('x', 8000)")
    port = int(site.address.rpartition(":")[2])
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(slow, ("127.0.0.1", port))
        await loop.sock_sendall(slow, f"GET {API}/export.csv HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        assert b"200 OK" in await loop.sock_recv(slow, 100)
        refused = await site.get(f"{API}/export.csv?search=nothing")
        assert (refused.status, "Retry-After" in refused.headers) == (503, True)

        async def has_place() -> bool:
            return (await site.get(f"{API}/export.csv?search=nothing")).status == 200

        await until(has_place, within=40)
        assert await received(slow) < 20_000_000


async def received(slow: socket.socket) -> int:
    """Return how many bytes still come."""
    loop, count = asyncio.get_running_loop(), 0
    try:
        while some := await asyncio.wait_for(loop.sock_recv(slow, 65536), 20):
            count += len(some)
    except ConnectionError:
        """That is how it ends."""
    return count
