"""The log of the marketplace's calls, written in batches so that no call waits for it."""

import time
from collections import deque
from dataclasses import replace
from math import ceil
from uuid import UUID

from emag_syncd.domain.calls import ApiCall
from emag_syncd.storage.codecs import jsonb
from emag_syncd.storage.connections import Connections
from emag_syncd.storage.queries import calls as sql

CAPACITY = 5_000
"""How many calls wait at most while PostgreSQL is away; beyond that the oldest go."""

MOST_BODIES = 4 * 2**20
"""Characters of failed answers that wait at most; beyond that calls wait without their answers."""

BATCH = 200


class CallLog:
    """Calls waiting to be written to ``emag_api_calls``."""

    def __init__(self, connections: Connections) -> None:
        """Write through ``connections``."""
        self._connections = connections
        self._waiting: deque[tuple[ApiCall, UUID | None]] = deque()
        self._bodies = 0
        self.dropped = 0

    def add(self, call: ApiCall, run_id: UUID | None) -> None:
        """Remember ``call`` for the next flush."""
        if self._bodies + _length(call) > MOST_BODIES:
            call = replace(call, body=None)
        self._bodies += _length(call)
        self._waiting.append((call, run_id))
        self._keep_bounds()

    async def flush(self) -> None:
        """Write what waits now. Raises DatabaseError, and keeps what was not written."""
        # Not what comes meanwhile: with a thousand accounts that never ends.
        for _ in range(ceil(len(self._waiting) / BATCH)):
            batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
            try:
                await self._write(batch)
            except BaseException:
                self._waiting.extendleft(reversed(batch))
                self._keep_bounds()
                raise
            self._bodies -= sum(_length(call) for call, _ in batch)

    def _keep_bounds(self) -> None:
        while len(self._waiting) > CAPACITY:
            self._bodies -= _length(self._waiting.popleft()[0])
            self.dropped += 1

    async def _write(self, batch: list[tuple[ApiCall, UUID | None]]) -> None:
        now = time.monotonic()
        calls = [call for call, _ in batch]
        async with self._connections.use() as conn:
            await sql.log_calls(
                conn,
                ages=[now - call.started for call in calls],
                runs=[run_id for _, run_id in batch],
                durations=[call.duration * 1000 for call in calls],
                sizes=[call.response_bytes for call in calls],
                statuses=[call.status_code for call in calls],
                errors=[call.is_error for call in calls],
                accounts=[call.account for call in calls],
                resources=[call.resource for call in calls],
                outcomes=[call.outcome for call in calls],
                params=[jsonb(call.params) for call in calls],
                messages=[jsonb([_storable(text) for text in call.messages]) for call in calls],
                bodies=[call.body and _storable(call.body) for call in calls],
            )


def _length(call: ApiCall) -> int:
    return len(call.body or "")


def _storable(text: str) -> str:
    """Return ``text`` as PostgreSQL takes it: it can't hold a NUL."""
    return text.replace("\x00", "\ufffd")
