"""Writes the table of faults in docs/faults.md from what the fault tests measured: ``make faults``."""

import json
import platform
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import median

from tests.support.recovery import Recovered

PAGE = Path(__file__).parents[2] / "docs" / "faults.md"
BEGIN, END = "<!-- measured: begin -->\n", "<!-- measured: end -->\n"


def read(lines: Iterable[str]) -> dict[tuple[str, str], list[Recovered]]:
    """Return what was measured, by fault and test."""
    found = defaultdict(list)
    for line in lines:
        values = json.loads(line)
        one = Recovered(values["fault"], tuple(values["promises"]), values["seconds"], values["test"])
        found[one.fault, one.test].append(one)
    return found


def table(found: Mapping[tuple[str, str], list[Recovered]]) -> str:
    """Return the table, a row a fault and test, in the order of their tests."""
    rows = ["| fault | promises | test | times | median, s | worst, s |", "|---|---|---|---|---|---|"]
    for (fault, test), measured in sorted(found.items(), key=lambda item: (item[0][1], item[0][0])):
        seconds = [one.seconds for one in measured]
        promises = ", ".join(str(number) for number in sorted({n for one in measured for n in one.promises}))
        file, _, name = test.rpartition("::")
        rows.append(
            f"| {fault} | {promises} | [`{name}`](../{file}) | {len(seconds)}"
            f" | {median(seconds):.2f} | {max(seconds):.2f} |"
        )
    return "\n".join(rows) + "\n"


def replaced(page: str, measured: str) -> str:
    """Return the page with its table exchanged. Raises ValueError where it has no place for one."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{PAGE.name} has no place for the table: it needs the lines {BEGIN!r} and {END!r}")
    return f"{before}{begin}{measured}{end}{after}"


def main(paths: list[str]) -> None:
    """Write the table of these files of JSON lines."""
    lines = [line for path in paths for line in Path(path).read_text().splitlines()]
    machine = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    measured = f"\nMeasured on {machine}, {len(lines)} recoveries:\n\n{table(read(lines))}\n"
    PAGE.write_text(replaced(PAGE.read_text(), measured))
    sys.stdout.write(f"{PAGE.name}: {len(lines)} recoveries\n")


if __name__ == "__main__":
    main(sys.argv[1:])
