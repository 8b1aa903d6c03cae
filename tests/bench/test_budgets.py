"""The cases of budgets are measured where the limits are kept: at the marketplace."""

import pytest

from tests.bench import budgets
from tests.support.server import TestServer


@pytest.mark.timeout(300)
async def test_measures_each_run_of_each_case(postgres: TestServer) -> None:
    """Each run of each account has its share of the rate, what was refused, and the requests that it took."""
    tiny = budgets.Case(250, (0.0, 0.1), accounts=("main", "fbe"), runs=2)
    found = await budgets.measure(postgres.url, {"tiny": tiny})
    assert list(found) == ["tiny", "tiny, again"]
    for run in found.values():
        # Three pages and two counts of each account; a machine with other work may need to ask for one again.
        assert len(run["requests"]) == 2
        assert all(5 <= requests <= 7 for requests in run["requests"])
        assert all(0 < share <= 1.5 for share in run["shares"])
        assert run["seconds"] > 1
