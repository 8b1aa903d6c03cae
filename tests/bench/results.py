"""The figures of a benchmark as a file of JSON: sections that are measured together or apart, each with its rounds."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from tests.bench.measuring import Figures

LOADS, BUDGETS, PEERS = "loads", "budgets", "peers"

Results = dict[str, dict[str, Any]]
"""Sections by name; a section's parts by name, each with ``about`` and what was found."""


def read(path: Path) -> Results:
    """Return the results of a file; none when it is not there."""
    found: Results = json.loads(path.read_text("utf-8")) if path.exists() else {}
    return found


def write(path: Path, results: Results) -> None:
    """Write the results to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n", "utf-8")


def put(results: Results, section: str, part: str, found: dict[str, Any], *, add: bool = False) -> None:
    """Put what was found in the place of what was there before; with ``add`` its rounds beside those of then."""
    parts = results.setdefault(section, {})
    before = parts.get(part)
    if add and before is not None:
        found = {**found, "rounds": [*before["rounds"], *found["rounds"]]}
    parts[part] = found


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure in all rounds."""

    values: Sequence[float]

    @property
    def median(self) -> float:
        """The middle one."""
        return median(self.values)

    @property
    def relative(self) -> float:
        """From the smallest to the largest, as a share of the middle one."""
        return (max(self.values) - min(self.values)) / abs(self.median) if self.median else 0.0

    def text(self, digits: int = 0) -> str:
        """Return the middle one, and from where to where they go when there are several."""
        shown = f"{self.median:,.{digits}f}"
        if len(self.values) == 1:
            return shown
        return f"{shown} ({min(self.values):,.{digits}f} to {max(self.values):,.{digits}f})"


def middle(rounds: Sequence[Any]) -> Any:
    """Return the median of each figure over the rounds that have it; of what is no figure, the latest."""
    latest = rounds[-1]
    if isinstance(latest, dict):
        keys = dict.fromkeys(key for one in rounds for key in one)
        return {key: middle([one[key] for one in rounds if key in one]) for key in keys}
    return median(rounds) if isinstance(latest, int | float) else latest


def spread(
    rounds: Sequence[dict[str, dict[str, Figures]]], load: str, figure: Callable[[dict[str, Figures]], float | None]
) -> Spread | None:
    """Return a figure of a load in all rounds that have it; None when none has."""
    found = [value for one in rounds if load in one and (value := figure(one[load])) is not None]
    return Spread(found) if found else None


def of(side: str, name: str) -> Callable[[dict[str, Figures]], float | None]:
    """Return what looks up a figure of one side."""
    return lambda sides: sides.get(side, {}).get(name)


def ratio(name: str) -> Callable[[dict[str, Figures]], float | None]:
    """Return what divides our figure by the bare loop's of the same round."""

    def divided(sides: dict[str, Figures]) -> float | None:
        ours, bare = of("ours", name)(sides), of("bare", name)(sides)
        return ours / bare if ours is not None and bare else None

    return divided
