"""What all tests of the guardians share."""

import pytest

from emag_syncd.supervision.attempts import WAITS

FINISH_WAITS = (0.02, 0.05, 0.1)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again soon what could not be recorded, and slots that could not be served."""
    monkeypatch.setattr("emag_syncd.supervision.supervisor.FINISH_WAITS", FINISH_WAITS)
    for outcome in WAITS:
        monkeypatch.setitem(WAITS, outcome, 0.1)
