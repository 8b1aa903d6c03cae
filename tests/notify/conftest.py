"""What the tests of webhooks share."""

from collections.abc import AsyncIterator

import pytest

from emag_syncd.storage.database import Database
from emag_syncd.storage.ledger import Ledger
from tests.support.receiver import Receiver, receiving


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Give a receiver that takes everything."""
    async with receiving() as receiver:
        yield receiver


@pytest.fixture
def ledger(database: Database) -> Ledger:
    """Give a ledger."""
    return Ledger(database, worker_id="w", lease_seconds=60)
