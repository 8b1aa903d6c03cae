"""Tries to start the runs of slots: finds out whether a run is wanted now, later or not at all."""

import asyncio
import random
from collections import defaultdict
from datetime import datetime

from emag_syncd.domain.errors import BusyError, ConfigurationError, DatabaseError, ShuttingDownError, SlotTakenError
from emag_syncd.domain.runs import RunRequest
from emag_syncd.supervision.prospects import Prospects
from emag_syncd.supervision.room import Room
from emag_syncd.supervision.supervisor import Supervisor
from emag_syncd.telemetry.series import SchedulerOutcome

AT_ONCE = 4
"""How many slots are looked into at a time. Where a thousand come at once, the others wait here as long as it takes,
and not for a connection: that is given up after a while."""

WAITS = {SchedulerOutcome.BUSY: 5.0, SchedulerOutcome.FAILED: 15.0, SchedulerOutcome.PAUSED: 60.0}
"""What keeps a slot waiting for its run, and after how many seconds at most it is tried again."""

_chance = random.SystemRandom()


class Attempts:
    """The tries to start runs, of all accounts."""

    def __init__(self, supervisor: Supervisor, prospects: Prospects, room: Room) -> None:
        """Start runs with ``supervisor`` where ``prospects`` allows it and there is ``room``."""
        self._supervisor = supervisor
        self._prospects = prospects
        self._room = room
        self._places = asyncio.Semaphore(AT_ONCE)
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def now(self) -> datetime:
        """Return the time, by the clock of the database. Raises DatabaseError."""
        async with self._places:
            return await self._prospects.now()

    async def continues_in(self, account: str) -> float | None:
        """Return in how many seconds a full scan is to be taken up; None when there is none. Raises DatabaseError."""
        async with self._places:
            return await self._prospects.continues_in(account)

    async def make(self, request: RunRequest) -> tuple[SchedulerOutcome, str]:
        """Start the run unless it is not wanted, or not yet; return what came of it, and why."""
        # One at a time, and none while a run is under way: how that ends may be why there should be no other.
        async with self._turns[request.account], self._places:
            return await self._make_alone(request)

    async def _make_alone(self, request: RunRequest) -> tuple[SchedulerOutcome, str]:
        account, slot = request.account, request.scheduled_for
        under_way = (handle.lease for handle in self._supervisor.handles() if handle.lease.account == account)
        if lease := next(under_way, None):
            return SchedulerOutcome.BUSY, str(BusyError(account, lease.run_id))
        try:
            if slot is not None and await self._prospects.covered(
                account, request.operation, slot, other_than=request.run_id
            ):
                return SchedulerOutcome.TAKEN, "a run covers the slot"
            if await self._prospects.paused(account):
                return SchedulerOutcome.PAUSED, "the marketplace refused the account lately"
            await self._room.comes()
            await self._supervisor.start(request)
        except BusyError as error:
            return SchedulerOutcome.BUSY, str(error)
        except SlotTakenError as error:
            return SchedulerOutcome.TAKEN, str(error)
        except (ShuttingDownError, ConfigurationError) as error:
            return SchedulerOutcome.MISSED, str(error)
        except DatabaseError as error:
            return SchedulerOutcome.FAILED, str(error)
        return SchedulerOutcome.STARTED, ""

    async def wait(self, account: str, outcome: SchedulerOutcome) -> None:
        """Return when it is time to try again: at once where nothing stood in the way."""
        longest = WAITS.get(outcome, 0.0)
        handles = self._supervisor.handles() if outcome is SchedulerOutcome.BUSY else []
        own = [handle.finished for handle in handles if handle.lease.account == account]
        if own:
            await asyncio.wait(own, timeout=longest)
        else:
            await asyncio.sleep(_chance.uniform(longest / 5, longest))
