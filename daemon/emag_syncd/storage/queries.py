"""The SQL of this package: named queries in ``sql/*.sql``, a namespace a file."""

from importlib.resources import as_file, files
from typing import Any

import aiosql


def _load(name: str) -> Any:
    # A query is an attribute that aiosql makes at run time.
    with as_file(files("emag_syncd.storage") / "sql" / f"{name}.sql") as path:
        return aiosql.from_path(path, "asyncpg", mandatory_parameters=False)


ledger = _load("ledger")
scans = _load("scans")
mirror = _load("mirror")
calls = _load("calls")
budgets = _load("budgets")
outbox = _load("outbox")
retention = _load("retention")
