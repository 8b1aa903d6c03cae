"""The alerts and the dashboard: sound, tested, explained, and about series that exist."""

import re
from collections import Counter

import pytest
from prometheus_client import Metric

from emag_syncd.config import Settings
from emag_syncd.telemetry.dashboard import COLUMNS, dashboard
from emag_syncd.telemetry.metrics import Metrics
from tests.support.engines import settings_of
from tests.support.rules import ALERTS, ALERTS_TEST, RUNBOOK, alerts, panels, promtool

CHECKS = [(("livez", "watchdog"), True), (("readyz", "database"), True), (("readyz", "shutdown"), True)]
SELECTOR = re.compile(r"\b(?P<name>(?:emag|process)_\w+)\b(?!:)(?:\{(?P<labels>[^}]*)\})?")
MATCHER = re.compile(r'(\w+)(=~|!=|!~|=)"([^"]*)"')


@pytest.fixture
def scraped() -> list[Metric]:
    """Give what a scrape has from the start."""
    settings: Settings = settings_of("main")
    metrics = Metrics(settings.accounts, "1")
    metrics.configured(settings)
    metrics.checked_by(lambda: CHECKS)
    return list(metrics.registry.collect())


def selects(scraped: list[Metric], name: str, matchers: str) -> bool:
    """Whether a selector finds a series. Those of a target, which Prometheus adds, match anything."""
    wanted = [one for one in MATCHER.findall(matchers) if one[0] not in {"job", "instance"}]
    return any(
        sample.name == name
        and all(
            label in sample.labels
            and bool(re.fullmatch(value if "~" in relation else re.escape(value), sample.labels[label]))
            is not relation.startswith("!")
            for label, relation, value in wanted
        )
        for family in scraped
        for sample in family.samples
    )


def expressions() -> list[str]:
    """Return the rules without their comments, names and words, and the panels' expressions."""
    rules = re.sub(
        r"^ *(#|summary|description|runbook_url|- record|- name|- alert).*$", "", ALERTS.read_text(), flags=re.MULTILINE
    )
    return [re.sub(r"\w*:\w+:\w+", "", rules), *(expression for _, expression in panels())]


def test_what_is_spoken_of_exists(scraped: list[Metric]) -> None:
    """Each selector of the rules and the panels finds a series that is there from the start."""
    found = [one for text in expressions() for one in SELECTOR.finditer(text)]
    assert len(found) > 60
    missing = {one[0] for one in found if not selects(scraped, one["name"], one["labels"] or "")}
    assert missing == set()


def test_what_does_not_exist_would_be_noticed(scraped: list[Metric]) -> None:
    """The test above tells a series from none, by name and by label."""
    assert selects(scraped, "emag_api_refused", 'account=~".*", reason="credentials"')
    assert not selects(scraped, "emag_api_refusals", "")
    assert not selects(scraped, "emag_api_refused", 'reason="weather"')
    assert not selects(scraped, "emag_api_refused", 'status!="failed"')
    assert not selects(scraped, "emag_api_refused", 'reason!~".*"')


async def test_promtool_has_nothing_to_say_about_the_rules() -> None:
    """Prometheus' own linter takes the rules."""
    assert "SUCCESS" in await promtool("check", "rules", "--lint=all", "--lint-fatal", str(ALERTS))


@pytest.mark.timeout(300)
async def test_each_alert_fires_and_stays_quiet() -> None:
    """The scenarios of alerts_test.yml come out as they say, and none of the alerts is without one."""
    assert "SUCCESS" in await promtool("test", "rules", str(ALERTS_TEST))
    scenarios = ALERTS_TEST.read_text()
    for name in alerts():
        assert re.search(rf'labels: \'{{alertname="{name}"|alertname: {name}\n', scenarios), name


def test_each_alert_says_what_it_is_and_what_to_do() -> None:
    """Each has a severity, a summary, a description, and an entry of its own in the runbook."""
    assert len(alerts()) >= 20
    entries = Counter(re.findall(r"^### (\w+)$", RUNBOOK.read_text(), re.MULTILINE))
    assert entries == Counter(alerts().keys())
    for name, rule in alerts().items():
        assert re.search(r"severity: (critical|warning|info)\b", rule), name
        assert 'summary: "' in rule, name
        assert 'description: "' in rule, name
        assert f"runbook_url: docs/runbook.md#{name.lower()}\n" in rule, name
    for text in re.split(r"^### ", RUNBOOK.read_text(), flags=re.MULTILINE)[1:]:
        assert all(f"**{part}**" in text for part in ("Means", "Look", "Do")), text.split()[0]


def test_the_panels_fill_the_dashboard() -> None:
    """No panel overlaps another, none hangs over the edge, and each has an id of its own."""
    drawn = dashboard()["panels"]
    cells: list[tuple[int, int]] = []
    for place in (panel["gridPos"] for panel in drawn):
        assert place["x"] + place["w"] <= COLUMNS
        cells += [(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])]
    assert len(cells) == len(set(cells))
    assert len({panel["id"] for panel in drawn}) == len(drawn)
