"""One run's way through the catalogue: read, merge, commit, page after page."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from emag_syncd.domain.batches import Batch, Progress, ScanRef
from emag_syncd.domain.errors import MarketplaceError
from emag_syncd.domain.offers import Item
from emag_syncd.domain.runs import Operation, RunRequest
from emag_syncd.domain.scans import PageSizer, Span, Worklist, gaps
from emag_syncd.marketplace.client import Client
from emag_syncd.marketplace.link import AccountLink
from emag_syncd.storage.mirror import Mirror, Turn, at_once
from emag_syncd.storage.scans import Scans
from emag_syncd.sync.commits import Committer
from emag_syncd.sync.context import RunContext
from emag_syncd.sync.merging import Merger
from emag_syncd.sync.overlap import Overlap
from emag_syncd.sync.reading import Fetched, PageReader, StoppedError
from emag_syncd.sync.settings import RunSettings

T = TypeVar("T")

ACTIVE = 1
"""The marketplace's status of an offer that is on sale."""


MOST_BLANKS = 5
"""How many pages behind the last one with offers must be empty before the catalogue is over, whatever its count."""


@dataclass(slots=True)
class _Tail:
    """The last page of the catalogue: only one that is not full proves that there are no more.

    The marketplace's count leaves out entries that take places on its pages all the same. ``over`` is whether the
    catalogue ended long before its count did.
    """

    end: int = 0
    full: bool = True
    _inhabited: int = 0
    _blanks: set[int] = field(default_factory=set)

    @property
    def over(self) -> bool:
        return len(self._blanks) >= MOST_BLANKS

    def read(self, fetched: Sequence[Fetched]) -> None:
        for got in fetched:
            span = got.job.span
            if span.end >= self.end:
                self.end, self.full = span.end, got.page.size >= got.job.size
            if got.page.size:
                self._inhabited = max(self._inhabited, span.end)
            else:
                self._blanks.add(span.start)
        self._blanks = {start for start in self._blanks if start >= self._inhabited}

    def unread(self, size: int) -> list[Span]:
        return [Span(self.end, self.end + size)] if self.full else []


class Run:
    """The steps of a run, in the hands of its operation."""

    def __init__(
        self, context: RunContext, link: AccountLink, mirror: Mirror, scans: Scans, settings: RunSettings
    ) -> None:
        """Build the parts that only this run uses."""
        self.context = context
        self.link = link
        self.client = Client(link, context, self.persist)
        self.mirror = mirror
        self.scans = scans
        self.settings = settings
        self.account = context.lease.account
        self.filters = _filters(context.request)
        self.total = 0
        self.shrank = False
        self.set_aside = 0
        self.listed = 0
        self._early_count: asyncio.Task[int] | None = None
        self._offset = 0
        self._tail = _Tail()
        self._merger = Merger(mirror, self.account)
        self._committer = Committer(mirror, context.lease, patience_seconds=settings.lease_seconds)
        self._sizer = PageSizer(context.request.page_size or settings.page_size)
        self._reader = self._new_reader()
        self.holes: list[Span] = []
        self.hole_error: MarketplaceError | None = None

    async def count(self) -> int:
        """Return how many offers the marketplace counts. Raises StoppedError when the run is asked to stop."""
        return await self.unless_stopped(self.client.count(self.filters))

    async def unless_stopped(self, work: Awaitable[T]) -> T:
        """Return what ``work`` returns; it may wait long for the marketplace, and is dropped when the run is to stop.

        Raises StoppedError and what ``work`` raises.
        """
        task = asyncio.ensure_future(work)
        waited_for: set[asyncio.Future[Any]] = {task, self.context.stop}
        try:
            await asyncio.wait(waited_for, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise StoppedError
            return task.result()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def persist(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do ``work`` on the database, trying again while it is away."""
        return await self._committer.persist(work)

    async def open_scan(self) -> ScanRef:
        """Take up the scan that was cut short, or begin one. Only a full scan is ever taken up."""
        full = self.context.request.operation is Operation.FULL
        within = self.settings.resume_within_seconds if full else 0.0
        return await self.persist(lambda: self.scans.open(self.context.lease, resume_within_seconds=within))

    async def next_pass(self, scan: ScanRef) -> ScanRef:
        """Begin the scan anew: offers moved while it was read."""
        return await self.persist(lambda: self.scans.next_pass(self.context.lease, scan))

    async def read_rest(self, scan: ScanRef) -> None:
        """Read what the scan's pass has not read yet, up to the end of the catalogue.

        What could not be read is in ``holes``; ``shrank`` is whether there were more offers before, ``set_aside`` how
        many entries had no usable id, ``listed`` how many different offers the pass has seen.
        Raises MarketplaceError, DatabaseError, FencedError, StoppedError.
        """
        self.total = await self.count()
        read = await self.persist(lambda: self.scans.read_spans(scan))
        most = self.total
        if read:
            most = max(most, await self.persist(lambda: self.scans.most_counted(self.account, scan)))
        resumed = sum(min(span.end, self.total) - span.start for span in read if span.start < self.total)
        self._offset = resumed - self.context.counters.processed_items
        self._tail = _Tail(end=read[-1].end if read else 0)
        self._reader = self._new_reader()
        self.set_aside = 0
        # One position more than there are offers: the page that has it, or would, is the last.
        try:
            while left := gaps(read, self._wanted()) or self._tail.unread(self._sizer.size):
                await self.read_spans(left, scan)
                if self.holes:
                    break
                read = await self.persist(lambda: self.scans.read_spans(scan))
            self.listed = await self.persist(lambda: self.scans.distinct_seen(scan))
            self.total = await self._count_again(most)
        finally:
            await self._drop_early_count()
        self.shrank = self.total < most

    async def _count_again(self, most: int) -> int:
        """Return the count after the pages. The one that was asked for beside the last of them will do if it agrees.

        Offers that came or went since then make it disagree with what was seen, but for those that cancel each other
        out, which no count tells: so agreeing early proves no less than agreeing late.
        """
        if self._early_count is not None:
            total = await self.unless_stopped(self._early_count)
            if most <= total == self.listed:
                return total
        return await self.count()

    def _count_early(self) -> None:
        if self._early_count is None:
            self._early_count = asyncio.create_task(self.client.count(self.filters), name="count")

    async def _drop_early_count(self) -> None:
        if self._early_count is not None:
            self._early_count.cancel()
            await asyncio.gather(self._early_count, return_exceptions=True)
            self._early_count = None

    def _wanted(self) -> int:
        """Return the end of what is to be read: one position more than there are offers, or said to be."""
        return min(self.total + 1, self._tail.end) if self._tail.over else self.total + 1

    async def read_spans(self, spans: Sequence[Span], scan: ScanRef | None) -> None:
        """Read ``spans`` and commit what came; with a ``scan`` each page is a checkpoint of it.

        While batches are written the next is merged, unless it has offers of those that are written.
        """
        work = Worklist(spans)
        async with aclosing(self._reader.pages(work)) as pages, Overlap() as writes:
            async for fetched in pages:
                if scan is not None and not work:
                    self._count_early()
                if not fetched or writes.has(item.emag_id for got in fetched for item in got.page.items):
                    await writes.settle()
                if not fetched:
                    continue
                batch = await self.persist(partial(self._merger.of_pages, fetched))
                self._reader.merged(unchanged=not batch.writes)
                self._tail.read(fetched)
                if self._tail.over:
                    work.cut_off(self._tail.end)
                self.set_aside += len(batch.rejects)
                await writes.follow(partial(self._write, batch, scan), {offer.emag_id for offer in batch.writes})
        self.holes = self._reader.holes
        self.hole_error = self._reader.last_error if self.holes else None

    async def _write(self, batch: Batch, scan: ScanRef | None, turn: Turn) -> None:
        await self.commit(batch, scan, turn)
        self._reader.written(len(batch.pages))

    def _new_reader(self) -> PageReader:
        return PageReader(
            self.client,
            self.filters,
            self._sizer,
            stop=self.context.stop,
            backoff=self.link.backoff,
            ceiling=self.settings.max_concurrent_requests,
            max_attempts=self.settings.max_attempts,
        )

    async def merge_offers(self, items: Sequence[Item], scan: ScanRef, *, seen: bool) -> None:
        """Commit offers that were read by their id."""
        batch = await self.persist(lambda: self._merger.of_offers(items, seen=seen))
        await self.commit(batch, scan)

    async def remove(self, ids: Sequence[int], scan: ScanRef) -> None:
        """Mark offers as removed: what calls this has the proof."""
        await self.commit(self._merger.of_removals(ids), scan)

    async def commit(self, batch: Batch, scan: ScanRef | None, turn: Turn = at_once) -> None:
        """Write ``batch`` when it is its ``turn``, and tell of it."""
        context = self.context
        batch.counters.add(context.take_unrecorded())
        context.counters.add(batch.counters)
        context.progress = self._progress()
        await self._committer.commit(scan, batch, context.progress, turn)
        context.commits += 1
        context.committed(batch.counters, context.progress)

    def _progress(self) -> Progress:
        counters = self.context.counters
        elapsed = time.monotonic() - self.context.began
        rate = counters.processed_items / elapsed if elapsed > 0 else None
        done = max(0, self._offset + counters.processed_items)
        left = max(0, self.total - done)
        size = self._sizer.size
        return Progress(
            current_page=math.ceil(min(done, self.total) / size),
            total_pages=math.ceil(self.total / size),
            processed_items=done,
            total_items=self.total,
            items_per_second=rate,
            seconds_left=left / rate if rate else None,
        )


def _filters(request: RunRequest) -> dict[str, Any]:
    if request.operation is Operation.INCREMENTAL and not request.include_inactive:
        return {"status": ACTIVE}
    return dict(request.filters)
