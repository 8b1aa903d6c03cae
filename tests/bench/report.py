"""The figures of a benchmark as tables in Markdown."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tests.bench.loads import KILLED, LOADS
from tests.bench.results import BUDGETS, PEERS, Results, of, ratio, spread
from tests.bench.results import LOADS as LOADS_SECTION

NAMES = {
    "first": "first load",
    "unchanged": "unchanged",
    "changed_1_percent": "1 % changed",
    "changed_20_percent": "20 % changed",
}

Row = Sequence[str]


def markdown(results: Results) -> str:
    """Return all tables, with what they were measured on."""
    parts = [_loads(offers, part) for offers, part in _by_size(results.get(LOADS_SECTION, {}))]
    if budgets := results.get(BUDGETS):
        parts.append(_budgets(budgets))
    if peers := results.get(PEERS):
        parts.extend(_peers(offers, part) for offers, part in _by_size(peers))
    return "\n".join(parts)


def table(head: Row, rows: Iterable[Row]) -> str:
    """Return a table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _by_size(parts: dict[str, Any]) -> list[tuple[int, dict[str, Any]]]:
    return sorted((int(offers), part) for offers, part in parts.items())


def _about(part: dict[str, Any]) -> str:
    about = part["about"]
    postgres = about["postgres"]
    return (
        f"`{about['command']}`, commit {about['commit'] or 'unknown'}, {about['measured_at'][:10]}. {about['cpu']},"
        f" {about['cores']} cores, {about['memory_gb']} GB, {about['system']}; Python {about['python']}, PostgreSQL"
        f" {postgres['server_version'].partition(' ')[0]} (shared_buffers {postgres['shared_buffers']},"
        f" fsync {postgres['fsync']}, compression by {postgres['compressions']}).\n"
    )


def _loads(offers: int, part: dict[str, Any]) -> str:
    rounds = part["rounds"]
    alone = part["marketplace"]
    many = f"{len(rounds)} rounds: median (range)" if len(rounds) > 1 else "1 round"
    return (
        f"### {offers:,} offers\n\n{_about(part)}{many}. The marketplace alone serves"
        f" {alone['rows_per_second']:,.0f} rows/s and takes {alone['cpu_ms_per_1000']:.0f} ms of CPU for 1,000;"
        f" an offer has {alone['bytes_per_offer']:,.0f} bytes.\n\n"
        f"{_rates(rounds)}\n{_costs(rounds)}\n{_manners(rounds)}{_killed(rounds)}"
    )


def _cell(rounds: Any, load: str, figure: Callable[[dict[str, Any]], float | None], digits: int = 0) -> str:
    found = spread(rounds, load, figure)
    return "" if found is None else found.text(digits)


def _seen(rounds: Any) -> list[str]:
    return [load for load in LOADS if any(load in one for one in rounds)]


def _rates(rounds: Any) -> str:
    head = ["load", "rows/s", "bare loop", "its rows/s", "ratio", "peak MB", "bare, MB"]
    return table(
        head,
        (
            [
                NAMES[load],
                _cell(rounds, load, of("ours", "rows_per_second")),
                LOADS[load][0],
                _cell(rounds, load, of("bare", "rows_per_second")),
                _cell(rounds, load, ratio("rows_per_second"), 2),
                _cell(rounds, load, of("ours", "peak_mb")),
                _cell(rounds, load, of("bare", "peak_mb")),
            ]
            for load in _seen(rounds)
        ),
    )


def _costs(rounds: Any) -> str:
    figures = {
        "CPU, ms per 1,000": "cpu_ms_per_1000",
        "PostgreSQL's, ms per 1,000": "pg_cpu_ms_per_1000",
        "WAL, bytes an offer": "wal_bytes_per_offer",
        "tables, bytes an offer": "table_bytes_per_offer",
    }
    head = ["load", *(f"{name}: ours / bare" for name in figures)]
    return table(
        head,
        (
            [
                NAMES[load],
                *(
                    f"{_cell(rounds, load, of('ours', name))} / {_cell(rounds, load, of('bare', name))}"
                    for name in figures.values()
                ),
            ]
            for load in _seen(rounds)
        ),
    )


def _manners(rounds: Any) -> str:
    figures = {
        "lag p50, ms": ("lag_p50_ms", 1),
        "lag p99, ms": ("lag_p99_ms", 1),
        "`/livez` p99, ms": ("livez_p99_ms", 1),
        "rows of emag_products written": ("rows_written", 0),
        "first rows after, s": ("first_rows_seconds", 2),
    }
    return table(
        ["load", *figures],
        (
            [NAMES[load], *(_cell(rounds, load, of("ours", name), digits) for name, digits in figures.values())]
            for load in _seen(rounds)
        ),
    )


def _killed(rounds: Any) -> str:
    if not any(KILLED in one for one in rounds):
        return ""

    def cell(name: str, digits: int = 0) -> str:
        return _cell(rounds, KILLED, of("ours", name), digits)

    return (
        f"\nAfter `kill -9` at half of a first load: {cell('offers_left')} offers were left, read in"
        f" {cell('seconds', 1)} s; {cell('pages_read_again')} of {cell('pages')} pages were read twice,"
        f" of {cell('most_unwritten')} that may be in flight or unwritten.\n"
    )


def _budgets(parts: dict[str, Any]) -> str:
    rows = [
        [
            name,
            f"{found['accounts']} times {found['offers']:,}",
            f"{found['latency'][0]:g} to {found['latency'][1]:g}",
            str(found["page_size"]),
            str(found["max_concurrent_requests"]),
            ", ".join(f"{share:.1%}" for share in found["shares"]),
            str(found["refused"]),
            f"{found['seconds']:.1f}",
        ]
        for name, found in ((name, part["found"]) for name, part in parts.items())
    ]
    head = [
        "case",
        "offers",
        "seconds a page",
        "page size",
        "in flight at most",
        "share of the rate",
        "429s",
        "seconds",
    ]
    first = next(iter(parts.values()))
    return f"### The marketplace's budget\n\n{_about(first)}\n{table(head, rows)}"


def _peers(offers: int, part: dict[str, Any]) -> str:
    rows = [
        [
            name,
            found.get("version", ""),
            *(
                [f"not run: {found['error']}", "", "", ""]
                if "error" in found
                else [
                    f"{found['first']['rows_per_second']:,.0f}",
                    f"{found['unchanged']['rows_per_second']:,.0f}",
                    f"{found['first']['peak_mb']:.0f}",
                    f"{found['unchanged']['wal_bytes'] / 2**20 * 20_000 / offers:.1f}",
                ]
            ),
        ]
        for name, found in part["found"].items()
    ]
    head = [
        "tool",
        "version",
        "first load, rows/s",
        "same again, rows/s",
        "peak MB",
        "WAL of the second, MB per 20,000",
    ]
    title = f"### Beside other tools: {offers:,} offers"
    return f"{title}\n\n{_about(part)}Medians of {part['rounds']} rounds.\n\n{table(head, rows)}"
