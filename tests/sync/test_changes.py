"""What changed between runs is in the mirror and in the change log, and the two say the same."""

import json
from collections.abc import Callable
from itertools import count
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import Raw

from emag_syncd.domain.canonical import canonical
from emag_syncd.domain.offers import COLUMNS
from emag_syncd.domain.runs import Operation
from emag_syncd.sandbox import ABSENT, AccountSpec, Catalogue, Dice, Oddities, Sandbox
from tests.support.replay import replayed
from tests.support.syncing import syncing
from tests.sync.conftest import Open, Sql
from tests.sync.reference import assert_mirrors, flagged, loads, mirrored, sanitised

IN_ONE_DATABASE = settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
numbers = count()


async def kinds(sql: Sql, emag_id: int) -> list[tuple[str, Any]]:
    """Return the changes of an offer in order."""
    rows = await sql.fetch(
        "SELECT kind, changes::text FROM emag_product_changes WHERE emag_id = $1 ORDER BY id", emag_id
    )
    return [(row["kind"], json.loads(row["changes"])) for row in rows]


async def test_each_kind_of_change_is_recorded(open_syncing: Open, sql: Sql) -> None:
    """An offer is created, updated, removed and restored, each with what changed; unknown keys by their names."""
    s = await open_syncing(offers=5)
    catalogue = s.main.catalogue
    one = catalogue.ids[2]
    catalogue.update(one, sale_price=10.5, ean=["0123"], name="Lamp")
    await s.sync()
    catalogue.update(one, sale_price="10.75", ean=["0123", "9"], novelty={"a": 1}, weight=ABSENT)
    assert (await s.sync()).counted("updated", "unchanged") == (1, 4)
    catalogue.remove(one)
    assert (await s.sync()).counted("removed", "unchanged") == (1, 4)
    assert (await s.sync()).counted("removed", "unchanged") == (0, 4)
    catalogue.add(one, name="Lamp, restored")
    assert (await s.sync()).counted("updated", "created", "unchanged") == (1, 0, 4)

    created, updated, removed, restored = await kinds(sql, one)
    assert created[0] == "created"
    assert created[1]["sale_price"] == {"old": None, "new": 10.5}
    assert updated == (
        "updated",
        {
            "sale_price": {"old": 10.5, "new": 10.75},
            "ean": {"old": ["0123"], "new": ["0123", "9"]},
            "raw": ["novelty", "weight"],
        },
    )
    assert removed == ("removed", {})
    assert restored == ("restored", {"name": {"old": "Lamp", "new": "Lamp, restored"}})
    row = await sql.fetchrow("SELECT * FROM emag_products WHERE emag_id = $1", one)
    assert row is not None
    assert row["removed_at"] is None
    assert row["first_seen_at"] < row["updated_at"]
    await assert_mirrors(sql, s.main)


async def test_an_offer_that_returns_as_it_was_has_not_changed(open_syncing: Open, sql: Sql) -> None:
    """Removal and return are no change of content: ``updated_at`` stays."""
    s = await open_syncing(offers=5)
    one = s.main.catalogue.ids[0]
    await s.sync()
    before = await sql.fetchval("SELECT updated_at FROM emag_products WHERE emag_id = $1", one)
    s.main.catalogue.remove(one)
    await s.sync()
    assert await sql.fetchval("SELECT removed_at FROM emag_products WHERE emag_id = $1", one) > before
    s.main.catalogue.add(one)
    await s.sync()
    assert await sql.fetchval("SELECT updated_at FROM emag_products WHERE emag_id = $1", one) == before
    assert [kind for kind, _ in await kinds(sql, one)] == ["created", "removed", "restored"]


async def test_a_price_beyond_any_float_can_change(open_syncing: Open, sql: Sql) -> None:
    """A number that PostgreSQL keeps and a decoder hardly takes does not stop the next change."""
    s = await open_syncing(offers=3)
    one = s.main.catalogue.ids[0]
    for price in (b"1e400", b"1e-999", b"1.5", b"1e999", b"2e99999", b"-0.0"):
        s.main.catalogue.update(one, sale_price=Raw(price), extra=Raw(price))
        assert (await s.sync()).status == "completed"
        await assert_mirrors(sql, s.main)


Step = Callable[[Catalogue, set[int]], object]


def _mutate(seed: int) -> Step:
    return lambda catalogue, _: catalogue.mutate_randomly(Dice(seed), seed % 5)


def _shuffle(seed: int) -> Step:
    return lambda catalogue, _: catalogue.shuffle(Dice(seed))


def _add(seed: int) -> Step:
    return lambda catalogue, _: catalogue.add(front=seed % 2 == 0)


def _remove(seed: int) -> Step:
    def remove(catalogue: Catalogue, gone: set[int]) -> None:
        leaving = catalogue.ids[seed % len(catalogue)]
        catalogue.remove(leaving)
        gone.add(leaving)

    return remove


def _restore(seed: int) -> Step:
    def restore(catalogue: Catalogue, gone: set[int]) -> None:
        if gone:
            catalogue.add(gone.pop(), front=seed % 2 == 0)

    return restore


steps = st.builds(
    lambda make, seed: make(seed),
    st.sampled_from([_mutate, _mutate, _shuffle, _add, _remove, _restore]),
    st.integers(0, 1000),
)
rounds = st.lists(st.tuples(st.lists(steps, max_size=6), st.sampled_from(list(Operation)[:2])), min_size=1, max_size=3)


@IN_ONE_DATABASE
@given(rounds)
async def test_any_changes_between_runs_are_mirrored(
    database_url: str, sql: Sql, rounds: list[tuple[list[Step], Operation]]
) -> None:
    """After any changes a full run makes the mirror equal again, and the change log replays to what it holds."""
    name = f"a{next(numbers)}"
    spec = AccountSpec(25, seed=name, limited=False, oddities=Oddities(odd=0.3, unfit=0.1, unusable=1, duplicates=1))
    async with Sandbox({name: spec}) as sandbox, syncing(sandbox, database_url, marketplace={"page_size": 10}) as s:
        gone: set[int] = set()
        for changes, operation in [*rounds, ([], Operation.FULL)]:
            for change in changes:
                change(s.main.catalogue, gone)
            ended = await s.sync(operation)
            assert (ended.status, ended["errors"]) == ("completed", [])
            columns = {
                emag_id: {column: row[column] for column in COLUMNS}
                for emag_id, row in (await mirrored(sql, name)).items()
            }
            replay = await replayed(sql, name)
            assert (replay.odd, replay.live) == ([], columns)
            if operation is Operation.FULL:
                await assert_mirrors(sql, s.main)
        assert list(s.main.stats.violations) == []


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(), max_size=8)
    | st.sampled_from(["", "1", "28,9", "NaN", "\0", "\ud800", "\udc00\ud800", " 7 ", "1e5", "٣", "-"])
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
)
tokens = st.sampled_from([b"1e400", b"1e-999", b"-0", b"0.00005", b"1e5000", b"9223372036854775808", b"1E+2"])
encoded = values.map(lambda value: json.dumps(value).encode()) | tokens
KEYS = [key for key in json.loads(Catalogue(1).row(Catalogue(1).ids[0])) if key != "id"]
hostile = st.dictionaries(st.sampled_from([*KEYS, "auto_translated", "brand_name", "novelty"]), encoded, max_size=12)


@settings(IN_ONE_DATABASE, max_examples=40)
@given(st.lists(hostile, min_size=1, max_size=8), st.lists(hostile, min_size=1, max_size=8))
async def test_no_value_costs_an_offer(
    database_url: str, sql: Sql, first: list[dict[str, bytes]], second: list[dict[str, bytes]]
) -> None:
    """Whatever JSON stands in whatever key, at first or as a change, the run completes and every offer is kept."""
    name = f"h{next(numbers)}"
    async with Sandbox({name: AccountSpec(8, limited=False)}) as sandbox, syncing(sandbox, database_url) as s:
        for offers in (first, second):
            for emag_id, fields in zip(s.main.catalogue.ids, offers, strict=False):
                s.main.catalogue.update(emag_id, **{key: Raw(value) for key, value in fields.items()})
            ended = await s.sync()
            assert (ended.status, ended["errors"], ended["failed_items"]) == ("completed", [], 0)
            stored = {emag_id: row["raw"] for emag_id, row in (await mirrored(sql, name)).items()}
            for emag_id, raw in s.main.catalogue.truth():
                assert same(stored[emag_id], flagged(sanitised(loads(raw))))


def same(stored: Any, served: Any) -> bool:
    """Whether two offers say the same; what only looks different is kept as it first came."""
    return stored.keys() == served.keys() and all(
        stored[key] == served[key] or canonical({key: stored[key]}) == canonical({key: served[key]}) for key in served
    )
