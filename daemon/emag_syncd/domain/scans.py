"""The geometry of a scan: positions in the catalogue, pages of a size, and what is left to read."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

LADDER = (100, 50, 25, 10)
"""The page sizes to go down by while pages fail: each divides 100, so that positions stay aligned."""

STEP_UP_AFTER = 8
"""How many pages in a row must succeed before a larger one is tried, at first."""


@dataclass(frozen=True, slots=True)
class Span:
    """The positions ``[start, end)`` of a catalogue, counted in offers from 0."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class PageJob:
    """One page to read: ``number`` counts from 1; ``failures`` is how often its positions failed before."""

    number: int
    size: int
    failures: int = 0

    @property
    def span(self) -> Span:
        """The positions that the page covers."""
        return Span((self.number - 1) * self.size, self.number * self.size)


class PageSizer:
    """The page size of the moment: down a step when a page fails for its size, up again when a larger page comes.

    A larger page is tried now and then, one at a time: after a row of successes, twice as long after each try
    that failed.
    """

    def __init__(self, largest: int) -> None:
        """Start at ``largest``, the size that is configured."""
        self._sizes = (largest, *(size for size in LADDER if size < largest))
        self._step = 0
        self._successes = 0
        self._needed = STEP_UP_AFTER
        self._trying = False

    @property
    def steps(self) -> int:
        """How many sizes there are."""
        return len(self._sizes)

    @property
    def size(self) -> int:
        """How many offers a page has now."""
        return self._sizes[self._step]

    def take(self, position: int) -> int:
        """Return how many offers to ask for at ``position``. A larger page is tried only where one begins."""
        if not self._step or self._successes < self._needed or position % (larger := self._sizes[self._step - 1]):
            return self.size
        self._successes = 0
        self._trying = True
        return larger

    def succeeded(self, size: int) -> None:
        """Count a page of ``size`` that came."""
        self._successes += 1
        if size > self.size:
            self._step = self._sizes.index(size)
            self._successes = 0
            self._needed = STEP_UP_AFTER
            self._trying = False

    def failed(self, size: int) -> bool:
        """Count a page of ``size`` that a smaller one might have spared; whether there is a smaller one.

        Pages that were asked for before the size went down say nothing about the smaller one.
        """
        self._successes = 0
        if size > self.size:
            self._needed *= 2 if self._trying else 1
            self._trying = False
        elif self._step + 1 < len(self._sizes):
            self._step += 1
        return size > self._sizes[-1]


@dataclass(slots=True)
class _Stretch:
    span: Span
    failures: int


class Worklist:
    """What a scan has still to read, in order; what failed goes to the end of the line."""

    def __init__(self, spans: Iterable[Span]) -> None:
        """Begin with ``spans``."""
        self._stretches = deque(_Stretch(span, 0) for span in spans if span.start < span.end)

    def __bool__(self) -> bool:
        """Whether anything is left."""
        return bool(self._stretches)

    @property
    def position(self) -> int:
        """Where the next page to take begins, or lies."""
        return self._stretches[0].span.start

    def add(self, span: Span, failures: int = 0) -> None:
        """Put ``span`` at the end of the line."""
        self._stretches.append(_Stretch(span, failures))

    def cut_off(self, end: int) -> None:
        """Leave out everything from ``end`` on."""
        spans = ((_Stretch(Span(one.span.start, min(one.span.end, end)), one.failures)) for one in self._stretches)
        self._stretches = deque(one for one in spans if one.span.start < one.span.end)

    def take(self, size: int) -> PageJob:
        """Take the next page, of ``size`` offers. It may reach over positions that were read before."""
        stretch = self._stretches[0]
        job = PageJob(stretch.span.start // size + 1, size, stretch.failures)
        if job.span.end >= stretch.span.end:
            self._stretches.popleft()
        else:
            stretch.span = Span(job.span.end, stretch.span.end)
        return job


def gaps(read: Iterable[Span], end: int) -> list[Span]:
    """Return what is missing of ``[0, end)`` when ``read``, in order and apart, was read."""
    missing: list[Span] = []
    position = 0
    for span in read:
        if position >= end:
            break
        if span.start > position:
            missing.append(Span(position, min(span.start, end)))
        position = max(position, span.end)
    if position < end:
        missing.append(Span(position, end))
    return missing
