"""Failures that may pass, and so are not yet the end of a run."""

from emag_syncd.domain.calls import CallOutcome
from emag_syncd.domain.errors import MarketplaceError, ProtocolError, UnavailableError


class TransientError(UnavailableError):
    """A failure that another attempt may not meet.

    ``retry_after`` is the marketplace's own wish in seconds, if it had one. ``shrink`` says that a smaller
    page might help: the answer was slow, cut or too large, not absent.
    """

    def __init__(
        self,
        message: str,
        *,
        outcome: CallOutcome,
        remedy: str,
        retry_after: float | None = None,
        shrink: bool = False,
    ) -> None:
        """Keep what the next attempt needs to know."""
        super().__init__(message, remedy=remedy)
        self.outcome = outcome
        self.retry_after = retry_after
        self.shrink = shrink

    def final(self) -> MarketplaceError:
        """Return the error to raise when there is no further attempt."""
        kind = ProtocolError if self.outcome is CallOutcome.BAD_ANSWER else UnavailableError
        return kind(self.message, remedy=self.remedy)


class RateLimitedError(UnavailableError):
    """The marketplace asks to wait: ``wait`` seconds, or an unknown time. Never leaves this package."""

    def __init__(self, message: str, wait: float | None) -> None:
        """Keep the wait that was asked for."""
        super().__init__(message)
        self.wait = wait
