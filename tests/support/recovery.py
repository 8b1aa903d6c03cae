"""How long the daemon takes to be well again: measured by the fault tests, reported in the docs, never asserted."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

PROPERTY = "recovery"


@dataclass(frozen=True)
class Recovered:
    """One measured recovery."""

    fault: str
    promises: tuple[int, ...]
    """By their numbers in section 1 of the contract."""
    seconds: float
    test: str = ""


class Recovery:
    """Takes note of what one test measures."""

    def __init__(self, node: pytest.Item) -> None:
        self._node = node

    def took(self, fault: str, *promises: int, seconds: float) -> None:
        """Note that these promises held again ``seconds`` after this fault."""
        path = self._node.nodeid.split("[", maxsplit=1)[0]
        self._node.user_properties.append((PROPERTY, json.dumps(asdict(Recovered(fault, promises, seconds, path)))))

    @contextmanager
    def timed(self, fault: str, *promises: int) -> Iterator[None]:
        """Note how long the block took: it begins when the fault is over and ends when the promises hold again."""
        began = time.monotonic()
        yield
        self.took(fault, *promises, seconds=time.monotonic() - began)


def append(report: pytest.TestReport, path: Path) -> None:
    """Append what a test measured to a file of JSON lines."""
    lines = [f"{value}\n" for name, value in report.user_properties if name == PROPERTY]
    if lines:
        with path.open("a") as stream:
            stream.writelines(lines)
