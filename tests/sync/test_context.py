"""What a run tells those who follow it, and what it keeps until it can be recorded."""

from typing import Any
from uuid import UUID

from emag_syncd.domain.batches import Progress
from emag_syncd.domain.calls import ApiCall, CallOutcome
from emag_syncd.domain.runs import Counters, Lease, Operation
from emag_syncd.sync.context import RunContext
from tests.support.offers import PROGRESS, request

LEASE = Lease(UUID(int=1), UUID(int=2), "main", Operation.FULL)
CALL = ApiCall("main", "product_offer/read", started=0.0, duration=0.2, outcome=CallOutcome.OK)


class Told:
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.of: list[tuple[Any, ...]] = []

    def called(self, call: ApiCall, run_id: UUID | None) -> None:
        self.of.append((call, run_id))

    def rate_limited(self, account: str, wait_seconds: float) -> None:
        self.of.append((account, wait_seconds))

    def paced(self, account: str, waited_seconds: float) -> None:
        self.of.append((account, waited_seconds))

    def committed(self, lease: Lease, counters: Counters, progress: Progress) -> None:
        self.of.append((lease, counters, progress))


async def test_who_follows_a_run_is_told_what_it_does() -> None:
    """Each request with the run that made it, each wait with its account, each batch with its counters."""
    told, counters = Told(), Counters(created_items=2)
    context = RunContext(LEASE, request(), told)
    context.called(CALL)
    context.rate_limited(2.5)
    context.paced(0.3)
    context.committed(counters, PROGRESS)
    assert told.of == [(CALL, LEASE.run_id), ("main", 2.5), ("main", 0.3), (LEASE, counters, PROGRESS)]


async def test_what_is_not_recorded_yet_is_taken_once() -> None:
    """Requests and refusals add up until somebody takes them to record them."""
    context = RunContext(LEASE, request(), Told())
    for _ in range(3):
        context.called(CALL)
    for _ in range(2):
        context.rate_limited(1.0)
    assert context.take_unrecorded() == Counters(api_requests_made=3, rate_limit_hits=2)
    assert context.take_unrecorded() == Counters()


async def test_a_run_begins_at_nothing_and_is_asked_to_stop_once() -> None:
    """No commit, no progress, no wish; who asks again changes nothing."""
    context = RunContext(LEASE, request(), Told())
    assert (context.counters, context.commits, context.progress) == (Counters(), 0, None)
    assert not context.stop.done()
    context.request_stop()
    context.request_stop()
    assert context.stop.done()
