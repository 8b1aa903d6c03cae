"""Writes the figures of docs/benchmark.md from the results of the last release: ``make bench-docs``."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.bench.check import BASELINE
from tests.bench.machine import ROOT
from tests.bench.report import NAMES, markdown, table
from tests.bench.results import LOADS, PEERS, Results, of, read, spread
from tests.bench.targets import targets
from tests.faults.__main__ import replaced

PAGE = ROOT / "docs" / "benchmark.md"


def measured(results: Results) -> str:
    """Return the part of the page that is measured."""
    rows = [[one.name, one.wanted, one.measured, "yes" if one.reached else "**no**"] for one in targets(results)]
    judged = table(["figure", "to reach", "measured", "reached"], rows)
    charts = "\n".join(_charts(results))
    return f"\n## What is reached\n\n{judged}\n## Charts\n\n{charts}\n## All figures\n\n{markdown(results)}\n"


def _charts(results: Results) -> Iterator[str]:
    for size, part in sorted(results.get(LOADS, {}).items(), key=lambda item: int(item[0])):
        sides: dict[str, list[float]] = {"ours": [], "bare": []}
        names = []
        for load, name in NAMES.items():
            both = {side: spread(part["rounds"], load, of(side, "rows_per_second")) for side in sides}
            if all(both.values()):
                names.append(name)
                for side, found in both.items():
                    sides[side].append(found.median if found is not None else 0.0)
        if names:
            title = f"rows/s of {int(size):,} offers: ours as bars, the bare loop as a line"
            yield _chart(title, names, *sides.values())
    for size, part in results.get(PEERS, {}).items():
        tools = {name: found for name, found in part["found"].items() if "error" not in found}
        for load in ("first", "unchanged"):
            rates = [found[load]["rows_per_second"] for found in tools.values()]
            yield _chart(f"rows/s of {int(size):,} offers, {NAMES[load]}, by tool", list(tools), rates)


def _chart(title: str, names: list[str], bars: list[float], line: list[float] | None = None) -> str:
    def numbers(values: list[float]) -> str:
        return ", ".join(f"{value:.0f}" for value in values)

    series: list[Any] = [f"  bar [{numbers(bars)}]", *([f"  line [{numbers(line)}]"] if line is not None else [])]
    axis = ", ".join(f'"{name}"' for name in names)
    head = ["```mermaid", "xychart-beta", f'  title "{title}"', f"  x-axis [{axis}]", '  y-axis "rows/s"']
    return "\n".join([*head, *series, "```", ""])


def main(page: Path = PAGE, baseline: Path = BASELINE) -> None:
    """Write the page."""
    page.write_text(replaced(page.read_text("utf-8"), measured(read(baseline))), "utf-8")
    sys.stdout.write(f"{page.name} has the figures of {baseline.name}\n")


if __name__ == "__main__":
    main()
