"""What a run and its supervisor share, and who is told how it goes on."""

import asyncio
import time
from typing import Protocol
from uuid import UUID

from emag_syncd.domain.batches import Progress
from emag_syncd.domain.calls import ApiCall
from emag_syncd.domain.runs import Counters, Lease, RunRequest


class RunListener(Protocol):
    """Whoever wants to know how runs go on: the call log, the metrics, a progress bar. Must not block."""

    def called(self, call: ApiCall, run_id: UUID | None) -> None:
        """One request was made to the marketplace."""

    def rate_limited(self, account: str, wait_seconds: float) -> None:
        """The marketplace asks the account to wait."""

    def paced(self, account: str, waited_seconds: float) -> None:
        """A request waited for its turn."""

    def committed(self, lease: Lease, counters: Counters, progress: Progress) -> None:
        """A batch was written; ``counters`` are the batch's own."""


class RunContext:
    """What a run and its supervisor share: the lease, how far it is, and the wish to stop.

    It observes the run's marketplace client. ``unrecorded`` are the requests since the last commit, recorded
    with the next one or with the run's end.
    """

    def __init__(self, lease: Lease, request: RunRequest, listener: RunListener) -> None:
        """Begin at nothing, and tell ``listener`` what happens."""
        self.lease = lease
        self.request = request
        self.began = time.monotonic()
        self.counters = Counters()
        self.unrecorded = Counters()
        self.commits = 0
        self.progress: Progress | None = None
        self.stop: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._listener = listener

    def request_stop(self) -> None:
        """Ask the run to stop at the next page boundary."""
        if not self.stop.done():
            self.stop.set_result(None)

    def called(self, call: ApiCall) -> None:
        """Count one request to the marketplace."""
        self.unrecorded.api_requests_made += 1
        self._listener.called(call, self.lease.run_id)

    def rate_limited(self, wait_seconds: float) -> None:
        """Count one refusal for exceeding the rate limit."""
        self.unrecorded.rate_limit_hits += 1
        self._listener.rate_limited(self.lease.account, wait_seconds)

    def paced(self, waited_seconds: float) -> None:
        """Pass on that a request waited for its turn."""
        self._listener.paced(self.lease.account, waited_seconds)

    def committed(self, counters: Counters, progress: Progress) -> None:
        """Pass on that a batch was written."""
        self._listener.committed(self.lease, counters, progress)

    def take_unrecorded(self) -> Counters:
        """Return what is not recorded yet; it is up to the caller to record it."""
        taken, self.unrecorded = self.unrecorded, Counters()
        return taken
