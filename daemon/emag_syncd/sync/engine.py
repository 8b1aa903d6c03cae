"""One sync from its first request to its outcome."""

from emag_syncd.domain.runs import ErrorKind, Outcome, Status
from emag_syncd.domain.scans import Span
from emag_syncd.marketplace.link import AccountLink
from emag_syncd.storage.mirror import Mirror
from emag_syncd.storage.scans import Scans
from emag_syncd.sync.context import RunContext
from emag_syncd.sync.reading import StoppedError
from emag_syncd.sync.reconcile import Reconciler
from emag_syncd.sync.run import Run
from emag_syncd.sync.settings import RunSettings


class Engine:
    """Runs syncs: the one place that knows both the marketplace and the database."""

    def __init__(self, mirror: Mirror, scans: Scans) -> None:
        """Write into ``mirror``, with ``scans`` as checkpoints."""
        self._mirror = mirror
        self._scans = scans

    async def run(self, context: RunContext, link: AccountLink, settings: RunSettings) -> Outcome:
        """Do what the request of ``context`` asks for, and return how it ended.

        Raises MarketplaceError, DatabaseError or FencedError when it can't go on.
        """
        run = Run(context, link, self._mirror, self._scans, settings)
        try:
            if context.request.max_pages is not None:
                return await _read_some(run, context.request.max_pages)
            return await _read_all(run)
        except StoppedError:
            return Outcome.of(
                Status.CANCELLED,
                ErrorKind.SHUTDOWN,
                "The daemon was shut down; a full scan is taken up where it stopped.",
            )


async def _read_some(run: Run, pages: int) -> Outcome:
    run.total = await run.count()
    size = run.context.request.page_size or run.settings.page_size
    await run.read_spans([Span(0, min(run.total, pages * size))], None)
    if run.hole_error is not None:
        return Outcome.of(Status.PARTIAL, run.hole_error.kind, str(run.hole_error))
    return Outcome(Status.COMPLETED)


async def _read_all(run: Run) -> Outcome:
    scan = await run.open_scan()
    while True:
        await run.read_rest(scan)
        outcome = await Reconciler(run, scan).judge()
        if outcome is not None:
            return outcome
        scan = await run.next_pass(scan)
