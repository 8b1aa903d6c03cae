"""The scenarios of scale, at a size that shows no more than that they work."""

import asyncio
import sys

import pytest

from tests.support.processes import ROOT

pytestmark = pytest.mark.timeout(300)

SMALL = {
    "accounts": ["--accounts", "3", "--offers", "20", "--every", "2s", "--minutes", "0.3", "--rest", "1"],
    "offers": ["--sizes", "1000", "2000", "--synced", "100"],
}
SAYS = {
    "accounts": ["first load of all", "slots ran", "GET /metrics: 200", "scraped every 15 s"],
    "offers": ["2,000 offers, filled in", "unchanged: completed", "list: all, the cheapest first", "retention:"],
}


@pytest.mark.parametrize("scenario", SMALL)
async def test_a_scenario_measures_what_it_should(scenario: str) -> None:
    """It runs to its end, and prints each of its figures."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.bench.scale", scenario, *SMALL[scenario]),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    assert [words for words in SAYS[scenario] if words not in said.decode()] == []
