"""Runs: the names that the contract gives them, and what is recorded of a request."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emag_syncd.domain.runs import (
    Counters,
    ErrorKind,
    Operation,
    Outcome,
    RunError,
    RunRequest,
    Status,
    Trigger,
)

COUNTERS = st.lists(st.integers(0, 10**9), min_size=9, max_size=9).map(lambda values: Counters(*values))


@pytest.mark.parametrize("mode", ["full", "incremental", "selective"])
def test_a_mode_is_an_operation(mode: str) -> None:
    """The API's mode and the column's operation are two spellings of one thing."""
    operation = Operation.of_mode(mode)
    assert operation.value == f"{mode}_sync"
    assert operation.mode == mode


@pytest.mark.parametrize("mode", ["", "full_sync", "Full", "orders"])
def test_other_modes_are_refused(mode: str) -> None:
    """There are no others."""
    with pytest.raises(ValueError, match="is not a valid Operation"):
        Operation.of_mode(mode)


def test_the_contract_s_closed_sets() -> None:
    """Rows, metrics and alerts rely on these values."""
    assert set(Status) == {"running", "completed", "partial", "failed", "cancelled"}
    assert set(Trigger) == {"schedule", "api", "console", "cli"}
    assert set(ErrorKind) == {
        "timeout",
        "stale",
        "interrupted",
        "shutdown",
        "cancelled",
        "marketplace_unavailable",
        "marketplace_rejected",
        "credentials",
        "ip_not_allowed",
        "protocol",
        "database",
        "removal_guard",
        "internal",
    }


def test_params_record_what_was_asked() -> None:
    """The mode always, the rest where it departs from the default."""
    slot = datetime(2026, 5, 1, tzinfo=UTC)
    assert RunRequest("main", Operation.FULL, Trigger.SCHEDULE, slot).params() == {"mode": "full"}
    selective = RunRequest(
        "main",
        Operation.SELECTIVE,
        Trigger.API,
        filters={"status": 0},
        max_pages=2,
        page_size=50,
        include_inactive=True,
    )
    assert selective.params() == {
        "mode": "selective",
        "filters": {"status": 0},
        "max_pages": 2,
        "items_per_page": 50,
        "include_inactive": True,
    }


@given(one=COUNTERS, other=COUNTERS)
def test_counters_add_up_by_name(one: Counters, other: Counters) -> None:
    """Each by itself, and only the one that is added to."""
    before = {name: (getattr(one, name), getattr(other, name)) for name in Counters.__slots__}
    one.add(other)
    assert {name: (getattr(one, name) - getattr(other, name), getattr(other, name)) for name in before} == before


def test_an_outcome_with_one_error() -> None:
    """The short way to say how a run ended."""
    outcome = Outcome.of(Status.FAILED, ErrorKind.TIMEOUT, "late", scan_done=True)
    assert outcome == Outcome(Status.FAILED, (RunError(ErrorKind.TIMEOUT, "late"),), scan_done=True)
    assert Outcome(Status.COMPLETED) == Outcome(Status.COMPLETED, (), scan_done=False)
