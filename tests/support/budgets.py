"""The shared budget of requests in memory: what the table does, for many processes in one test."""

from collections.abc import Callable
from dataclasses import dataclass, field

from emag_syncd.storage.budgets import furthest


@dataclass
class Ledger:
    """One account's row. Seconds of ``clock``."""

    clock: Callable[[], float]
    free_at: float = 0.0
    holder: str = ""
    reserved: list[tuple[float, float, str]] = field(default_factory=list)

    def reserve(self, holder: str, span: float, gap: float, delay: float) -> float:
        """Do what the query does."""
        now = self.clock()
        free_at = min(self.free_at, now + furthest(span, gap)) + (gap if self.holder not in {"", holder} else 0.0)
        begins = max(free_at, now + delay)
        self.free_at, self.holder = begins + span, holder
        self.reserved.append((begins, self.free_at, holder))
        return begins - now


@dataclass
class Budget:
    """That account's budget in the eyes of one process."""

    ledger: Ledger
    holder: str

    async def reserve(self, span: float, *, gap: float, delay: float) -> float:
        """Reserve at once."""
        return self.ledger.reserve(self.holder, span, gap, delay)
