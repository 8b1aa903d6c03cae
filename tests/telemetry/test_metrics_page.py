"""docs/metrics.md says what a scrape has, and nothing else."""

import re

import pytest
from prometheus_client import Metric

from emag_syncd.telemetry.metrics import Metrics
from tests.support.engines import settings_of
from tests.support.rules import ROOT

PAGE = ROOT / "docs" / "metrics.md"
SUFFIXES = {"counter": "_total", "info": "_info"}
OPEN = {"account", "check", "le", "python", "version"}
"""Labels whose values the code does not know."""


@pytest.fixture
def families() -> list[Metric]:
    """Give our own metrics, with all series that there are from the start."""
    metrics = Metrics(settings_of("main").accounts, "1")
    metrics.checked_by(lambda: [((probe, "any"), True) for probe in ("livez", "readyz")])
    return [family for family in metrics.registry.collect() if family.name.startswith("emag_")]


def row(family: Metric) -> str:
    """Return what the page has to say of a metric."""
    labels = {label for sample in family.samples for label in sample.labels} - {"le"}
    ordered = sorted(labels, key=lambda label: (label != "account", label))
    name = family.name + SUFFIXES.get(family.type, "")
    return f"| `{name}` | {family.type} | {', '.join(f'`{label}`' for label in ordered)} | {family.documentation} |"


def test_the_page_has_every_metric(families: list[Metric]) -> None:
    """Name, type, labels and help text of each, as in the code."""
    assert re.findall(r"^\| `emag_.*$", PAGE.read_text(), re.MULTILINE) == sorted(map(row, families))


def rows_of(label: str, families: list[Metric]) -> list[str]:
    """Return what the page has to say of a label: once, unless it means something else in each metric."""
    values = {
        family.name + SUFFIXES.get(family.type, ""): tuple(
            sorted({sample.labels[label] for sample in family.samples if label in sample.labels})
        )
        for family in families
    }
    used = {name: own for name, own in values.items() if own}
    if len(set(used.values())) == 1:
        return [f"| `{label}` | {_listed(next(iter(used.values())))} |"]
    return [f"| `{label}` of `{name}` | {_listed(own)} |" for name, own in sorted(used.items())]


def _listed(values: tuple[str, ...]) -> str:
    return ", ".join(f"`{value}`" for value in values)


def test_the_page_has_every_value_of_a_label(families: list[Metric]) -> None:
    """What a label can be, for all labels whose values are closed."""
    labels = {label for family in families for sample in family.samples for label in sample.labels} - OPEN
    _, _, page = PAGE.read_text().partition("## Labels")
    written = [line for line in re.findall(r"^\| `.*$", page, re.MULTILINE) if " | the " not in line]
    assert written == [line for label in sorted(labels) for line in rows_of(label, families)]
