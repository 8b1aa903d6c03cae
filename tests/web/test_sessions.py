"""What a cookie holds in place of the token."""

import pytest

from emag_syncd.web.sessions import SECONDS, Sessions
from tests.web.conftest import TOKEN

HOST = "sync.example.com"


def sessions(token: str = TOKEN, now: float = 1_000_000.0) -> Sessions:
    """Return sessions at a time that stands still."""
    return Sessions(token.encode(), clock=lambda: now)


def test_a_session_holds_until_its_end() -> None:
    """It outlives a restart, and not its hours."""
    value = sessions().begin(HOST)
    assert sessions().holds(value, HOST)
    assert sessions(now=1_000_000.0 + SECONDS - 1).holds(value, HOST)
    assert not sessions(now=1_000_000.0 + SECONDS).holds(value, HOST)


def test_a_session_ends_with_the_token() -> None:
    """Under another token the value is nothing, and the cookie has another name."""
    value = sessions().begin(HOST)
    assert not sessions("another-token-of-24-chars").holds(value, HOST)
    assert sessions("another-token-of-24-chars").cookie != sessions().cookie


def test_a_session_counts_at_its_own_host() -> None:
    """A name that points here as well gets nothing by the value."""
    assert not sessions().holds(sessions().begin(HOST), "evil.example.com")


def test_a_session_that_was_ended_stays_ended() -> None:
    """Logging out ends this one, whoever else has its value, and no other."""
    ours = sessions()
    first, second = ours.begin(HOST), ours.begin(HOST)
    ours.end(first)
    ours.end(second)
    assert not ours.holds(first, HOST)
    assert not ours.holds(second, HOST)
    assert ours.holds(ours.begin(HOST), HOST)


def test_ended_sessions_are_forgotten_when_they_would_have_ended() -> None:
    """What is remembered of those that logged out does not grow for ever."""
    now = 0.0
    ours = Sessions(TOKEN.encode(), clock=lambda: now)
    ours.end(ours.begin(HOST))
    now += SECONDS
    ours.end(ours.begin(HOST))
    assert len(ours._ended) == 1


@pytest.mark.parametrize("at", range(0, 90, 9))
def test_a_changed_value_is_nothing(at: int) -> None:
    """No end can be put off and no seal guessed from another."""
    value = sessions().begin(HOST)
    changed = value[:at] + ("0" if value[at] != "0" else "1") + value[at + 1 :]
    assert not sessions().holds(changed, HOST)


@pytest.mark.parametrize("value", ["", ".", "..", "9999999999", "9999999999.a.", "x.y.z", "\udcff.\udcff", "é.é.é"])
def test_what_is_no_value_is_nothing(value: str) -> None:
    """Whatever stands in a cookie is judged, and never an error."""
    assert not sessions().holds(value, HOST)


def test_the_value_does_not_hold_the_token() -> None:
    """Nor does what keeps it show it to a log."""
    ours = sessions()
    assert TOKEN not in ours.begin(HOST) + ours.cookie + repr(ours) + repr(vars(ours))
