"""The figures to reach, and whether results reach them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tests.bench.measuring import Figures
from tests.bench.results import BUDGETS, LOADS, PEERS, Results, Spread, of, ratio, spread

OURS = ("ours", "bare loops")
"""What stands among the tools and is none of the others."""


@dataclass(frozen=True, slots=True)
class Target:
    """A figure, what it should be, what it is, and whether that will do."""

    name: str
    wanted: str
    measured: str
    reached: bool


def targets(results: Results) -> Iterator[Target]:
    """Judge what the results have, by medians. What was not measured is not judged."""
    yield from _of_loads(results.get(LOADS, {}))
    yield from _of_peers(results.get(PEERS, {}))
    yield from _of_budgets(results.get(BUDGETS, {}))


def _of_loads(parts: dict[str, Any]) -> Iterator[Target]:
    sizes = sorted(parts, key=int)
    for size in sizes:
        yield from _of_size(f"{int(size):,} offers", parts[size]["rounds"])
    peaks = [peak.median for size in sizes if (peak := spread(parts[size]["rounds"], "first", of("ours", "peak_mb")))]
    if len(peaks) > 1:
        grown = max(peaks) - min(peaks)
        name = f"peak memory of a first load, {int(sizes[0]):,} to {int(sizes[-1]):,} offers"
        yield Target(name, "the same within 15 MB", f"{grown:.0f} MB apart", grown <= 15)
        yield Target(name, "below 100 MB", f"{max(peaks):.0f} MB", max(peaks) < 100)


def _of_size(size: str, rounds: Sequence[dict[str, dict[str, Figures]]]) -> Iterator[Target]:
    def look(load: str, figure: Callable[[dict[str, Figures]], float | None]) -> Spread | None:
        return spread(rounds, load, figure)

    for load in ("first", "unchanged"):
        if (found := look(load, ratio("rows_per_second"))) is not None:
            yield Target(
                f"{size}, {load}: of the bare loop's rows/s", "at least 0.8", found.text(2), found.median >= 0.8
            )
        if (lag := look(load, of("ours", "lag_p99_ms"))) is not None:
            yield Target(f"{size}, {load}: event loop lag p99", "below 25 ms", f"{lag.text(1)} ms", lag.median < 25)
        if (livez := look(load, of("ours", "livez_p99_ms"))) is not None:
            yield Target(f"{size}, {load}: `/livez` p99", "below 20 ms", f"{livez.text(1)} ms", livez.median < 20)
    if (rows := look("unchanged", of("ours", "rows_written"))) is not None:
        written = max(rows.values)
        yield Target(f"{size}, unchanged: rows of emag_products written", "0", f"{written:.0f}", written == 0)
    if (wal := look("unchanged", of("ours", "wal_bytes_per_offer"))) is not None:
        megabytes = wal.median * 100_000 / 2**20
        yield Target(f"{size}, unchanged: WAL for 100,000 offers", "below 1 MB", f"{megabytes:.2f} MB", megabytes < 1)
    if (seen := look("first", of("ours", "first_rows_seconds"))) is not None:
        yield Target(f"{size}: the first rows are visible after", "2 s at most", f"{seen.text(2)} s", seen.median <= 2)
    again, most = (look("after_kill", of("ours", name)) for name in ("pages_read_again", "most_unwritten"))
    if again is not None and most is not None:
        worst = max(again.values)
        wanted = f"{most.median:.0f} pages at most, one a request in flight"
        yield Target(f"{size}: read again after `kill -9`", wanted, f"{worst:.0f} pages", worst <= most.median)


def _of_peers(parts: dict[str, Any]) -> Iterator[Target]:
    for size, part in parts.items():
        others = {name: found for name, found in part["found"].items() if name not in OURS and "error" not in found}
        for load, times in (("first", 3), ("unchanged", 10)) if others else ():
            rates = {name: found[load]["rows_per_second"] for name, found in others.items()}
            fastest = max(rates, key=lambda name: rates[name])
            ahead = part["found"]["ours"][load]["rows_per_second"] / rates[fastest]
            what = f"{int(size):,} offers, {load}: of the fastest other tool's rows/s"
            yield Target(what, f"{times} times", f"{ahead:.1f} times ({fastest})", ahead >= times)


def _of_budgets(parts: dict[str, Any]) -> Iterator[Target]:
    for name, part in parts.items():
        found = part["found"]
        share = min(found["shares"])
        yield Target(f"{name}: of the permitted rate", "at least 97 %", f"{share:.1%}", share >= 0.97)
        yield Target(f"{name}: answers of 429", "0", str(found["refused"]), found["refused"] == 0)
        if name.startswith("the replaced system"):
            yield Target(f"{name}: duration", "below 20 s", f"{found['seconds']:.1f} s", found["seconds"] < 20)
