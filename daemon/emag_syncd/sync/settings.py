"""What a run needs to know of the configuration."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RunSettings:
    """The limits of one run. Times are in seconds.

    ``lease_seconds`` is also how long a run waits for a database that is away: after that its lease is gone.
    """

    page_size: int
    max_concurrent_requests: int
    max_attempts: int
    resume_within_seconds: float
    removal_guard_percent: float
    lease_seconds: float
