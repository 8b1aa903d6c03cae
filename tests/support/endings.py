"""How the runs of daemons in processes of their own ended, by the ledger."""

from typing import Any

from tests.support.offers import Connection
from tests.support.waiting import until


async def last_run(sql: Connection, name: str) -> Any:
    """Return how the account's last run that ended did so."""
    return await sql.fetchrow(
        "SELECT status, errors -> -1 ->> 'kind' AS kind, errors -> -1 ->> 'error' AS error FROM emag_sync_logs"
        " WHERE account_type = $1 AND status <> 'running' ORDER BY started_at DESC LIMIT 1",
        name,
    )


async def ends_as(sql: Connection, name: str, status: str) -> Any:
    """Return the account's last run once it is one that ended like this."""

    async def look() -> Any:
        run = await last_run(sql, name)
        return run if run and run["status"] == status else None

    return await until(look, within=90)
