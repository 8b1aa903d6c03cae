"""What clients sent and what they got: for tests to look at afterwards."""

import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

KEPT: Final = 5000


class Violation(NamedTuple):
    """Something that a good client does not do: its kind (one of `VIOLATIONS`) and what was seen."""

    kind: str
    detail: str


VIOLATIONS: Final = frozenset(
    {
        "get",  # GET instead of POST
        "content_type",  # not application/json
        "bad_json",  # a body that is no JSON object
        "wrapped",  # filters or pagination under `data`
        "page_size",  # itemsPerPage outside 1..100
        "page_number",  # currentPage below 1 or no number
        "id_range",  # id outside 1..4294967295
        "unknown_key",  # a key that the resource does not know, misspelt ones included
        "filter_value",  # a value that the filter does not know
        "query",  # anything in the URL's query string
        "rate",  # more requests than the limit, by this client alone
        "unknown_path",  # no such resource
        "redirect_followed",  # came to where only a redirect leads
    }
)


@dataclass(slots=True)
class Exchange:
    """One request and its fate; `status` 0 is no answer, `in_flight` counts this one too."""

    at: float
    account: str
    resource: str
    body: Any
    page: int
    size: int
    in_flight: int
    status: int = 0
    outcome: str = "pending"
    rows: int = 0


@dataclass(slots=True)
class Stats:
    """The record of one account: totals for ever, the last exchanges and violations in bounded rings."""

    account: str
    exchanges: deque[Exchange] = field(default_factory=lambda: deque(maxlen=KEPT))
    violations: deque[Violation] = field(default_factory=lambda: deque(maxlen=KEPT))
    totals: Counter[tuple[str, str]] = field(default_factory=Counter)
    in_flight: int = 0
    max_in_flight: int = 0
    refused_by_limit: int = 0
    rows_served: int = 0

    def begin(self, resource: str) -> Exchange:
        """Notes that a request has come."""
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        exchange = Exchange(time.time(), self.account, resource, None, 1, 0, self.in_flight)
        self.exchanges.append(exchange)
        return exchange

    def end(self, exchange: Exchange) -> None:
        """Notes how it went."""
        self.in_flight -= 1
        self.totals[exchange.resource, exchange.outcome] += 1
        self.rows_served += exchange.rows

    def violate(self, kind: str, detail: object) -> None:
        """Notes what a good client does not do."""
        self.violations.append(Violation(kind, str(detail)[:500]))

    @property
    def requests(self) -> int:
        """All requests that were finished."""
        return self.totals.total()

    def reset(self) -> None:
        """Forgets everything but what is in flight."""
        for ring in (self.exchanges, self.violations, self.totals):
            ring.clear()
        self.max_in_flight = self.in_flight
        self.refused_by_limit = self.rows_served = 0

    def pages(self, resource: str = "product_offer/read") -> list[int]:
        """The pages asked for, in order, as far as the ring reaches."""
        return [exchange.page for exchange in self.exchanges if exchange.resource == resource]

    def summary(self) -> dict[str, Any]:
        """The totals in plain types."""
        return {
            "account": self.account,
            "requests": self.requests,
            "totals": {f"{resource} {outcome}": number for (resource, outcome), number in sorted(self.totals.items())},
            "in_flight": self.in_flight,
            "max_in_flight": self.max_in_flight,
            "refused_by_limit": self.refused_by_limit,
            "rows_served": self.rows_served,
            "violations": dict(Counter(violation.kind for violation in self.violations)),
        }
