"""How often a wrong token may be tried, and by whom."""

import pytest
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from emag_syncd.web.attempts import (
    MOST_KNOWN,
    MOST_OF_ONE,
    MOST_OF_STRANGERS,
    WINDOW_SECONDS,
    Attempts,
    Source,
    source_of,
)

HERE = Source("127.0.0.1", is_here=True)


def stranger(number: int) -> Source:
    """Return an address elsewhere."""
    return Source(f"198.51.100.{number}", is_here=False)


class Timed(Attempts):
    """Attempts at a time that is set."""

    def __init__(self) -> None:
        self.now = 0.0
        super().__init__(clock=lambda: self.now)

    def guess(self, source: Source, count: int) -> None:
        """Try so many different wrong tokens, a hundredth of a second apart."""
        for number in range(count):
            assert self.wait(source) == 0
            self.failed(source, b"%d" % number)
            self.now += 0.01


def test_an_address_has_so_many_guesses_and_then_waits() -> None:
    """The wait ends when the first guess is a minute old, and not before."""
    attempts = Timed()
    attempts.guess(stranger(1), MOST_OF_ONE)
    assert attempts.wait(stranger(1)) == pytest.approx(WINDOW_SECONDS - MOST_OF_ONE / 100)
    assert attempts.wait(stranger(2)) == 0
    attempts.now = WINDOW_SECONDS - 0.001
    assert attempts.wait(stranger(1)) > 0
    attempts.now = WINDOW_SECONDS
    assert attempts.wait(stranger(1)) == 0


def test_the_same_wrong_token_counts_once() -> None:
    """A program with an old token shuts nobody out, however often it asks."""
    attempts = Timed()
    assert [attempts.failed(HERE, b"old") for _ in range(MOST_OF_ONE * 2)].count(True) == 1
    assert attempts.wait(HERE) == 0


def test_many_addresses_have_no_more_guesses_together() -> None:
    """Who has many addresses is held up as well; this machine, and who was right before, is not."""
    attempts = Timed()
    attempts.succeeded(stranger(200))
    for number in range(MOST_OF_STRANGERS // 5):
        attempts.guess(stranger(number), 5)
    assert attempts.wait(stranger(100)) > 0
    assert attempts.wait(HERE) == 0
    assert attempts.wait(stranger(200)) == 0
    attempts.guess(stranger(200), MOST_OF_ONE)
    assert attempts.wait(stranger(200)) > 0


def test_what_is_remembered_is_bounded() -> None:
    """However many come, and from wherever."""
    attempts = Timed()
    for number in range(MOST_KNOWN + 10):
        attempts.succeeded(Source(str(number), is_here=False))
    assert len(attempts._known) == MOST_KNOWN
    attempts.guess(HERE, MOST_OF_ONE)
    attempts.now += WINDOW_SECONDS
    attempts.wait(HERE)
    assert attempts._wrong == []


@pytest.mark.parametrize(
    ("peer", "forwarded", "source"),
    [
        ("127.0.0.1", [], HERE),
        ("::1", [], Source("::1", is_here=True)),
        ("::ffff:127.0.0.1", [], HERE),
        ("198.51.100.7", [], stranger(7)),
        ("198.51.100.7", ["127.0.0.1"], stranger(7)),
        ("127.0.0.1", ["198.51.100.7"], stranger(7)),
        ("127.0.0.1", ["127.0.0.1"], Source("127.0.0.1", is_here=False)),
        ("127.0.0.1", ["10.1.1.1, 198.51.100.7"], stranger(7)),
        ("127.0.0.1", ["10.1.1.1", "198.51.100.7"], stranger(7)),
        ("127.0.0.1", ["rubbish"], Source("unknown", is_here=False)),
        ("2001:db8:1:2:3:4:5:6", [], Source("2001:db8:1:2::", is_here=False)),
        ("fe80::1%eth0", [], Source("fe80::", is_here=False)),
        ("", [], Source("unknown", is_here=False)),
    ],
)
def test_an_address_is_the_peers_or_what_a_proxy_here_says(peer: str, forwarded: list[str], source: Source) -> None:
    """Only a proxy on this machine is believed, only its own entry, and never that somebody else is this machine."""
    headers = CIMultiDict([("X-Forwarded-For", one) for one in forwarded])
    assert source_of(make_mocked_request("GET", "/", headers=headers).clone(remote=peer)) == source
