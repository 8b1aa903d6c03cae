"""Changes of products, as a person reads them."""

from typing import Any

import msgspec
from asyncpg import Record

from emag_syncd.domain.offers import COLUMNS

RAW = "raw"
"""Under which a change lists the keys that changed inside the whole object alone."""


def entry(row: Record, **more: Any) -> dict[str, Any]:
    """Return a change: what each of its columns had and has, in their usual order, and what else changed."""
    changes = msgspec.json.decode(row["changes"])
    changes = changes if isinstance(changes, dict) else {}
    both = {name: changes[name] for name in COLUMNS if _has_both(changes.get(name))}
    inside = changes.get(RAW)
    others = [name for name in changes if name not in both and name != RAW]
    others += [str(name) for name in inside] if isinstance(inside, list) else []
    return {**row, **more, "columns": both, "others": others}


def _has_both(change: Any) -> bool:
    return isinstance(change, dict) and {"old", "new"} <= change.keys()
