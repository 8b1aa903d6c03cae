"""The mirror: what is written is what came, each change is on record, and nothing else is touched."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from emag_syncd.domain.batches import Batch, Progress
from emag_syncd.domain.changes import ChangeKind, difference
from emag_syncd.domain.offers import COLUMNS, Offer, Reject
from emag_syncd.domain.runs import Counters, Lease
from emag_syncd.storage.database import Database
from emag_syncd.storage.ledger import Ledger
from emag_syncd.storage.mirror import Known, Mirror
from tests.support.offers import (
    PROGRESS,
    Connection,
    claimed,
    counted,
    counters,
    creating,
    everything,
    offer,
    removing,
    rows,
)

FULL_OFFER: dict[str, Any] = {
    "part_number": "KBL-USB-C",
    "part_number_key": "D7K2QXYBM",
    "name": "Cablu \"USB\" 'C', 2 m \\ negru {ț} 🚲\n",
    "brand": "",
    "category_id": 2**63 - 1,
    "vendor_category_id": -(2**63),
    "status": 2,
    "sale_price": Decimal("9999999999.9999"),
    "recommended_price": Decimal(0),
    "min_sale_price": Decimal("0.0001"),
    "max_sale_price": Decimal("-28.9256"),
    "best_offer_sale_price": Decimal("27.686"),
    "best_offer_recommended_price": Decimal("1E+3"),
    "currency": "RON",
    "vat_id": 1,
    "warranty": 24,
    "general_stock": 2**31 - 1,
    "estimated_stock": -(2**31),
    "ean": ["0041234567893", "a,b", 'c"d', "e\\f", "", "{g}", "NULL", " "],
    "number_of_offers": 4,
    "buy_button_rank": 1,
    "ownership": 2,
    "validation_status": 9,
    "translation_validation_status": 17,
    "offer_validation_status": 1,
    "is_sellable": False,
    "main_image_url": "https://cdn.example.ro/a.jpg",
}


@pytest.fixture
def mirror(database: Database) -> Mirror:
    """Give the mirror."""
    return Mirror(database, lease_seconds=60)


@pytest.fixture
async def lease(database: Database) -> Lease:
    """Give the lease of a run of the account ``main``."""
    return await claimed(Ledger(database, worker_id="w", lease_seconds=60))


async def stored(mirror: Mirror, emag_id: int) -> dict[str, Any]:
    """Return the row of an offer of the account ``main``."""
    return dict((await mirror.stored("main", [emag_id]))[emag_id])


async def last_change(sql: Connection) -> tuple[str, dict[str, Any]]:
    """Return the kind and the text of the last entry of the change log, decoded with exact numbers."""
    row = await sql.fetchrow("SELECT kind, changes::text FROM emag_product_changes ORDER BY id DESC LIMIT 1")
    assert row is not None
    return row["kind"], msgspec.json.Decoder(float_hook=Decimal).decode(row["changes"])


# What an offer's row holds


@pytest.mark.parametrize("columns", [FULL_OFFER, {}, {"ean": []}, {"name": "", "is_sellable": True}])
async def test_every_column_comes_back(mirror: Mirror, lease: Lease, columns: dict[str, Any]) -> None:
    """Every value is stored as it is, the odd ones too, and what is missing is null."""
    one = offer(7, **columns)
    await mirror.commit(lease, None, creating(one), PROGRESS, commits=0)
    row = await stored(mirror, 7)
    assert {name: row[name] for name in COLUMNS} == one.columns
    assert (row["account_type"], row["emag_id"], row["removed_at"]) == ("main", 7, None)
    assert (row["raw_hash"], row["content_hash"]) == (one.raw_hash, one.content_hash)
    assert row["first_seen_at"] == row["updated_at"]


async def test_offers_that_other_hands_stored_meanwhile(mirror: Mirror, lease: Lease, sql: Connection) -> None:
    """An offer that was new when it was compared, and is not any more, is written all the same, once, with the rest."""
    await sql.execute("INSERT INTO emag_products (account_type, emag_id, name) VALUES ('main', 8, 'by hand')")
    batch = creating(offer(7), offer(8, name="theirs"), offer(9))
    await mirror.commit(lease, None, batch, PROGRESS, commits=0)
    names = await sql.fetch("SELECT emag_id, name FROM emag_products ORDER BY emag_id")
    assert [row["emag_id"] for row in names] == [7, 8, 9]
    assert names[1]["name"] == "theirs"
    assert await sql.fetchval("SELECT count(*) FROM emag_product_changes") == 3
    assert await mirror.commits_of(lease) == 1


async def test_the_sample_covers_every_column() -> None:
    """The test above means all of them."""
    assert tuple(FULL_OFFER) == COLUMNS


async def test_raw_is_the_whole_object(mirror: Mirror, lease: Lease, sql: Connection) -> None:
    """Unknown keys, huge numbers and any text are kept as they came."""
    raw = (
        '{"id": 7, "new": [1e400, 0.10, {"ț\\n": null}], "price": "28.9256", "z": "\\"}", "n": 12345678901234567890.5}'
    )
    await mirror.commit(lease, None, creating(offer(7, raw=raw.encode())), PROGRESS, commits=0)
    assert await sql.fetchval("SELECT raw = $1::text::jsonb FROM emag_products", raw)
    assert await sql.fetchval("SELECT raw ->> 'z' FROM emag_products") == '"}'


async def test_ids_up_to_the_largest(mirror: Mirror, lease: Lease) -> None:
    """An id has 63 bits, and accounts do not share them."""
    ids = [1, 2**31, 2**32 + 1, 2**63 - 1]
    await mirror.commit(lease, None, creating(*map(offer, ids)), PROGRESS, commits=0)
    assert (await mirror.known("main", ids)).keys() == set(ids)
    assert await mirror.known("fbe", ids) == {}
    assert await mirror.stored("main", []) == {}


async def test_known_tells_hashes_and_removal(mirror: Mirror, lease: Lease) -> None:
    """What a page is compared with, for those of its ids that are stored."""
    one, two = offer(1), offer(2)
    await mirror.commit(lease, None, creating(one, two), PROGRESS, commits=0)
    await mirror.commit(lease, None, removing(2), PROGRESS, commits=1)
    assert await mirror.known("main", [3, 2, 1, 1]) == {
        1: Known(one.raw_hash, one.content_hash, removed=False),
        2: Known(two.raw_hash, two.content_hash, removed=True),
    }
    assert await mirror.live_offers("main") == 1


# Changes


async def update(mirror: Mirror, lease: Lease, new: Offer, *raw_keys: str, commits: int) -> None:
    """Commit what leads from the stored offer to ``new``."""
    old = await stored(mirror, new.emag_id)
    kind = ChangeKind.RESTORED if old["removed_at"] else ChangeKind.UPDATED
    change = difference(kind, old, new, raw_keys)
    batch = Batch(writes=[new], changes=[change], counters=Counters(processed_items=1, updated_items=1))
    await mirror.commit(lease, None, batch, PROGRESS, commits=commits)


async def test_changes_hold_numbers_as_numbers(mirror: Mirror, lease: Lease, sql: Connection) -> None:
    """Old and new value of each column, decimals exact and no strings, and the keys that changed only in raw."""
    await mirror.commit(lease, None, creating(offer(7, sale_price=Decimal("28.9256"))), PROGRESS, commits=0)
    assert await last_change(sql) == ("created", {"sale_price": {"old": None, "new": Decimal("28.9256")}})
    new = offer(7, sale_price=Decimal("20.1"), general_stock=3, ean=["5"], is_sellable=True)
    await update(mirror, lease, new, "images", "sale_price", commits=1)
    assert await last_change(sql) == (
        "updated",
        {
            "sale_price": {"old": Decimal("28.9256"), "new": Decimal("20.1")},
            "general_stock": {"old": None, "new": 3},
            "ean": {"old": None, "new": ["5"]},
            "is_sellable": {"old": None, "new": True},
            "raw": ["images"],
        },
    )
    found = await sql.fetchval(
        "SELECT jsonb_typeof(changes -> 'sale_price' -> 'old') FROM emag_product_changes WHERE id = 2"
    )
    assert found == "number"


async def test_every_column_is_updated(mirror: Mirror, lease: Lease) -> None:
    """From null to a value and back, each of them, and ``raw`` and the hashes too."""
    await mirror.commit(lease, None, creating(offer(7)), PROGRESS, commits=0)
    for commits, new in enumerate((offer(7, **FULL_OFFER), offer(7)), start=1):
        await update(mirror, lease, new, commits=commits)
        row = await stored(mirror, 7)
        assert {name: row[name] for name in COLUMNS} == new.columns
        assert (row["raw_hash"], row["content_hash"]) == (new.raw_hash, new.content_hash)
        assert msgspec.json.decode(row["raw"]) == msgspec.json.decode(new.raw)


async def test_an_update_keeps_when_it_was_first_seen(mirror: Mirror, lease: Lease) -> None:
    """A new content moves ``updated_at``; the same content under other bytes does not."""
    await mirror.commit(lease, None, creating(offer(7, name="a")), PROGRESS, commits=0)
    first = await stored(mirror, 7)
    await update(mirror, lease, offer(7, name="b"), commits=1)
    second = await stored(mirror, 7)
    assert second["first_seen_at"] == first["first_seen_at"] < second["updated_at"]
    same = offer(7, name="b")
    same = Offer(7, same.columns, b'{"other": "bytes"}', b"other", same.content_hash, same.form)
    await update(mirror, lease, same, commits=2)
    third = await stored(mirror, 7)
    assert (third["updated_at"], third["raw_hash"]) == (second["updated_at"], b"other")


async def test_removed_and_restored(mirror: Mirror, lease: Lease, sql: Connection) -> None:
    """A removed offer keeps its content, is marked once, and comes back as the same row."""
    await mirror.commit(lease, None, creating(offer(7, name="a"), offer(8)), PROGRESS, commits=0)
    await mirror.commit(lease, None, removing(7), PROGRESS, commits=1)
    removed = await stored(mirror, 7)
    assert removed["removed_at"] is not None
    assert removed["name"] == "a"
    assert await last_change(sql) == ("removed", {})
    before = await rows(sql, "emag_products")
    await mirror.commit(lease, None, Batch(removals=[7]), PROGRESS, commits=2)
    assert await rows(sql, "emag_products") == before
    await update(mirror, lease, offer(7, name="a"), commits=3)
    restored = await stored(mirror, 7)
    assert restored["removed_at"] is None
    assert restored["first_seen_at"] == removed["first_seen_at"]
    assert await last_change(sql) == ("restored", {})
    assert await counters(sql, lease.run_id) == await counted(sql, lease.run_id)


async def test_removals_are_the_account_s_own(mirror: Mirror, lease: Lease, database: Database) -> None:
    """The same id of another account stays."""
    other = await claimed(Ledger(database, worker_id="w", lease_seconds=60), "fbe")
    for one in (lease, other):
        await mirror.commit(one, None, creating(offer(7)), PROGRESS, commits=0)
    await mirror.commit(lease, None, removing(7), PROGRESS, commits=1)
    assert (await mirror.live_offers("main"), await mirror.live_offers("fbe")) == (0, 1)


async def test_states_count_each_account(mirror: Mirror, lease: Lease) -> None:
    """Removed offers are in no other state."""
    offers = [
        offer(1, status=1, is_sellable=True),
        offer(2, status=1),
        offer(3, status=0),
        offer(4, status=2),
        offer(5, status=1),
    ]
    await mirror.commit(lease, None, creating(*offers), PROGRESS, commits=0)
    await mirror.commit(lease, None, removing(5), PROGRESS, commits=1)
    (found,) = await mirror.states()
    names = ("account_type", "active", "inactive", "end_of_life", "sellable", "removed")
    assert [found[name] for name in names] == ["main", 2, 1, 1, 1, 1]


# Rejects, counters, progress


async def test_rejects_are_set_aside(mirror: Mirror, lease: Lease, sql: Connection) -> None:
    """Whatever the bytes were: text takes no NUL and only UTF-8."""
    rejects = [(3, Reject("no id", b'{"a": "\x00"}')), (4, Reject("odd", b"\xff\xfe", 2**63 - 1))]
    batch = Batch(rejects=rejects, counters=Counters(failed_items=2))
    await mirror.commit(lease, None, batch, PROGRESS, commits=0)
    found = await sql.fetch("SELECT page, reason, raw, emag_id, account_type, sync_log_id FROM emag_sync_rejects")
    assert [tuple(row) for row in found] == [
        (3, "no id", '{"a": "\ufffd"}', None, "main", lease.run_id),
        (4, "odd", "\ufffd\ufffd", 2**63 - 1, "main", lease.run_id),
    ]


async def test_a_commit_counts_and_renews_the_lease(mirror: Mirror, lease: Lease, sql: Connection) -> None:
    """Counters add up, warnings are replaced, and writing is a sign of life."""
    for commits in range(3):
        work = Counters(*range(1, 10))
        await mirror.commit(lease, None, Batch(counters=work, warnings=[{"n": commits}]), PROGRESS, commits=commits)
    await mirror.commit(lease, None, Batch(), PROGRESS, commits=3)
    row = await sql.fetchrow("SELECT * FROM emag_sync_logs WHERE id = $1", lease.run_id)
    assert row is not None
    assert [row[name] for name in Counters.__slots__] == [3 * n for n in range(1, 10)]
    assert row["total_items"] == PROGRESS.total_items
    assert msgspec.json.decode(row["warnings"]) == [{"n": 2}]
    assert row["heartbeat_at"] > row["started_at"]
    assert (row["lease_expires_at"] - row["heartbeat_at"]).total_seconds() == pytest.approx(60, abs=1)


async def test_progress_is_one_row_an_account(mirror: Mirror, lease: Lease, database: Database) -> None:
    """It is the running run's, and an estimate is only there where there is one."""
    ledger = Ledger(database, worker_id="w", lease_seconds=60)
    await mirror.commit(lease, None, Batch(), Progress(1, 9, 100, 900), commits=0)
    (row,) = await ledger.progress()
    assert (row["items_per_second"], row["estimated_completion"]) == (None, None)
    await mirror.commit(lease, None, Batch(), Progress(9, 9, 900, 900, 10.0, 70.0), commits=1)
    (row,) = await ledger.progress()
    assert (row["sync_log_id"], row["current_page"], row["processed_items"]) == (lease.run_id, 9, 900)
    assert (row["estimated_completion"] - row["updated_at"]).total_seconds() == pytest.approx(70, abs=1)


async def test_a_whole_batch_equals_its_counters(mirror: Mirror, lease: Lease, sql: Connection) -> None:
    """What the run says it did is what the tables hold."""
    await mirror.commit(lease, None, creating(*map(offer, (1, 2, 3))), PROGRESS, commits=0)
    await mirror.commit(lease, None, everything(10, removed=2, start=0), PROGRESS, commits=1)
    found = {"created_items": 5, "updated_items": 0, "removed_items": 1, "failed_items": 1}
    assert await counters(sql, lease.run_id) == await counted(sql, lease.run_id) == found
