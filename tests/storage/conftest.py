"""What the tests of the storage share. What is shown of the ledger is shown of the real one and of its twin."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.server import reachable_folder
from tests.support.sides import AnyLedger, RealSide, Side, TwinSide


@pytest.fixture(params=["postgres", "twin"])
def side(request: pytest.FixtureRequest) -> Side:
    """Give the real tables, or those of the twin."""
    if request.param == "twin":
        return TwinSide()
    return RealSide(request.getfixturevalue("database"), request.getfixturevalue("sql"))


@pytest.fixture
def ledger(side: Side) -> AnyLedger:
    """Give the ledger of a daemon."""
    return side.daemon("here/boot/1/2/abc")


@pytest.fixture
def folder() -> Iterator[Path]:
    """Give a folder that the server's user can reach."""
    with reachable_folder() as folder:
        yield folder
