"""Deliverers on a real database, with waits of a test's size."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from emag_syncd.config import Webhooks
from emag_syncd.notify.webhooks import Deliverer, Patience
from emag_syncd.storage.database import Database
from emag_syncd.storage.outbox import Outbox
from emag_syncd.telemetry.metrics import Metrics
from tests.support.offers import Connection, by_hand
from tests.support.receiver import SECRET
from tests.support.waiting import until

PATIENCE = Patience(attempt=5.0, first_wait=0.01, longest_wait=0.05)
TURN_SECONDS = 0.02


def wanting(*urls: str, **more: Any) -> Webhooks:
    """Return the settings of receivers on this machine."""
    return Webhooks(**{"urls": urls, "secret": SECRET, "allow_private": True, **more})


@asynccontextmanager
async def delivering(
    database: Database,
    settings: Webhooks,
    *,
    patience: Patience = PATIENCE,
    claim_seconds: float = 45.0,
    turning: bool = True,
) -> AsyncIterator[Deliverer]:
    """Give a deliverer that turns all the time, or only when it is told to."""
    deliverer = Deliverer(Outbox(database, claim_seconds=claim_seconds), Metrics(["main"], "1"), settings, patience)
    await deliverer.register()

    async def turn() -> None:
        while turning:
            await deliverer.turn()
            await asyncio.sleep(TURN_SECONDS)

    turns = asyncio.create_task(turn())
    try:
        yield deliverer
    finally:
        turns.cancel()
        await asyncio.gather(turns, return_exceptions=True)
        await deliverer.close()


async def end_runs(sql: Connection, count: int, account: str = "main", status: str = "completed") -> list[str]:
    """Begin and end runs by hand, and return their ids in order."""
    ids = []
    for _ in range(count):
        run_id = await by_hand(sql, account)
        await sql.execute("UPDATE emag_sync_logs SET status = $2 WHERE id = $1", run_id, status)
        ids.append(str(run_id))
    return ids


async def empty(sql: Connection, where: str = "dead_at IS NULL", within: float = 30.0) -> None:
    """Wait until nothing like that is in the outbox."""
    await until(lambda: sql.fetchval(f"SELECT count(*) = 0 FROM emag_webhook_outbox WHERE {where}"), within=within)


def sample(deliverer: Deliverer, name: str, **labels: str) -> float | None:
    """Return the value of a metric."""
    return deliverer._metrics.registry.get_sample_value(name, labels)


def every(times: int, answer: Any, otherwise: Any = 200) -> Callable[[Any], Any]:
    """Return a reply that is ``answer`` so many times, and then ``otherwise``."""
    left = [times]

    def reply(_: Any) -> Any:
        left[0] -= 1
        return answer if left[0] >= 0 else otherwise

    return reply
