"""The SQL of this package: named queries in ``sql/*.sql``, a namespace a file.

Where a query has ``/* NAME */``, what ``sql/parts/NAME.sql`` holds stands in its place: what several queries share.
"""

import re
from importlib.resources import files
from typing import Any

import aiosql

_FOLDER = files("emag_syncd.storage") / "sql"


def _load(name: str) -> Any:
    # A query is an attribute that aiosql makes at run time.
    text = (_FOLDER / f"{name}.sql").read_text(encoding="utf-8")
    whole = re.sub(r"/\* (\w+) \*/", lambda found: _part(found[1]), text)
    return aiosql.from_str(whole, "asyncpg", mandatory_parameters=False)


def _part(name: str) -> str:
    return (_FOLDER / "parts" / f"{name}.sql").read_text(encoding="utf-8").rstrip()


ledger = _load("ledger")
scans = _load("scans")
mirror = _load("mirror")
calls = _load("calls")
budgets = _load("budgets")
outbox = _load("outbox")
history = _load("history")
retention = _load("retention")
catalogue = _load("catalogue")
