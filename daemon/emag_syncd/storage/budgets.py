"""The marketplace's budgets of requests, one an account, shared by all processes that use this database."""

from emag_syncd.storage.connections import Connections
from emag_syncd.storage.queries import budgets as sql

FURTHEST = 60.0
MOST_PROCESSES = 10


def furthest(span: float, gap: float) -> float:
    """Return how many seconds ahead anybody reserves: low limits take processes that wait for each other far."""
    return max(FURTHEST, MOST_PROCESSES * (span + gap))


class AccountBudget:
    """One account's budget, in the eyes of one process."""

    def __init__(self, connections: Connections, account: str, holder: str) -> None:
        """Reserve for ``holder``."""
        self._connections = connections
        self._account = account
        self._holder = holder

    async def reserve(self, span: float, *, gap: float, delay: float) -> float:
        """Set the next free ``span`` seconds apart; return in how many seconds they begin. Raises DatabaseError.

        That is in ``delay`` seconds at the earliest, and ``gap`` seconds after what another process reserved.
        """
        async with self._connections.use() as conn:
            begins_in: float = await sql.reserve(
                conn,
                account=self._account,
                holder=self._holder,
                span=span,
                gap=gap,
                delay=delay,
                furthest=furthest(span, gap),
            )
        return max(0.0, begins_in)


class Budgets:
    """The budgets in ``emag_api_budgets``."""

    def __init__(self, connections: Connections, *, holder: str) -> None:
        """Reserve through ``connections`` for ``holder``: the name of one process, never used twice."""
        self._connections = connections
        self._holder = holder

    def of(self, account: str) -> AccountBudget:
        """Return the budget of one account."""
        return AccountBudget(self._connections, account, self._holder)
