"""The SQL of this package: named queries in ``sql/*.sql``, a namespace a file.

Where a query has ``/* NAME */``, what ``sql/parts/NAME.sql`` holds stands in its place: what several queries share; or
a word that is given here, where the same queries are wanted in several ways.
"""

import re
from importlib.resources import files
from typing import Any

import aiosql

_FOLDER = files("emag_syncd.storage") / "sql"


def _load(*texts: str) -> Any:
    # A query is an attribute that aiosql makes at run time.
    return aiosql.from_str("\n".join(texts), "asyncpg", mandatory_parameters=False)


def _text(name: str, **words: str) -> str:
    def whole(text: str) -> str:
        return re.sub(r"/\* (\w+) \*/", lambda found: part(found[1]), text)

    def part(name: str) -> str:
        if name in words:
            return words[name]
        return whole((_FOLDER / "parts" / f"{name}.sql").read_text(encoding="utf-8").rstrip())

    return whole((_FOLDER / f"{name}.sql").read_text(encoding="utf-8"))


ledger = _load(_text("ledger"))
scans = _load(_text("scans"))
mirror = _load(_text("mirror"))
calls = _load(_text("calls"))
budgets = _load(_text("budgets"))
outbox = _load(_text("outbox"))
history = _load(_text("history"))
retention = _load(_text("retention"))
catalogue = _load(
    _text("catalogue"),
    _text("pages", way="", beyond=">", direction=""),
    _text("pages", way="_descending", beyond="<", direction=" DESC"),
)
