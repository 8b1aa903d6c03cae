"""The change log, applied in order to an empty table: what it makes must be the mirror."""

from dataclasses import dataclass, field
from typing import Any

from emag_syncd.domain.offers import COLUMNS
from tests.support.offers import Connection
from tests.sync.reference import Rows, loads

LOGGED = """
SELECT id, emag_id, kind, changes::text FROM emag_product_changes WHERE account_type = $1 ORDER BY id
"""


@dataclass
class Replay:
    """The table of one account's offers; ``odd`` says which changes do not follow from those before them."""

    live: Rows = field(default_factory=dict)
    gone: Rows = field(default_factory=dict)
    odd: list[str] = field(default_factory=list)

    def apply(self, number: int, emag_id: int, kind: str, changes: dict[str, Any]) -> None:
        """Apply one change."""
        source = {"created": None, "restored": self.gone}.get(kind, self.live)
        if (emag_id not in source) if source is not None else (emag_id in self.live or emag_id in self.gone):
            self.odd.append(f"change {number}: offer {emag_id} can't be {kind} here")
        row = (source.pop(emag_id, None) if source is not None else None) or dict.fromkeys(COLUMNS)
        (self.gone if kind == "removed" else self.live)[emag_id] = row
        for column, change in changes.items():
            if column == "raw":
                continue
            if row[column] != change["old"]:
                self.odd.append(
                    f"change {number}: {column} of offer {emag_id} was {row[column]!r}, and not {change['old']!r}"
                )
            row[column] = change["new"]


async def replayed(sql: Connection, account: str = "main") -> Replay:
    """Return what the change log says that the mirror of an account holds."""
    replay = Replay()
    for row in await sql.fetch(LOGGED, account):
        replay.apply(row["id"], row["emag_id"], row["kind"], loads(row["changes"]))
    return replay
