"""What a soak has to tell."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from statistics import median


@dataclass
class Report:
    """What happened. ``recoveries`` has the seconds until all was well, by kinds of fault that came at once."""

    seed: int
    minutes: float
    daemons: int
    recoveries: list[tuple[tuple[str, ...], float]] = field(default_factory=list)
    figures: dict[str, object] = field(default_factory=dict)
    runs: dict[str, int] = field(default_factory=dict)
    exits: Mapping[str, int] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)

    def markdown(self) -> str:
        """Return the report as a page."""
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        yield "# Soak"
        yield ""
        yield (
            f"{self.minutes:g} minutes of faults, seed {self.seed}, {self.daemons} daemons, two accounts,"
            f" {sum(len(kinds) for kinds, _ in self.recoveries)} faults, violations: {len(self.violations)}."
        )
        yield ""
        yield from _table(("fault", "times", "of these alone", "well again: median, s", "worst, s"), self._faults())
        yield from _table(("what", "how many"), self.figures.items())
        yield from _table(("runs that ended", "how many"), sorted(self.runs.items()))
        yield from _table(("processes that ended", "how many"), sorted(self.exits.items()))
        yield "## Violations"
        yield ""
        yield from ([f"- {what}" for what in self.violations] or ["none"])

    def _faults(self) -> Iterator[tuple[object, ...]]:
        times: dict[str, int] = defaultdict(int)
        alone: dict[str, list[float]] = defaultdict(list)
        together: list[float] = []
        for kinds, seconds in self.recoveries:
            for kind in kinds:
                times[kind] += 1
            (alone[kinds[0]] if len(kinds) == 1 else together).append(seconds)
        for kind in sorted(times):
            yield (kind, times[kind], len(alone[kind]), *_middle_and_worst(alone[kind]))
        yield ("several at once", len(together), "", *_middle_and_worst(together))


def _middle_and_worst(seconds: list[float]) -> tuple[str, str]:
    return (f"{median(seconds):.1f}", f"{max(seconds):.1f}") if seconds else ("", "")


def _table(head: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield "|---" * len(head) + "|"
    yield from (f"| {' | '.join(map(str, row))} |" for row in rows)
    yield ""
