"""What got worse since the last release, by more than the noise: ``make bench-check``.

Compares what does not depend much on the machine: ratios to the bare loops of the same run, bytes, memory, and shares
of the marketplace's budget. It does depend on PostgreSQL: loads are compared where both were on the same major version
with the same compressions. Exit code 1 when something got worse, 2 when there is nothing to compare.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.measuring import Figures
from tests.bench.results import BUDGETS, LOADS, Results, Spread, of, ratio, read, spread

BASELINE = Path(__file__).parent / "baseline.json"
FLOOR = 0.10
"""What may always be noise, as a share: two runs of the same commit differ by as much on a machine with other work."""


@dataclass(frozen=True, slots=True)
class Figure:
    """Something to compare. A difference below ``slack``, in the figure's own unit, says nothing."""

    name: str
    look_up: Callable[[dict[str, Figures]], float | None]
    more_is_better: bool = False
    slack: float = 0.0


FIGURES = (
    Figure("rows/s, of the bare loop's", ratio("rows_per_second"), more_is_better=True),
    Figure("CPU, of the bare loop's", ratio("cpu_ms_per_1000")),
    Figure("PostgreSQL's CPU, of the bare loop's", ratio("pg_cpu_ms_per_1000"), slack=0.1),
    Figure("WAL, bytes an offer", of("ours", "wal_bytes_per_offer"), slack=20),
    Figure("tables, bytes an offer", of("ours", "table_bytes_per_offer"), slack=20),
    Figure("rows of emag_products written", of("ours", "rows_written"), slack=0.5),
    Figure("peak memory, MB", of("ours", "peak_mb"), slack=5),
)


@dataclass(frozen=True, slots=True)
class Comparison:
    """A figure then and now, and how much of a difference may be noise, as a share."""

    what: str
    then: float
    now: float
    noise: float
    is_worse: bool

    def text(self) -> str:
        """Return a line that says it."""
        said = "WORSE" if self.is_worse else "ok"
        return f"{said:5} {self.what}: {self.then:.3g} then, {self.now:.3g} now (noise {self.noise:.0%})"


def compared(what: str, then: Spread, now: Spread, figure: Figure) -> Comparison:
    """Compare a figure. It is worse when its median moved further than its rounds lie apart, then or now."""
    noise = max(FLOOR, then.relative, now.relative)
    loss = then.median - now.median if figure.more_is_better else now.median - then.median
    is_worse = loss > max(noise * abs(then.median), figure.slack)
    return Comparison(what, then.median, now.median, noise, is_worse)


def comparisons(then: Results, now: Results) -> Iterator[Comparison]:
    """Compare whatever both have: loads by catalogue, load and figure, budgets by case."""
    for offers, before, after in _both(then, now, LOADS):
        if _server(before) != _server(after):
            continue
        loads = {load for one in before["rounds"] for load in one}
        for load in sorted(loads):
            for figure in FIGURES:
                old, new = (spread(part["rounds"], load, figure.look_up) for part in (before, after))
                if old is not None and new is not None:
                    yield compared(f"{int(offers):,} offers, {load}, {figure.name}", old, new, figure)
    used = Figure("share of the permitted rate", lambda _: None, more_is_better=True)
    for case, before, after in _both(then, now, BUDGETS):
        old, new = (Spread([min(part["found"]["shares"])]) for part in (before, after))
        yield compared(f"{case}, {used.name}", old, new, used)


def _both(then: Results, now: Results, section: str) -> Iterator[tuple[str, Any, Any]]:
    before, after = then.get(section, {}), now.get(section, {})
    return ((part, before[part], after[part]) for part in before if part in after)


def _server(part: dict[str, Any]) -> tuple[str, str]:
    """Return the major version of the PostgreSQL of a measurement, and its compressions."""
    postgres = part["about"]["postgres"]
    return postgres["server_version"].partition(".")[0], postgres["compressions"]


def servers(results: Results) -> str:
    """Return which PostgreSQL loads were measured on, in words."""
    found = {_server(part) for part in results.get(LOADS, {}).values()}
    return (
        " and ".join(f"PostgreSQL {version} with {compressions}" for version, compressions in sorted(found)) or "none"
    )


def main(arguments: Sequence[str]) -> int:
    """Print what was compared, what is worse first; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.check", description=__doc__)
    parser.add_argument("results", type=Path, help="what make bench wrote")
    parser.add_argument("--baseline", type=Path, default=BASELINE, help="what to compare with")
    options = parser.parse_args(arguments)
    then, now = read(options.baseline), read(options.results)
    found = list(comparisons(then, now))
    if not found:
        sys.stderr.write(
            f"{options.results} and {options.baseline} have no figure in common; measure the same catalogues and loads"
            f' on the same PostgreSQL (now {servers(now)}, then {servers(then)}): make bench ARGS="--postgres FOLDER"\n'
        )
        return 2
    if now.get(LOADS) and servers(then) != servers(now):
        sys.stdout.write(f"loads not compared: measured on {servers(now)}, the last release's on {servers(then)}\n")
    for one in sorted(found, key=lambda one: not one.is_worse):
        sys.stdout.write(one.text() + "\n")
    worse = sum(one.is_worse for one in found)
    sys.stdout.write(f"{len(found)} figures compared, {worse} worse than the last release's by more than the noise\n")
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
