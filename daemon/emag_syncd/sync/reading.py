"""Reads the pages of a scan: several requests in flight, smaller pages while they fail, what failed once more later."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from emag_syncd.domain.calls import CallOutcome
from emag_syncd.domain.errors import MarketplaceError
from emag_syncd.domain.offers import Page
from emag_syncd.domain.scans import PageJob, PageSizer, Span, Worklist
from emag_syncd.marketplace.client import Client
from emag_syncd.marketplace.errors import TransientError

log = structlog.get_logger(__name__)

PAGES_AT_ONCE = 2
"""How many pages that wait are merged at once: more would hold up the event loop, and take more memory."""

UNCHANGED_AT_ONCE = 12
"""How many where the last ones brought nothing new: such pages are not decoded, and share one small commit."""

MOST_HOLES = 4
"""How many pages may be given up, without any success between them, before the marketplace counts as down."""


class StoppedError(Exception):
    """The run was asked to stop, and did so between two pages."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """One page that came."""

    job: PageJob
    page: Page


class PageReader:
    """Reads the pages of one pass.

    ``holes`` are the positions that could not be read however often they were tried; ``last_error`` is why.
    """

    def __init__(
        self,
        client: Client,
        filters: Mapping[str, Any],
        sizer: PageSizer,
        *,
        stop: asyncio.Future[None],
        backoff: Callable[[int, TransientError], float],
        ceiling: int,
        max_attempts: int,
    ) -> None:
        """Keep at most ``ceiling`` pages in flight or unwritten; try each page at most ``max_attempts`` times.

        ``backoff`` tells the seconds to wait after so many rounds of failures. Once ``stop`` is done, no page is
        begun or waited for any more.
        """
        self._backoff = backoff
        self._stop = stop
        self._client = client
        self._filters = filters
        self._sizer = sizer
        self._ceiling = ceiling
        self._max_attempts = max_attempts
        self._patience = max(max_attempts, sizer.steps)
        self._in_flight: dict[asyncio.Task[Page], tuple[PageJob, float]] = {}
        self._limit = ceiling
        self._unwritten = 0
        self._rounds = 0
        self._round_began = 0.0
        self._not_before = 0.0
        self._at_once = PAGES_AT_ONCE
        self._seen_pages: dict[int, int] = {}
        self.holes: list[Span] = []
        self.last_error: MarketplaceError | None = None

    async def pages(self, work: Worklist) -> AsyncGenerator[list[Fetched], None]:
        """Yield what came, as it comes, until ``work`` is done; nothing, when there is only the writing to wait for.

        Call ``written`` for what was yielded: what is lost with the process is to be no more than was in flight.
        Raises MarketplaceError when it is no use to go on, StoppedError when it was asked to stop. Close the
        generator to drop what is in flight.
        """
        try:
            while work or self._in_flight:
                self._dispatch(work)
                done = await self._landed() if self._in_flight else []
                fetched = [got for task in done if (got := self._receive(task, work)) is not None]
                self._unwritten += len(fetched)
                while fetched:
                    batch, fetched = fetched[: self._at_once], fetched[self._at_once :]
                    yield batch
                if not done:
                    yield []
                if self._stop.done():
                    raise StoppedError
        finally:
            await self._drop_in_flight()

    def merged(self, *, unchanged: bool) -> None:
        """Note what the pages yielded last came to."""
        self._at_once = UNCHANGED_AT_ONCE if unchanged else PAGES_AT_ONCE

    def written(self, pages: int) -> None:
        """Note that so many pages are written."""
        self._unwritten -= pages

    def _dispatch(self, work: Worklist) -> None:
        if self._in_flight and time.monotonic() < self._not_before:
            return
        while work and len(self._in_flight) + self._unwritten < self._limit:
            job = work.take(self._sizer.take(work.position))
            task = asyncio.create_task(self._fetch(job), name=f"page {job.number} of {job.size}")
            self._in_flight[task] = (job, time.monotonic())

    async def _fetch(self, job: PageJob) -> Page:
        await asyncio.sleep(self._not_before - time.monotonic())
        return await self._client.read_page(self._filters, job.number, job.size)

    async def _landed(self) -> list[asyncio.Task[Page]]:
        waited_for: set[asyncio.Future[Any]] = {*self._in_flight, self._stop}
        await asyncio.wait(waited_for, return_when=asyncio.FIRST_COMPLETED)
        return [task for task in self._in_flight if task.done()]

    def _receive(self, task: asyncio.Task[Page], work: Worklist) -> Fetched | None:
        job, began = self._in_flight.pop(task)
        try:
            page = task.result()
            self._refuse_repeated(job, page)
        except TransientError as error:
            self._failed(job, began, error, work)
            return None
        self._rounds = 0
        self._limit = min(self._limit + 1, self._ceiling)
        self._sizer.succeeded(job.size)
        return Fetched(job, page)

    def _refuse_repeated(self, job: PageJob, page: Page) -> None:
        """Two pages with the very same offers: the marketplace did not turn the page."""
        if len(page.items) <= 1:
            return
        ids, position = hash(tuple(item.emag_id for item in page.items)), job.span.start
        if (before := self._seen_pages.setdefault(ids, position)) != position:
            raise TransientError(
                f"the page of {job.size} offers from {position + 1} on repeats the one from {before + 1} on",
                outcome=CallOutcome.BAD_ANSWER,
                remedy="the marketplace does not turn its pages; check the account's base_url",
            )

    def _failed(self, job: PageJob, began: float, error: TransientError, work: Worklist) -> None:
        self.last_error = error.final()
        # Where a smaller page can be asked for, the positions have not had their chance yet.
        is_spared = error.shrink and self._sizer.failed(job.size)
        failures = job.failures if is_spared else job.failures + 1
        log.warning(
            "page failed",
            action="page_failed",
            page=job.number,
            size=job.size,
            failures=failures,
            error=str(error),
        )
        if failures >= self._max_attempts:
            self.holes.append(job.span)
        else:
            work.add(job.span, failures)
        if began >= self._round_began:
            self._next_round(error)

    def _next_round(self, error: TransientError) -> None:
        """Requests that failed together count once: wait longer before the next ones, and send fewer."""
        self._rounds += 1
        self._round_began = time.monotonic()
        self._limit = max(1, self._limit // 2)
        # A page that was given up may be to blame alone: each buys the marketplace some more patience.
        if self._rounds >= self._patience * (1 + min(len(self.holes), MOST_HOLES)):
            raise error.final()
        self._not_before = self._round_began + self._backoff(self._rounds, error)

    async def _drop_in_flight(self) -> None:
        for task in self._in_flight:
            task.cancel()
        await asyncio.gather(*self._in_flight, return_exceptions=True)
        self._in_flight.clear()
