"""What went wrong in a run, as its row has it. A row written by hand may hold anything."""

from dataclasses import dataclass
from typing import Any

import msgspec
from asyncpg import Record

from emag_syncd.web.views import run_errors


@dataclass(frozen=True, slots=True)
class Trouble:
    """One error or warning: what it says, and of which kind it is, if it says so."""

    text: str
    kind: str = ""


def errors_of(run: Record) -> list[Trouble]:
    """Return the errors of a run."""
    return [_trouble(entry, "error") for entry in run_errors(run)]


def warnings_of(run: Record) -> list[Trouble]:
    """Return the warnings of a run."""
    entries = msgspec.json.decode(run["warnings"])
    return [_trouble(entry, "warning") for entry in (entries if isinstance(entries, list) else [entries])]


def _trouble(entry: Any, member: str) -> Trouble:
    if not isinstance(entry, dict):
        return Trouble(str(entry))
    text = entry.get(member) or msgspec.json.encode(entry).decode()
    return Trouble(str(text), str(entry.get("kind") or ""))
