"""How page sizes go down and up, without any marketplace."""

from hypothesis import given
from hypothesis import strategies as st

from emag_syncd.domain.scans import STEP_UP_AFTER, PageSizer, Span, Worklist, gaps


def succeed(sizer: PageSizer, times: int) -> None:
    """Let pages of the present size come."""
    for _ in range(times):
        sizer.succeeded(sizer.size)


def test_pages_that_were_under_way_say_nothing_of_the_smaller_size() -> None:
    """However many large pages fail together, the size goes down one step."""
    sizer = PageSizer(100)
    assert all(sizer.failed(100) for _ in range(24))
    assert sizer.size == 50


def test_the_smallest_size_has_no_smaller_one() -> None:
    """At the bottom of the ladder a failure is the page's own."""
    sizer = PageSizer(10)
    assert not sizer.failed(10)
    assert sizer.size == 10


def test_one_larger_page_is_tried_after_a_row_of_successes() -> None:
    """It is one, it begins where a larger page begins, and when it comes the size is larger."""
    sizer = PageSizer(100)
    sizer.failed(100)
    succeed(sizer, STEP_UP_AFTER)
    assert [sizer.take(position) for position in (50, 100, 200)] == [50, 100, 50]
    assert sizer.size == 50
    sizer.succeeded(100)
    assert sizer.size == 100


def test_each_try_that_fails_is_followed_by_a_longer_row() -> None:
    """Sizes that don't work are tried less and less; one that works makes the patience new."""
    sizer = PageSizer(100)
    sizer.failed(100)
    for needed in (STEP_UP_AFTER, 2 * STEP_UP_AFTER, 4 * STEP_UP_AFTER):
        succeed(sizer, needed - 1)
        assert sizer.take(0) == 50
        succeed(sizer, 1)
        assert sizer.take(0) == 100
        sizer.failed(100)
    succeed(sizer, 8 * STEP_UP_AFTER)
    sizer.take(0)
    sizer.succeeded(100)
    sizer.failed(100)
    succeed(sizer, STEP_UP_AFTER)
    assert sizer.take(0) == 100


@given(
    st.integers(1, 100),
    st.lists(st.tuples(st.integers(0, 700), st.integers(0, 90)), max_size=5),
    st.lists(st.booleans(), max_size=60),
)
def test_whatever_fails_every_position_is_read(largest: int, read: list[tuple[int, int]], fates: list[bool]) -> None:
    """Sizes that go down and up, at any alignment, leave no position out."""
    end = 800
    ordered = sorted(read)
    missing = gaps([Span(start, start + length) for start, length in ordered], end)
    covered = {position for start, length in read for position in range(start, start + length)}
    assert covered | {position for gap in missing for position in range(gap.start, gap.end)} >= set(range(end))
    sizer, work, fate = PageSizer(largest), Worklist(missing), iter(fates)
    while work:
        job = work.take(sizer.take(work.position))
        if next(fate, True):
            sizer.succeeded(job.size)
            covered |= set(range(job.span.start, job.span.end))
        else:
            sizer.failed(job.size)
            work.add(job.span, job.failures + 1)
    assert covered >= set(range(end))
