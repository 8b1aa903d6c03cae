"""The history of runs in a browser, and one run's page."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from playwright.async_api import Page, expect

from emag_syncd.sandbox import Fault, Kind, Sandbox
from tests.support.daemon import Site
from tests.support.offers import Connection
from tests.web.conftest import API, hang, running
from tests.web.console.conftest import Opener

pytestmark = pytest.mark.timeout(180)

# Sixty runs, one an hour: every third of fbe, every fourth incremental, every tenth failed.
SIXTY = """
INSERT INTO emag_sync_logs (account_type, operation, status, started_at, completed_at, duration_seconds, errors)
SELECT CASE WHEN n % 3 = 0 THEN 'fbe' ELSE 'main' END, CASE WHEN n % 4 = 0 THEN 'incremental_sync' ELSE 'full_sync' END,
    CASE WHEN n % 10 = 0 THEN 'failed' ELSE 'completed' END, now() - n * interval '1 hour',
    now() - n * interval '1 hour' + interval '40 seconds', 40, '[]'
FROM generate_series(1, 60) AS n
"""


async def rows(page: Page) -> list[str]:
    """Return the lines of the list."""
    return await page.locator("#found .table tbody tr").all_inner_texts()


async def test_the_list_goes_on_page_by_page(site: Site, visit: Opener, sql: Connection) -> None:
    """All runs are there, each once, however often one begins meanwhile, and there is a way back."""
    await sql.execute(SIXTY)
    page = await visit(site, "/runs")
    seen: list[str] = []
    for more in (True, True, False):
        links = page.locator("#found .table tbody td:first-child a")
        seen += await links.evaluate_all("all => all.map(one => one.getAttribute('href'))")
        await sql.execute(
            "INSERT INTO emag_sync_logs (account_type, operation, status) VALUES ('x', 'full_sync', 'failed')"
        )
        if more:
            async with page.expect_navigation():
                await page.get_by_role("link", name="Older").click()
    assert len(seen) == len(set(seen)) == 60
    await expect(page.get_by_role("link", name="Older")).to_have_count(0)
    await page.get_by_role("link", name="Newest").click()
    await expect(page.locator("#found .table tbody tr").first).to_contain_text("x")


@pytest.mark.parametrize(
    ("name", "choice", "condition"),
    [
        ("#by-account", "fbe", "account_type = 'fbe'"),
        ("#by-operation", "incremental_sync", "operation = 'incremental_sync'"),
        ("#by-status", "failed", "status = 'failed'"),
        ("#since", None, "started_at >= current_date"),
    ],
)
async def test_a_filter_shows_what_matches(
    site: Site, visit: Opener, sql: Connection, name: str, choice: str | None, condition: str
) -> None:
    """A choice counts at once, in the list, in the chart and in the address, which can be kept."""
    await sql.execute(SIXTY)
    await sql.execute("SET timezone = 'UTC'")
    expected = await sql.fetchval(f"SELECT count(*) FROM emag_sync_logs WHERE {condition}")
    page = await visit(site, "/runs")
    field = page.locator(name)
    if choice is None:
        await field.fill(datetime.now(UTC).date().isoformat())
        await field.dispatch_event("change")
    else:
        await field.select_option(choice)
    await expect(page.locator("#found .table tbody tr")).to_have_count(min(expected, 25))
    found = await rows(page)
    await page.reload()
    assert [line.split("\t")[1:] for line in await rows(page)] == [line.split("\t")[1:] for line in found]
    if expected > 1:
        await expect(page.locator("#found .chart canvas")).to_be_visible()
        points = await page.locator("[data-chart=runs]").evaluate("block => JSON.parse(block.textContent).runs.length")
        assert points == expected


async def test_a_list_without_a_match_says_so(site: Site, visit: Opener, sql: Connection) -> None:
    """Nothing found is told apart from nothing there."""
    page = await visit(site, "/runs")
    await expect(page.locator("#found .empty")).to_contain_text("Nothing has run yet.")
    tomorrow = datetime.now(UTC) + timedelta(days=2)
    await page.goto(f"/runs?since={tomorrow.date()}")
    await expect(page.locator("#found .empty")).to_contain_text("No run matches.")
    refused = await site.get("/runs?status=odd&before=never", headers={"Accept": "text/html"})
    assert refused.status == 422


async def test_one_run_shows_all_that_it_did(site: Site, sandbox: Sandbox, visit: Opener, sql: Connection) -> None:
    """Its counters, changes and calls stand on its page; calls that failed can be asked for alone."""
    sandbox.accounts["main"].faults.add(Fault(Kind.STATUS, resource="product_offer/read", page=2, value=503))
    await site.post(f"{API}/sync", {"account_type": "main", "mode": "full"})
    await site.core.call_log.flush()
    page = await visit(site, "/runs")
    await page.locator("#found .table tbody td:first-child a").first.click()
    await expect(page.locator("h1")).to_contain_text("main, full")
    figures = page.locator("#run .figures")
    await expect(figures).to_contain_text(re.compile(r"Offers read\s*250"))
    await expect(figures).to_contain_text(re.compile(r"New\s*250"))
    await expect(page.locator("#changed tbody tr")).to_have_count(20)
    calls = await sql.fetchval("SELECT count(*) FROM emag_api_calls WHERE sync_log_id IS NOT NULL")
    await expect(page.locator("#calls tbody tr")).to_have_count(calls)
    await page.get_by_role("link", name="Only those that failed").click()
    await expect(page.locator("#calls tbody tr")).to_have_count(1)
    await expect(page.locator("#calls tbody tr")).to_contain_text("server error 503")


async def test_a_run_that_failed_says_why_and_what_to_do(
    site: Site, sandbox: Sandbox, visit: Opener, sql: Connection
) -> None:
    """The error stands above everything else, with its remedy; what a row holds by hand is shown as it is."""
    sandbox.accounts["main"].access.refused = 403
    run = (await site.post(f"{API}/sync", {"account_type": "main", "mode": "full"})).json["sync_id"]
    page = await visit(site, f"/runs/{run}")
    await expect(page.locator("#run .trouble .remedy")).to_contain_text("Check the user name and the password")
    await sql.execute("""UPDATE emag_sync_logs SET errors = '[7, "by hand", {"error": "<b>x</b>", "kind": "odd"}]'""")
    await page.reload()
    await expect(page.locator("#run .trouble")).to_have_count(3)
    await expect(page.locator("#run .trouble").last).to_have_text(re.compile("<b>x</b>"))


async def test_a_run_under_way_is_followed(site: Site, sandbox: Sandbox, visit: Opener) -> None:
    """Its page moves with it, and its button cancels it."""
    hang(sandbox, "main", page=3)
    run = await running(site, "main")
    page = await visit(site, f"/runs/{run}")
    await expect(page.locator("[data-field=processed_items]")).to_have_text(re.compile("^[1-9]"))
    await page.click("#cancel")
    await expect(page.locator("h1 .badge")).to_have_text("cancelled")
    await expect(page.locator("#cancel")).to_have_count(0)


@pytest.mark.parametrize("run", ["x", "00000000-0000-0000-0000-000000000000"])
async def test_a_run_that_is_none(site: Site, run: str) -> None:
    """An address that leads nowhere is a page that says so."""
    page = await site.get(f"/runs/{run}", headers={"Accept": "text/html"})
    assert page.status == 404
    assert "There is no such run" in page.text
