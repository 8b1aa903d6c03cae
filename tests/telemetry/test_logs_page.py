"""docs/logs.md says what the code writes to the log, and nothing else."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from emag_syncd.domain.runs import Counters
from emag_syncd.telemetry.series import SchedulerOutcome
from tests.support.rules import ROOT

PAGE = ROOT / "docs" / "logs.md"
CODE = ROOT / "daemon" / "emag_syncd"
LEVELS = {"exception": "error"}
CHOSEN = {"level": ("info", "warning")}
"""Where a method was chosen beforehand: the levels that it may be."""

BOUND = {"action", "account", "run_id"}
"""What the page lists for every line."""

COUNTERS = "the counters"
SPREAD = {
    "asdict(counters)": {COUNTERS},
    "{name: row[name] for name in Counters.__slots__}": {COUNTERS},
    "about": {"receiver", "type", "message", "attempts", "error"},
    "{name: row[name] for name in ('operation', 'status', 'triggered_by')}": {"operation", "status", "triggered_by"},
}
"""The fields of what is passed as ``**…``; what is not here is to be written out, here and on the page."""


@dataclass
class Said:
    """What lines with one action have, wherever they are written."""

    levels: set[str] = field(default_factory=set)
    fields: set[str] = field(default_factory=set)


def calls() -> Iterator[ast.Call]:
    """Yield the calls that write a line of our own."""
    for path in sorted(CODE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and node.args and _is_log(node.func):
                yield node


def _is_log(function: ast.expr) -> bool:
    if isinstance(function, ast.Name):
        return function.id in CHOSEN
    return isinstance(function, ast.Attribute) and bool(
        re.fullmatch(r"_?log|logger|structlog\..*get_logger\(.*\)", ast.unparse(function.value))
    )


def said() -> dict[str, Said]:
    """Return what the code writes, by action."""
    found: dict[str, Said] = {}
    for call in calls():
        given = {word.arg: word.value for word in call.keywords if word.arg}
        assert "action" in given, f"{ast.unparse(call)} has no action"
        name = call.func.attr if isinstance(call.func, ast.Attribute) else ast.unparse(call.func)
        fields = {"exception" if word == "exc_info" else word for word in given} - BOUND
        fields |= {"exception"} if name == "exception" else set()
        for word in call.keywords:
            fields |= set() if word.arg else SPREAD[ast.unparse(word.value)]
        for action in _actions(given["action"]):
            entry = found.setdefault(action, Said())
            entry.levels |= set(CHOSEN.get(name, (LEVELS.get(name, name),)))
            entry.fields |= fields
    return found


def _actions(value: ast.expr) -> list[str]:
    if ast.unparse(value) == "f'slot_{outcome}'":
        return [f"slot_{outcome}" for outcome in SchedulerOutcome]
    action = ast.literal_eval(value)
    assert re.fullmatch(r"[a-z_]+", action)
    return [action]


def listed() -> dict[str, Said]:
    """Return what the page says, by action."""
    _, _, page = PAGE.read_text().partition("## Actions")
    rows = [row.split("|")[1:-1] for row in re.findall(r"^\| `.*$", page, re.MULTILINE)]
    return {
        action.strip(" `"): Said(
            {level.strip() for level in levels.split(",")},
            {one.strip(" `") for one in fields.split(",") if one.strip()},
        )
        for action, levels, fields, _ in rows
    }


def test_the_page_has_every_action() -> None:
    """Each action of the code is on the page with its levels and fields; add a row where this fails."""
    written, page = said(), listed()
    assert len(written) > 30
    assert sorted(page) == sorted(written)
    assert {action: page[action] for action in written} == written


def test_the_page_has_every_counter() -> None:
    """What the page calls the counters are those of a run."""
    _, _, named = PAGE.read_text().partition("The counters are ")
    assert re.findall(r"`(\w+)`", named) == list(Counters.__slots__)


def test_the_page_is_in_order() -> None:
    """Actions are found by the alphabet."""
    assert list(listed()) == sorted(listed())


def test_no_line_is_written_around_the_log() -> None:
    """Nothing in the package prints, but what commands say."""
    printing = [
        path.relative_to(CODE)
        for path in sorted(CODE.rglob("*.py"))
        if re.search(r"(?<!\w)print\(", path.read_text()) and path.parent != Path(CODE, "cli")
    ]
    assert [str(path) for path in printing if path.parts[0] != "sandbox"] == []
