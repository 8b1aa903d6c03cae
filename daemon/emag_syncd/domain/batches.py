"""What one transaction of a run writes."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from emag_syncd.domain.changes import Change
from emag_syncd.domain.offers import Offer, Reject
from emag_syncd.domain.runs import Counters


@dataclass(frozen=True, slots=True)
class SeenPage:
    """The checkpoint of a page, or of several that follow each other: their positions and the ids that stood there."""

    start: int
    end: int
    ids: Sequence[int]
    pages: int = 1


@dataclass(frozen=True, slots=True)
class ScanRef:
    """The scan that a run works on. ``pass_no`` counts how often it began anew because offers moved."""

    id: UUID
    pass_no: int


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is. ``items_per_second`` and ``seconds_left`` are None while unknown."""

    current_page: int
    total_pages: int
    processed_items: int
    total_items: int
    items_per_second: float | None = None
    seconds_left: float | None = None


@dataclass(slots=True)
class Batch:
    """Everything that one or several pages bring: all of it is written, or nothing."""

    pages: list[SeenPage] = field(default_factory=list)
    writes: list[Offer] = field(default_factory=list)
    removals: list[int] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    rejects: list[tuple[int, Reject]] = field(default_factory=list)
    counters: Counters = field(default_factory=Counters)
    warnings: list[dict[str, object]] | None = None
