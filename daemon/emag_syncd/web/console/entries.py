"""Changes of products, as a person reads them."""

from typing import Any

import msgspec
from asyncpg import Record

from emag_syncd.domain.offers import COLUMNS

RAW = "raw"
"""Under which a change lists the keys that changed inside the whole object alone."""


def changes_of(row: Record) -> dict[str, Any]:
    """Return what a change says. A row written by hand may hold anything, and says nothing then."""
    changes = msgspec.json.decode(row["changes"])
    return changes if isinstance(changes, dict) else {}


def entry(row: Record, **more: Any) -> dict[str, Any]:
    """Return a change: what each of its columns had and has, in their usual order, and what else changed."""
    changes = changes_of(row)
    both = {name: changes[name] for name in COLUMNS if _has_both(changes.get(name))}
    inside = changes.get(RAW)
    others = [name for name in changes if name not in both and name != RAW]
    others += [str(name) for name in inside] if isinstance(inside, list) else []
    return {**row, **more, "columns": both, "others": others}


def _has_both(change: Any) -> bool:
    return isinstance(change, dict) and {"old", "new"} <= change.keys()
