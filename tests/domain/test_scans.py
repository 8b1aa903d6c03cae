"""The geometry of a scan: whatever fails, every position is read, and pages stay aligned."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emag_syncd.domain.scans import LADDER, STEP_UP_AFTER, PageJob, PageSizer, Span, Worklist, gaps

SIZES = st.sampled_from([*LADDER, 100, 1, 7, 30])


@st.composite
def spans(draw: st.DrawFn) -> list[Span]:
    """Draw spans in order and apart, some of them adjacent."""
    found, position = [], 0
    for skipped, length in draw(st.lists(st.tuples(st.integers(0, 300), st.integers(1, 300)), max_size=6)):
        found.append(Span(position + skipped, position + skipped + length))
        position = found[-1].end
    return found


def positions(*of: Span) -> set[int]:
    """Return the positions of spans."""
    return {position for span in of for position in range(span.start, span.end)}


# Gaps


@given(read=spans(), end=st.integers(0, 2000))
def test_gaps_are_what_is_missing(read: list[Span], end: int) -> None:
    """No more and no less, in order and apart."""
    missing = gaps(read, end)
    assert positions(*missing) == positions(Span(0, end)) - positions(*read)
    assert all(first.end < second.start for first, second in pairwise(missing))
    assert all(span.start < span.end for span in missing)


# The page size


def succeed(sizer: PageSizer, times: int) -> None:
    """Let pages of the sizer's size come."""
    for _ in range(times):
        sizer.succeeded(sizer.size)


def test_the_size_goes_down_by_steps() -> None:
    """Each failure is one step down the ladder, and at its foot there is nothing smaller."""
    sizer = PageSizer(100)
    assert [(sizer.failed(sizer.size), sizer.size) for _ in range(5)] == [
        (True, 50),
        (True, 25),
        (True, 10),
        (False, 10),
        (False, 10),
    ]
    assert sizer.steps == 4


def test_the_size_goes_up_when_a_larger_page_comes() -> None:
    """After a row of successes one larger page is tried, where one begins; it decides."""
    sizer = PageSizer(100)
    sizer.failed(100)
    succeed(sizer, STEP_UP_AFTER - 1)
    assert sizer.take(0) == 50
    succeed(sizer, 1)
    assert [sizer.take(position) for position in (150, 200, 300)] == [50, 100, 50]
    assert sizer.size == 50
    sizer.succeeded(100)
    assert (sizer.size, sizer.take(50)) == (100, 100)


def test_a_larger_page_that_fails_is_tried_less_often() -> None:
    """Twice as many successes are asked for after each try in vain, and as few as at first once one came."""
    sizer = PageSizer(100)
    sizer.failed(100)
    for needed in (STEP_UP_AFTER, 2 * STEP_UP_AFTER, 4 * STEP_UP_AFTER):
        succeed(sizer, needed - 1)
        assert sizer.take(0) == 50
        succeed(sizer, 1)
        assert sizer.take(0) == 100
        assert sizer.failed(100)
        assert sizer.size == 50
    succeed(sizer, 8 * STEP_UP_AFTER)
    assert sizer.take(0) == 100
    sizer.succeeded(100)
    sizer.failed(100)
    succeed(sizer, STEP_UP_AFTER)
    assert sizer.take(0) == 100


def test_a_failure_interrupts_the_row() -> None:
    """Only successes without a failure between them count."""
    sizer = PageSizer(25)
    sizer.failed(25)
    succeed(sizer, STEP_UP_AFTER - 1)
    sizer.failed(10)
    succeed(sizer, STEP_UP_AFTER - 1)
    assert sizer.take(0) == 10


def test_pages_that_failed_together_count_once() -> None:
    """Larger pages that were in flight when the size went down say nothing of the smaller size."""
    sizer = PageSizer(100)
    assert [sizer.failed(100) for _ in range(3)] == [True, True, True]
    assert sizer.size == 50


@pytest.mark.parametrize(("largest", "sizes"), [(100, [100, 50, 25, 10]), (60, [60, 50, 25, 10]), (10, [10]), (3, [3])])
def test_the_ladder_begins_at_what_is_configured(largest: int, sizes: list[int]) -> None:
    """Any size may be configured, and none is ever exceeded."""
    sizer = PageSizer(largest)
    seen = [sizer.size]
    for _ in range(4):
        sizer.failed(sizer.size)
        if sizer.size != seen[-1]:
            seen.append(sizer.size)
    assert seen == sizes


# The worklist


@given(wanted=spans(), size=SIZES)
def test_pages_cover_their_spans(wanted: list[Span], size: int) -> None:
    """Every position is read; every page is a page of the marketplace, with something wanted on it."""
    work = Worklist(wanted)
    jobs: list[PageJob] = []
    while work:
        jobs.append(work.take(size))
    assert positions(*wanted) <= positions(*(job.span for job in jobs))
    assert all(positions(job.span) & positions(*wanted) for job in jobs)
    assert all(job.span == Span((job.number - 1) * size, job.number * size) for job in jobs)
    assert all(job.failures == 0 for job in jobs)


@given(total=st.integers(0, 1000), largest=SIZES, data=st.data())
def test_any_pattern_of_failures_reads_everything(total: int, largest: int, data: st.DataObject) -> None:
    """Pages that fail are asked for again, smaller, until all is read or given up; nothing falls between."""
    work, sizer = Worklist([Span(0, total)]), PageSizer(largest)
    read: list[Span] = []
    given_up: list[Span] = []
    while work:
        job = work.take(sizer.take(work.position))
        assert job.span.start % job.size == 0
        if data.draw(st.booleans()):
            sizer.succeeded(job.size)
            read.append(job.span)
            continue
        sizer.failed(job.size)
        if job.failures + 1 >= 3:
            given_up.append(job.span)
        else:
            work.add(job.span, job.failures + 1)
    assert positions(Span(0, total)) <= positions(*read, *given_up)


@given(sizes=st.lists(st.sampled_from(LADDER), min_size=1, max_size=30), total=st.integers(1, 2000))
def test_a_change_of_size_keeps_pages_aligned(sizes: list[int], total: int) -> None:
    """Down the ladder nothing is read twice: each size divides the larger ones, from which 25 to 10 is excepted."""
    work = Worklist([Span(0, total)])
    jobs = [work.take(size) for size in sorted(sizes, reverse=True) if work]
    overlaps = [(a, b) for a, b in pairwise(jobs) if b.span.start < a.span.end]
    assert all(b.size == 10 and a.span.end - b.span.start < 10 for a, b in overlaps)


def test_what_failed_comes_last() -> None:
    """One bad page does not hold up the rest."""
    work = Worklist([Span(0, 250)])
    first = work.take(100)
    work.add(first.span, first.failures + 1)
    assert [work.take(100) for _ in range(3)] == [PageJob(2, 100), PageJob(3, 100), PageJob(1, 100, failures=1)]
    assert not work


def test_nothing_to_read() -> None:
    """Spans of no extent are no work."""
    assert not Worklist([])
    assert not Worklist([Span(5, 5)])


def test_what_lies_beyond_the_end_is_left_out() -> None:
    """Of what is left to read, nothing from a position on; what was tried before keeps its failures."""
    work = Worklist([Span(0, 30), Span(50, 90)])
    work.add(Span(10, 20), failures=2)
    work.cut_off(60)
    jobs = []
    while work:
        jobs.append(work.take(10))
    assert [(job.span.start, job.failures) for job in jobs] == [(0, 0), (10, 0), (20, 0), (50, 0), (10, 2)]
