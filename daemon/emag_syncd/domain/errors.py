"""The errors that cross layers. Each carries a sentence for a person and, where there is one, the remedy."""

from datetime import datetime
from uuid import UUID

from emag_syncd.domain.runs import ErrorKind


class SyncdError(Exception):
    """Anything this daemon can explain. ``remedy`` says what to do about it."""

    kind: ErrorKind = ErrorKind.INTERNAL

    def __init__(self, message: str, *, remedy: str = "") -> None:
        """Keep the message and the remedy apart, for logs and pages that show them apart."""
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        """Return the message and the remedy in one line."""
        return f"{self.message}: {self.remedy}" if self.remedy else self.message


class ConfigurationError(SyncdError):
    """A setting is missing, unknown or wrong."""


class FencedError(SyncdError):
    """The run was ended by somebody else: it may write nothing any more."""

    kind = ErrorKind.INTERRUPTED

    def __init__(self, run_id: UUID) -> None:
        """Name the run."""
        super().__init__(f"run {run_id} was ended by somebody else")
        self.run_id = run_id


class BusyError(SyncdError):
    """A run of the account is under way; ``run_id`` says which."""

    def __init__(self, account: str, run_id: UUID | None) -> None:
        """Name the account and the run that is under way."""
        super().__init__(
            f"a sync of account {account} is already running ({run_id})",
            remedy="wait for it, or cancel it",
        )
        self.account = account
        self.run_id = run_id


class DatabaseError(SyncdError):
    """PostgreSQL can't be reached, refused, or did not answer in time.

    ``may_pass`` says whether the same may succeed later: an outage passes, a statement it can't take does not.
    """

    kind = ErrorKind.DATABASE

    def __init__(self, message: str, *, remedy: str = "", may_pass: bool = True) -> None:
        """Keep whether another try is of any use."""
        super().__init__(message, remedy=remedy)
        self.may_pass = may_pass


class SetBackError(DatabaseError):
    """What a run committed is not what the database says of it: nothing that the run believes can be relied on."""

    def __init__(self, run_id: UUID, *, made: int, recorded: int) -> None:
        """Name the run, how many commits it ``made`` and how many are ``recorded``."""
        super().__init__(
            f"run {run_id} made {made} commits, but its row says {recorded}: the database was set back, as by a"
            " failover that loses the last commits",
            remedy="the next full run reads again what is missing; see that the standby keeps up",
            may_pass=False,
        )


class MarketplaceError(SyncdError):
    """The marketplace's answer ends the run. The base of all of its kinds."""

    kind = ErrorKind.MARKETPLACE_REJECTED


class UnavailableError(MarketplaceError):
    """The marketplace did not answer usefully, however often it was asked."""

    kind = ErrorKind.MARKETPLACE_UNAVAILABLE


class RejectedError(MarketplaceError):
    """The marketplace understood the request and refused it."""

    kind = ErrorKind.MARKETPLACE_REJECTED


class CredentialsError(MarketplaceError):
    """The marketplace refused the user name or the password, or the user has no right to the API."""

    kind = ErrorKind.CREDENTIALS


class IpNotAllowedError(MarketplaceError):
    """The marketplace does not know this machine's public address."""

    kind = ErrorKind.IP_NOT_ALLOWED


class ProtocolError(MarketplaceError):
    """The marketplace answered something that its documentation rules out: nothing it says can be relied on."""

    kind = ErrorKind.PROTOCOL


class SlotTakenError(SyncdError):
    """The slot of the schedule has had its run, here or in another daemon."""

    def __init__(self, account: str, slot: datetime) -> None:
        """Name the account and the slot."""
        super().__init__(f"the run of account {account} for {slot.isoformat()} was already started")


class ShuttingDownError(SyncdError):
    """The daemon is about to end and starts no runs."""

    kind = ErrorKind.SHUTDOWN

    def __init__(self) -> None:
        """Say so."""
        super().__init__("emag-syncd is shutting down", remedy="ask again when it is back")
