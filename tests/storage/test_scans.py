"""Scans: what was read is known exactly, outlives its run, and is taken up while it is young."""

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emag_syncd.domain.batches import Batch, Progress, ScanRef, SeenPage
from emag_syncd.domain.errors import FencedError
from emag_syncd.domain.runs import Counters, Lease, Operation, Outcome, Status
from emag_syncd.domain.scans import Span
from emag_syncd.storage.database import Database
from emag_syncd.storage.ledger import Ledger
from emag_syncd.storage.mirror import Mirror, _checkpoints
from emag_syncd.storage.scans import Scans
from tests.support.offers import PROGRESS, Connection, claimed, creating, offer, page, removing

FAR_APART = [1, 2**30 - 1, 2**30, 2**31, 2**62, 2**63 - 2, 2**63 - 1]


class Work:
    """A run that scans."""

    def __init__(self, database: Database) -> None:
        self.ledger = Ledger(database, worker_id="w", lease_seconds=60)
        self.mirror = Mirror(database, lease_seconds=60)
        self.scans = Scans(database)
        self.lease: Lease
        self.scan: ScanRef
        self.commits = 0

    async def begin(self, *, resume_within: float = 60, **wanted: Any) -> ScanRef:
        """Claim a run and open its scan."""
        self.lease = await claimed(self.ledger, **wanted)
        self.scan = await self.scans.open(self.lease, resume_within_seconds=resume_within)
        self.commits = 0
        return self.scan

    async def end(self, status: Status = Status.FAILED, *, scan_done: bool = False) -> None:
        await self.ledger.finish(self.lease, Outcome(status, scan_done=scan_done), Counters())

    async def commit(self, batch: Batch) -> None:
        await self.mirror.commit(self.lease, self.scan, batch, PROGRESS, commits=self.commits)
        self.commits += 1

    async def saw(self, start: int, ids: Sequence[int], size: int = 100) -> None:
        """Commit a page of offers that did not change."""
        await self.commit(Batch(pages=[page(start, ids, size=size)]))

    async def spans(self) -> list[tuple[int, int]]:
        return [(span.start, span.end) for span in await self.scans.read_spans(self.scan)]


@pytest.fixture
def work(database: Database) -> Work:
    """Give a run to be begun."""
    return Work(database)


async def grow_older(sql: Connection, seconds: float) -> None:
    """Let the scans have begun that much earlier."""
    await sql.execute("UPDATE emag_sync_scans SET started_at = started_at - make_interval(secs => $1)", seconds)


async def test_only_the_holder_of_the_lease_has_a_scan(work: Work) -> None:
    """Another token, another run, a run that has ended: none opens a scan or begins it anew."""
    scan = await work.begin()
    held = work.lease
    others = [replace(held, token=uuid4()), replace(held, run_id=uuid4())]
    for lease in others:
        await assert_refused(work, lease, scan)
    assert await work.scans.next_pass(held, scan) == ScanRef(scan.id, 2)
    await work.end()
    await assert_refused(work, held, scan)


async def assert_refused(work: Work, lease: Lease, scan: ScanRef) -> None:
    """Assert that ``lease`` gives no right to a scan."""
    with pytest.raises(FencedError):
        await work.scans.open(lease, resume_within_seconds=60)
    with pytest.raises(FencedError):
        await work.scans.next_pass(lease, scan)


async def test_a_young_scan_is_taken_up(work: Work, sql: Connection) -> None:
    """With all that was read, by the next run of the same operation; its age counts from its own start."""
    first = await work.begin()
    await work.saw(0, [1, 2])
    await work.end()
    await grow_older(sql, 50)
    assert await work.scans.unfinished_full("main", resume_within_seconds=60)
    assert await work.begin() == first
    assert await work.spans() == [(0, 100)]
    await work.end()
    await grow_older(sql, 20)
    assert not await work.scans.unfinished_full("main", resume_within_seconds=60)
    assert await work.begin() != first
    assert await work.spans() == []
    assert await sql.fetchval("SELECT count(*) FROM emag_sync_scan_pages") == 0
    assert await sql.fetchval("SELECT scan_id FROM emag_sync_logs WHERE status = 'running'") == work.scan.id


async def test_a_scan_is_its_account_s_and_operation_s_own(work: Work) -> None:
    """What another account, or an incremental run, reads is none of a full scan's business."""
    full = await work.begin()
    await work.end()
    other = await work.begin(account="fbe")
    incremental = await work.begin(operation=Operation.INCREMENTAL)
    await work.end()
    assert len({full.id, other.id, incremental.id}) == 3
    assert await work.begin() == full


async def test_a_new_scan_takes_the_place_of_its_predecessor_alone(work: Work, sql: Connection) -> None:
    """Scans of other accounts, operations and kinds of data are not taken up, and stay with their pages."""
    orders = await sql.fetchval(
        "INSERT INTO emag_sync_scans (account_type, sync_type, operation) VALUES ('main', 'orders', 'full_sync')"
        " RETURNING id"
    )
    begun = []
    for wanted in ({"account": "fbe"}, {"operation": Operation.INCREMENTAL}, {}, {"resume_within": 0.0}):
        begun.append((await work.begin(**wanted)).id)
        await work.saw(0, [1, 2])
        await work.end()
    fbe, incremental, _, last = begun
    assert orders not in begun
    found = await sql.fetch("SELECT id FROM emag_sync_scans UNION ALL SELECT scan_id FROM emag_sync_scan_pages")
    assert sorted(row["id"] for row in found) == sorted([orders, *2 * [fbe, incremental, last]])


async def test_nothing_is_taken_up_within_no_time(work: Work, sql: Connection) -> None:
    """An incremental run always begins anew, and asking twice leaves no litter."""
    first = await work.begin(operation=Operation.INCREMENTAL, resume_within=0)
    await work.saw(0, [1])
    again = await work.scans.open(work.lease, resume_within_seconds=0)
    assert again.id != first.id
    assert await sql.fetchval("SELECT count(*) FROM emag_sync_scans") == 1
    assert await sql.fetchval("SELECT count(*) FROM emag_sync_scan_pages") == 0
    assert not await work.scans.unfinished_full("main", resume_within_seconds=60)


async def test_a_pass_begins_at_nothing(work: Work) -> None:
    """What the pass before has seen counts no more, here and for a run that takes it up; twice is once."""
    first = await work.begin()
    await work.saw(0, [1, 2])
    for _ in range(2):
        work.scan = await work.scans.next_pass(work.lease, first)
    assert work.scan == ScanRef(first.id, 2)
    assert (await work.spans(), await work.scans.distinct_seen(work.scan)) == ([], 0)
    await work.saw(0, [2, 3])
    await work.end()
    assert await work.begin() == ScanRef(first.id, 2)
    assert await work.scans.distinct_seen(work.scan) == 2
    assert await work.scans.distinct_seen(first) == 2


async def test_spans_are_in_order_and_apart(work: Work) -> None:
    """Pages of any size, in any order, overlapping or repeated, and those of no extent."""
    await work.begin()
    for start, size in [(300, 100), (0, 100), (100, 25), (110, 50), (0, 100), (320, 10), (500, 0)]:
        await work.saw(start, [start + 1], size)
    assert await work.spans() == [(0, 160), (300, 400)]


async def test_spans_by_hand_that_make_no_sense_are_left_out(work: Work, sql: Connection) -> None:
    """One that ends before it begins was never read, and hides nothing that was."""
    await work.begin()
    for start in (0, 100, 200):
        await work.saw(start, [start + 1])
    await sql.execute("UPDATE emag_sync_scan_pages SET start_at = end_at, end_at = start_at WHERE start_at = 100")
    assert await work.spans() == [(0, 100), (200, 300)]


async def test_pages_of_a_scan_that_was_deleted_go_with_the_run(work: Work, sql: Connection) -> None:
    """A scan's row deleted by hand leaves pages that no scan names: the end of its run takes them along."""
    await work.begin()
    await work.saw(0, [1])
    await sql.execute("DELETE FROM emag_sync_scans")
    await work.saw(100, [2])
    await work.end(Status.COMPLETED, scan_done=True)
    assert await sql.fetchval("SELECT count(*) FROM emag_sync_scan_pages") == 0


async def test_every_page_is_part_of_the_commit(work: Work) -> None:
    """Several pages at once, of which one is empty."""
    await work.begin()
    await work.commit(Batch(pages=[page(0, [1, 2]), page(100, []), page(200, FAR_APART)]))
    assert await work.spans() == [(0, 300)]
    assert await work.scans.distinct_seen(work.scan) == 2 + len(FAR_APART) - 1


async def test_distinct_counts_each_offer_once(work: Work) -> None:
    """Offers that moved while they were read come on two pages."""
    await work.begin()
    assert await work.scans.distinct_seen(work.scan) == 0
    await work.saw(0, [5, 6, 7])
    await work.saw(100, [7, 5, 8])
    assert await work.scans.distinct_seen(work.scan) == 4


async def test_the_most_that_was_counted_outlives_runs(work: Work) -> None:
    """Of all runs that read a page of the scan, those before included; other scans have nothing to do with it."""
    await work.begin()
    assert await work.scans.most_counted("main", work.scan) == 0
    for total in (700, 900, 800):
        await work.mirror.commit(work.lease, work.scan, Batch(), Progress(1, 9, 100, total), commits=0)
        await work.end()
        await work.begin()
    assert await work.scans.most_counted("main", work.scan) == 900
    assert await work.scans.most_counted("main", await work.begin(account="fbe")) == 0


async def test_unseen_are_the_stored_that_did_not_come(work: Work) -> None:
    """The lowest first, as many as asked for; without removed ones, other accounts', and other statuses'."""
    await work.begin(account="fbe")
    await work.commit(creating(offer(1)))
    await work.begin()
    statuses = {**dict.fromkeys(FAR_APART, 1), 2: 0, 3: None, 4: 1, 5: 1}
    await work.commit(creating(*(offer(n, status=status) for n, status in statuses.items())))
    await work.commit(removing(5))
    work.scan = await work.scans.next_pass(work.lease, work.scan)

    async def unseen(limit: int = 100, only_status: int | None = None) -> list[int]:
        return await work.scans.unseen("main", work.scan, limit=limit, only_status=only_status)

    everything = sorted(set(statuses) - {5})
    assert await unseen() == everything
    assert await unseen(limit=3) == everything[:3]
    assert await unseen(only_status=1) == sorted({*FAR_APART, 4})
    await work.saw(0, [*FAR_APART[:-1], 3, 77])
    assert await unseen() == [2, 4, FAR_APART[-1]]
    assert await unseen(only_status=0) == [2]


async def test_a_scan_of_any_ids(work: Work) -> None:
    """However the ids of a page lie, all are kept, and none is made up."""
    dice = random.Random(4711)
    ids = {dice.randrange(1, 2 ** dice.randrange(1, 64)) for _ in range(500)}
    await work.begin()
    await work.commit(creating(*map(offer, sorted(ids)[:50])))
    work.scan = await work.scans.next_pass(work.lease, work.scan)
    await work.saw(0, list(ids))
    assert await work.scans.distinct_seen(work.scan) == len(ids)
    assert await work.scans.unseen("main", work.scan, limit=1) == []


@given(ids=st.lists(st.integers(1, 2**63 - 1) | st.integers(2**30 - 3, 2**30 + 3), unique=True, max_size=100))
def test_checkpoints_hold_every_id_once(ids: list[int]) -> None:
    """Bases and offsets add up to the ids, within the reach of int4, and a page of none has its positions too."""
    checkpoints = list(_checkpoints(SeenPage(100, 200, ids)))
    offsets = [(of.base, int(text)) for of in checkpoints for text in of.offsets[1:-1].split(",") if text]
    assert sorted(base + offset for base, offset in offsets) == sorted(ids)
    assert all(0 <= offset < 2**31 for _, offset in offsets)
    assert {(of.start, of.end) for of in checkpoints} == {(100, 200)}
    assert sum(of.pages for of in checkpoints) == 1


async def test_pages_that_follow_each_other_share_a_checkpoint(work: Work, sql: Connection) -> None:
    """In whichever order they came; a gap between two of them stays one."""
    await work.begin()
    spans = ((20, 30), (0, 10), (40, 50), (10, 20))
    pages = [SeenPage(start, end, [1 + place]) for place, (start, end) in enumerate(spans)]
    await work.commit(Batch(pages=pages, counters=Counters(pages_processed=4)))
    found = await sql.fetch(
        "SELECT start_at, end_at, id_base + unnest(id_offsets) AS id, pages FROM emag_sync_scan_pages"
    )
    assert [tuple(row) for row in found] == [(0, 30, 2, 3), (0, 30, 4, 3), (0, 30, 1, 3), (40, 50, 3, 1)]
    assert await work.scans.read_spans(work.scan) == [Span(0, 30), Span(40, 50)]
    assert await work.scans.distinct_seen(work.scan) == 4
