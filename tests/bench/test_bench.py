"""The benchmark measures, and its guard tells noise from loss."""

import copy
import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.bench import check, docs, results
from tests.bench.loads import KILLED
from tests.bench.machine import ROOT
from tests.bench.targets import targets


def part(
    *rates: float, wal: float = 10.0, shares: tuple[float, ...] = (0.98,), server: tuple[str, str] = ("15.14", "pglz")
) -> results.Results:
    """Return results whose rounds have these rates, the bare loop's being 100, on a ``server`` of such a version."""
    rounds = [
        {"unchanged": {"ours": {"rows_per_second": rate, "wal_bytes_per_offer": wal}, "bare": {"rows_per_second": 100}}}
        for rate in rates
    ]
    about = {"postgres": dict(zip(("server_version", "compressions"), server, strict=True))}
    return {
        "loads": {"1000": {"about": about, "rounds": rounds}},
        "budgets": {"slow": {"found": {"shares": list(shares)}}},
    }


def worse(then: results.Results, now: results.Results) -> list[str]:
    """Return what the guard calls worse."""
    return [one.what for one in check.comparisons(then, now) if one.is_worse]


RATE = "1,000 offers, unchanged, rows/s, of the bare loop's"
WAL = "1,000 offers, unchanged, WAL, bytes an offer"
SHARE = "slow, share of the permitted rate"


@pytest.mark.parametrize(
    ("then", "now", "what"),
    [
        (part(80, 81, 82), part(80, 81, 82), []),
        (part(80, 81, 82), part(74, 75, 76), []),
        (part(80, 81, 82), part(70, 71, 72), [RATE]),
        (part(80, 81, 82), part(90, 95, 99), []),
        (part(60, 81, 90), part(70, 71, 72), []),
        (part(80, 81, 82), part(60, 71, 80), []),
        (part(80), part(80, wal=29), []),
        (part(80), part(80, wal=31), [WAL]),
        (part(80), part(80, shares=(0.98, 0.8)), [SHARE]),
    ],
)
def test_tells_loss_from_noise(then: results.Results, now: results.Results, what: list[str]) -> None:
    """Worse is what moved to the worse side by more than the floor, the spread of the rounds and the slack."""
    assert worse(then, now) == what


def test_compares_only_what_both_have() -> None:
    """Another catalogue, another load or a figure that one lacks is not compared."""
    now = copy.deepcopy(part(1, wal=1000))
    now["loads"]["2000"] = now["loads"].pop("1000")
    del now["budgets"]
    assert not list(check.comparisons(part(80), now))


@pytest.mark.parametrize(
    ("server", "count"), [(("15.2 (Debian 15.2-1)", "pglz"), 3), (("15.14", "pglz, lz4"), 1), (("18.6", "pglz"), 1)]
)
def test_compares_loads_of_one_postgresql(server: tuple[str, str], count: int) -> None:
    """How fast both loops are depends on the server: only the share of the budget does not."""
    assert len(list(check.comparisons(part(80), part(80, server=server)))) == count


def test_says_why_loads_are_not_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It names both servers, and compares the rest."""
    then, now = tmp_path / "then.json", tmp_path / "now.json"
    results.write(then, part(80))
    results.write(now, part(10, server=("18.6", "pglz, lz4")))
    assert check.main([str(now), "--baseline", str(then)]) == 0
    said = capsys.readouterr().out
    assert "measured on PostgreSQL 18 with pglz, lz4, the last release's on PostgreSQL 15 with pglz\n" in said


@pytest.mark.parametrize(("rate", "code", "said"), [(80, 0, "0 worse"), (50, 1, f"WORSE {RATE}")])
def test_the_exit_code_says_whether_it_got_worse(
    rate: float, code: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """1 when something got worse, with its name in the first line; 0 when nothing did."""
    then, now = tmp_path / "then.json", tmp_path / "now.json"
    results.write(then, part(80))
    results.write(now, part(rate))
    assert check.main([str(now), "--baseline", str(then)]) == code
    assert said in capsys.readouterr().out


def test_nothing_to_compare_is_no_success(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that is not there, or has other catalogues, ends with 2 and says what to do."""
    assert check.main([str(tmp_path / "missing.json")]) == 2
    assert "make bench" in capsys.readouterr().err


def test_the_page_has_the_figures_of_the_last_release() -> None:
    """What stands in docs/benchmark.md is what tests/bench/baseline.json has, and names no path of a machine."""
    text = docs.PAGE.read_text("utf-8")
    assert docs.measured(results.read(check.BASELINE)) in text
    assert "/tmp" not in text
    assert "/home" not in text


@pytest.mark.parametrize(
    ("rate", "wal", "shares", "missed"),
    [
        (80, 10.0, (0.98, 0.97), set()),
        (79, 10.0, (0.98, 0.97), {"1,000 offers, unchanged: of the bare loop's rows/s"}),
        (80, 11.0, (0.98, 0.97), {"1,000 offers, unchanged: WAL for 100,000 offers"}),
        (80, 10.0, (0.98, 0.96), {"slow: of the permitted rate"}),
    ],
)
def test_figures_that_miss_their_targets_are_named(
    rate: float, wal: float, shares: tuple[float, ...], missed: set[str]
) -> None:
    """Each figure is held against what it should be, by the worst account where there are several."""
    found = part(rate, wal=wal, shares=shares)
    found["budgets"]["slow"]["found"]["refused"] = 0
    assert {one.name for one in targets(found) if not one.reached} == missed


def test_the_middle_of_rounds() -> None:
    """Each figure's median, of the rounds that have it; of names the latest."""
    rounds = [
        {"dlt": {"version": "1", "first": {"rate": 5}}},
        {"dlt": {"version": "1", "first": {"rate": 1}}},
        {"dlt": {"version": "2", "error": "not here"}},
        {"dlt": {"version": "2", "first": {"rate": 3}}, "ours": {"first": {"rate": 9}}},
    ]
    assert results.middle(rounds) == {
        "dlt": {"version": "2", "first": {"rate": 3}, "error": "not here"},
        "ours": {"first": {"rate": 9}},
    }


def bench(output: Path, *arguments: str) -> str:
    """Run the benchmark as ``make bench`` does; return what it printed."""
    command = [sys.executable, "-m", "tests.bench", "--output", str(output), *arguments]
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout


@pytest.mark.timeout(600)
def test_measures_loads_from_end_to_end(tmp_path: Path) -> None:
    """A tiny run has every figure of both sides, adds its rounds to those before, and agrees with itself."""
    output = tmp_path / "results.json"
    tiny = ("--only", "loads", "--offers", "300", "--rounds", "1", "--loads", "first", "changed_20_percent", KILLED)
    bench(output, *tiny)
    printed = bench(output, *tiny, "--add")
    found: dict[str, Any] = json.loads(output.read_text())["loads"]["300"]
    assert len(found["rounds"]) == 2
    first, changed = (found["rounds"][0][load]["ours"] for load in ("first", "changed_20_percent"))
    assert (first["created"], first["rows_written"], first["first_rows_seconds"] > 0) == (300, 300, True)
    assert changed["updated"] == changed["rows_written"] == 300 - changed["unchanged"]
    assert 40 <= changed["updated"] <= 60
    for side in found["rounds"][0]["first"].values():
        assert all(side[name] > 0 for name in ("seconds", "rows_per_second", "cpu_ms_per_1000", "peak_mb"))
        assert side["wal_bytes_per_offer"] > side["table_bytes_per_offer"] / 10 > 0
    assert found["about"]["command"] == shlex.join(["python", "-m", "tests.bench", *tiny, "--add"])
    assert "### 300 offers" in printed
    assert "| first load |" in printed
    assert not worse(results.read(output), results.read(output))
