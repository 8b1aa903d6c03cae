"""What operators feed to Prometheus and Grafana, printed without any configuration."""

import json

from tests.cli.support import Desk
from tests.support.rules import ALERTS, promtool


async def test_the_rules_are_printed(desk: Desk) -> None:
    """Standard output is the file of rules, and Prometheus takes it."""
    printed = await desk.run("alerts")
    assert (printed.code, printed.err) == (0, "")
    assert printed.out == ALERTS.read_text()
    (desk.folder / "alerts.yml").write_text(printed.out)
    assert "SUCCESS" in await promtool("check", "rules", "--lint=all", "--lint-fatal", str(desk.folder / "alerts.yml"))


async def test_the_links_lead_to_where_the_runbook_is_published(desk: Desk) -> None:
    """With an address each alert links to it, and nothing else changes."""
    page = "https://wiki.example/emag-syncd/runbook.html"
    printed = await desk.run("alerts", "--runbook", page)
    assert printed.code == 0
    assert f"runbook_url: {page}#emagsyncstale\n" in printed.out
    assert printed.out.replace(page, "docs/runbook.md") == ALERTS.read_text()


async def test_the_dashboard_is_printed(desk: Desk) -> None:
    """Standard output is JSON as Grafana imports it."""
    printed = await desk.run("dashboard")
    assert (printed.code, printed.err) == (0, "")
    dashboard = json.loads(printed.out)
    assert dashboard["title"] == "emag-syncd"
    assert [one["name"] for one in dashboard["templating"]["list"]] == ["datasource", "job", "account"]
