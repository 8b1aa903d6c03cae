"""One call of the marketplace's API, as the call log keeps it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class CallOutcome(StrEnum):
    """How a call ended: a closed set, used in rows and metrics."""

    OK = "ok"
    RATE_LIMITED = "rate_limited"
    REJECTED = "rejected"
    CREDENTIALS = "credentials"
    IP_NOT_ALLOWED = "ip_not_allowed"
    SERVER_ERROR = "server_error"
    BAD_ANSWER = "bad_answer"
    TIMEOUT = "timeout"
    CONNECTION = "connection"
    ABORTED = "aborted"


@dataclass(frozen=True, slots=True)
class ApiCall:
    """One request and what came of it. Never holds credentials.

    ``started`` is in seconds of the monotonic clock; ``duration`` in seconds, without our own waiting; ``body`` is
    the answer's first 64 KiB and kept only when the call failed.
    """

    account: str
    resource: str
    started: float
    duration: float
    outcome: CallOutcome
    params: Mapping[str, Any] = field(default_factory=dict)
    status_code: int | None = None
    response_bytes: int | None = None
    messages: tuple[str, ...] = ()
    body: str | None = None

    @property
    def is_error(self) -> bool:
        """Whether the call failed."""
        return self.outcome is not CallOutcome.OK
