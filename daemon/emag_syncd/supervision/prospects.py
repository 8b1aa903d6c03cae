"""What the ledger says of an account's chances: whether a run is wanted, and whether it is any use yet."""

from collections.abc import Sequence
from datetime import datetime
from itertools import takewhile
from uuid import UUID

from asyncpg import Record

from emag_syncd.domain.runs import ErrorKind, Operation, Status
from emag_syncd.storage.ledger import Ledger
from emag_syncd.storage.scans import Scans

REFUSED = {ErrorKind.CREDENTIALS, ErrorKind.IP_NOT_ALLOWED, ErrorKind.MARKETPLACE_REJECTED}
"""What only a person can mend. Trying again spends the marketplace's budget for nothing."""

CUT_SHORT = {ErrorKind.TIMEOUT, ErrorKind.INTERRUPTED, ErrorKind.SHUTDOWN, ErrorKind.STALE, ErrorKind.DATABASE}
"""What ends a run that went well so far. A database that was away is back when the end is recorded in it."""

FIRST_PAUSE = 15 * 60.0
LONGEST_PAUSE = 6 * 3600.0
FIRST_RETRY = 60.0
LONGEST_RETRY = 15 * 60.0
LOOKED_AT = 12


class Prospects:
    """Judges from what is recorded, so that a restart forgets nothing and every daemon judges alike."""

    def __init__(self, ledger: Ledger, scans: Scans, *, resume_within_seconds: float) -> None:
        """Look into ``ledger`` and ``scans``."""
        self._ledger = ledger
        self._scans = scans
        self.resume_within_seconds = resume_within_seconds

    async def now(self) -> datetime:
        """Return the time, by the clock of the database: the one that all daemons share. Raises DatabaseError."""
        return await self._ledger.now()

    async def covered(
        self, account: str, operation: Operation, slot: datetime, *, other_than: UUID | None = None
    ) -> bool:
        """Whether the slot needs no run any more; the run ``other_than`` does not count."""
        return await self._ledger.slot_covered(account, operation, slot, other_than=other_than)

    async def paused(self, account: str) -> bool:
        """Whether the marketplace refused the account so lately that asking again is no use yet."""
        runs = [run for run in await self._ledger.outcomes(account, LOOKED_AT) if not _is_odd_wish(run)]
        refused = list(takewhile(lambda run: run["kind"] in REFUSED, runs))
        if not refused:
            return False
        return bool(refused[0]["age_seconds"] < _growing(FIRST_PAUSE, LONGEST_PAUSE, len(refused)))

    async def continues_in(self, account: str) -> float | None:
        """Return in how many seconds a full scan that was cut short is to be taken up; None when there is none."""
        if not await self._scans.unfinished_full(account, resume_within_seconds=self.resume_within_seconds):
            return None
        runs = await self._ledger.outcomes(account, LOOKED_AT)
        full = [run for run in runs if run["operation"] == Operation.FULL and not run["some_pages_only"]]
        if not full or _was_wanted(full[0]):
            return None
        last = full[0]
        if last["kind"] in CUT_SHORT and last["pages_processed"]:
            return 0.0
        waits = _growing(FIRST_RETRY, LONGEST_RETRY, _failures(full))
        return max(0.0, waits - float(last["age_seconds"]))


def _is_odd_wish(run: Record) -> bool:
    """Whether what the marketplace rejected may be the filter that somebody asked for, not the account."""
    return bool(run["operation"] == Operation.SELECTIVE and run["kind"] == ErrorKind.MARKETPLACE_REJECTED)


def _was_wanted(run: Record) -> bool:
    """Whether somebody ended the run on purpose, or the next one is up to a person."""
    return run["kind"] == ErrorKind.CANCELLED or run["kind"] in REFUSED or run["status"] == Status.COMPLETED


def _failures(runs: Sequence[Record]) -> int:
    return sum(1 for _ in takewhile(lambda run: not run["pages_processed"], runs)) or 1


def _growing(first: float, longest: float, times: int) -> float:
    return float(min(longest, first * 2 ** min(times - 1, 20)))
