"""What several of the fault tests need."""

from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture
def quiet() -> Iterator[None]:
    """Leave the test's own log as it is."""
    yield
    structlog.reset_defaults()
