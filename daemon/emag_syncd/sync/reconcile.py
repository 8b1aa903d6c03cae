"""Whether a scan is complete, and what is gone: judged on proof, never on absence alone."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog

from emag_syncd.domain.batches import ScanRef
from emag_syncd.domain.offers import Item
from emag_syncd.domain.runs import ErrorKind, Operation, Outcome, Status
from emag_syncd.marketplace.decoding import decode
from emag_syncd.sync.run import ACTIVE, Run

log = structlog.get_logger(__name__)

GUARD_FROM = 50
"""The guard against mass removals applies from this many on."""

MOST_READ_BY_INCREMENTAL = 50
"""How many offers an incremental run reads by id at most; the next full scan sees to the rest."""

AT_ONCE = 20
"""How many offers are read by id before what came is committed."""

MOST_PASSES = 3
"""How often a catalogue is read from the start before a run admits that it can't tell whether it has all."""

MOST_HOLES_NAMED = 10
EVERYTHING = 100

COMPLETED = Outcome(Status.COMPLETED, scan_done=True)


@dataclass(slots=True)
class Verdict:
    """What is known after a pass: how many offers it listed, how many there should be, and what reads by id say.

    ``moved`` is whether offers left meanwhile: each lets another one slip past between two pages. ``again`` is
    whether an earlier pass did not agree either. ``set_aside`` entries without a usable id were listed too.
    """

    listed: int
    total: int
    moved: bool
    again: bool
    set_aside: int = 0
    found: int = 0
    gone: list[int] = field(default_factory=list)

    @property
    def seen(self) -> int:
        """How many different offers were seen."""
        return self.listed + self.found

    @property
    def complete(self) -> bool:
        """Whether as many different offers were seen as the marketplace counts.

        What only reads by id find, twice in a row, is in no list and not in the count; entries without a usable id
        that are missing twice in a row are in the count.
        """
        if self.moved:
            return False
        counted = self.total in {self.listed, self.seen + self.set_aside}
        return self.seen == self.total or (self.again and counted)

    def may_agree(self, unseen: int) -> bool:
        """Whether reads of so many unseen offers by id could make it complete."""
        return not self.moved and self.listed <= self.total <= self.listed + unseen + self.set_aside


class Reconciler:
    """Judges one pass of one run."""

    def __init__(self, run: Run, scan: ScanRef) -> None:
        """Judge what ``run`` read in this pass of ``scan``."""
        self._run = run
        self._scan = scan
        self._operation = run.context.request.operation

    async def judge(self) -> Outcome | None:
        """Return how the run ends, or None when offers moved meanwhile and another pass may tell."""
        run = self._run
        if run.holes:
            return self._with_holes()
        verdict = self._verdict()
        live = await run.persist(lambda: run.mirror.live_offers(run.account))
        allowed = self._allowed(live)
        unseen = await self._unseen(allowed + 1)
        if self._operation is Operation.FULL:
            if not verdict.may_agree(len(unseen)):
                return self._disagreement(verdict)
            if len(unseen) > allowed:
                return self._guarded(verdict, live)
            if (lost := verdict.listed + len(unseen) - live) > 0:
                return self._lost(lost)
        await self._look_up(unseen, verdict)
        if not verdict.complete:
            return self._disagreement(verdict)
        if verdict.gone and self._operation is Operation.FULL:
            await run.remove(verdict.gone, self._scan)
        return COMPLETED

    def _verdict(self) -> Verdict:
        run = self._run
        return Verdict(
            listed=run.listed,
            total=run.total,
            moved=run.shrank and self._operation is Operation.FULL,
            again=self._scan.pass_no > 1,
            set_aside=run.set_aside,
        )

    def _disagreement(self, verdict: Verdict) -> Outcome | None:
        log.info("offers moved", action="moved", seen=verdict.seen, counted=verdict.total, pass_no=self._scan.pass_no)
        if self._scan.pass_no < MOST_PASSES:
            return None
        return Outcome.of(
            Status.PARTIAL,
            ErrorKind.PROTOCOL,
            f"The marketplace counts {verdict.total} offers, and reading all of its pages found {verdict.seen}"
            f"{', while their number fell' if verdict.moved else ''} ({MOST_PASSES} readings): offers come and go"
            " while they are read, or its lists are wrong. The next run reads them anew.",
            scan_done=True,
        )

    def _with_holes(self) -> Outcome:
        run = self._run
        holes = ", ".join(f"{hole.start + 1} to {hole.end}" for hole in run.holes[:MOST_HOLES_NAMED])
        more = len(run.holes) - MOST_HOLES_NAMED
        left = "just what is missing" if self._operation is Operation.FULL else "them anew"
        return Outcome.of(
            Status.PARTIAL,
            run.hole_error.kind if run.hole_error else ErrorKind.MARKETPLACE_UNAVAILABLE,
            f"Offers {holes}{f' and {more} more stretches' if more > 0 else ''} of {run.total} could not be read"
            f" ({run.hole_error}). The next {self._operation.mode} run reads {left}.",
        )

    def _lost(self, number: int) -> Outcome | None:
        """Judge a scan of whose offers some are not stored any more, or are marked as removed, by another hand."""
        log.warning("offers lost", action="offers_lost", number=number, pass_no=self._scan.pass_no)
        if self._scan.pass_no < MOST_PASSES:
            return None
        return Outcome.of(
            Status.PARTIAL,
            ErrorKind.DATABASE,
            f"{number} of the offers that were read are not in emag_products: somebody deletes rows, or marks them as"
            f" removed, while they are read ({MOST_PASSES} readings). The next run reads them anew.",
            scan_done=True,
        )

    def _allowed(self, live: int) -> int:
        """Return how many removals, of so many ``live`` offers, are beyond suspicion."""
        percent = self._run.settings.removal_guard_percent
        allowed = max(GUARD_FROM - 1, int(live * percent / 100))
        # An account that comes back empty is more likely a fault than a farewell, however few offers it had.
        return allowed if percent >= EVERYTHING else min(allowed, max(0, live - 1))

    async def _unseen(self, most: int) -> Sequence[int]:
        run = self._run
        match self._operation:
            case Operation.FULL:
                limit, only_status = most, None
            case Operation.INCREMENTAL if not run.context.request.include_inactive:
                limit, only_status = MOST_READ_BY_INCREMENTAL, ACTIVE
            case _:
                return []
        return await run.persist(
            lambda: run.scans.unseen(run.account, self._scan, limit=limit, only_status=only_status)
        )

    def _guarded(self, verdict: Verdict, live: int) -> Outcome | None:
        if not verdict.complete:
            return self._disagreement(verdict)
        guard = self._run.settings.removal_guard_percent
        return Outcome.of(
            Status.PARTIAL,
            ErrorKind.REMOVAL_GUARD,
            f"{live - verdict.seen} of {live} offers are gone at once, more than sync.removal_guard_percent"
            f" = {guard:g} lets pass unseen: none was removed. If that many really left the marketplace, raise the"
            " setting and run a full sync.",
            scan_done=True,
        )

    async def _look_up(self, unseen: Sequence[int], verdict: Verdict) -> None:
        """Read the unseen offers by id: those that come were only missed, those that don't are gone."""
        at_once = min(AT_ONCE, self._run.settings.max_concurrent_requests)
        for start in range(0, len(unseen), at_once):
            ids = unseen[start : start + at_once]
            answers = await self._run.unless_stopped(_together(self._run, ids))
            found = [item for item in answers if item is not None]
            gone = [emag_id for emag_id, item in zip(ids, answers, strict=True) if item is None]
            await self._found(found, verdict)
            if verdict.complete and self._operation is Operation.FULL and gone:
                # The scan agrees already: what is removed now needs no second proof if the run is cut short.
                await self._run.remove(gone, self._scan)
            else:
                verdict.gone.extend(gone)

    async def _found(self, found: Sequence[Item], verdict: Verdict) -> None:
        if not found:
            return
        seen = [item for item in found if self._operation is Operation.FULL or _is_active(item)]
        others = [item for item in found if item not in seen]
        if seen:
            await self._run.merge_offers(seen, self._scan, seen=True)
            verdict.found += len(seen)
        if others:
            await self._run.merge_offers(others, self._scan, seen=False)


async def _together(run: Run, ids: Sequence[int]) -> list[Item | None]:
    # No TaskGroup: before Python 3.13 one that fails leaves its task cancelling(), as a deadline does.
    reads = [asyncio.create_task(run.client.read_offer(emag_id), name=f"offer {emag_id}") for emag_id in ids]
    try:
        return await asyncio.gather(*reads)
    finally:
        for read in reads:
            read.cancel()
        await asyncio.gather(*reads, return_exceptions=True)


def _is_active(item: Item) -> bool:
    return bool(decode(item).columns["status"] == ACTIVE)
