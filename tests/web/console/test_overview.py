"""The overview in a browser: what it says of each account, what its buttons do, and what it makes of trouble."""

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from emag_syncd.config import Settings
from emag_syncd.domain.schedules import Every
from emag_syncd.sandbox import Sandbox
from emag_syncd.web.console.overview import CARDS
from tests.support.daemon import Site, serving, settings_for
from tests.support.engines import settings_of
from tests.support.offers import Connection, by_hand
from tests.support.server import database_proxy, target_of
from tests.support.waiting import until
from tests.web.conftest import API, hang, running
from tests.web.console.conftest import Opener

pytestmark = pytest.mark.timeout(180)

LIVE = "SELECT count(*) FROM emag_products WHERE account_type = 'main' AND removed_at IS NULL AND "
FIGURES = {
    "Offers on sale": "status = 1",
    "Sellable": "is_sellable",
    "Out of stock": "status = 1 AND general_stock = 0",
    "Buy button lost": "status = 1 AND buy_button_rank > 1",
    "Not on sale": "status <> 1",
}


async def figures(page: Page, account: str = "main") -> dict[str, int]:
    """Return the numbers of an account's card."""
    found = page.locator(f"#account-{account} .figure")
    words, values = await found.locator("dt").all_inner_texts(), await found.locator("dd").all_inner_texts()
    return {word: int(value.replace(",", "")) for word, value in zip(words, values, strict=True)}


async def test_an_account_is_shown_as_it_is(site: Site, visit: Opener, sql: Connection) -> None:
    """Before its first run the page says so; after it the numbers are the database's, without a reload."""
    page = await visit(site)
    card = page.locator("#account-main")
    await expect(card.locator(".verdict")).to_have_text("Never read completely")
    await expect(page.locator("#recent .empty")).to_contain_text("Nothing has run yet.")
    await site.post(f"{API}/sync", {"account_type": "main", "mode": "full"})
    await expect(card.locator(".verdict")).to_have_text(re.compile("^Right as of .*(now|second|minute)"))
    expected = {words: await sql.fetchval(LIVE + condition) for words, condition in FIGURES.items()}
    await expect(card.locator(".figures")).to_be_visible()
    seen = await figures(page)
    assert {words: seen[words] for words in expected} == expected
    await expect(page.locator("#recent tbody tr")).to_have_count(1)


@pytest.fixture
async def slow(sandbox: Sandbox, database_url: str, tmp_path: Path) -> AsyncIterator[Site]:
    """Serve the pages of a daemon that reads six pages a second."""
    pace = {"requests_per_second": 6, "requests_per_minute": 360}
    async with serving(settings_for(sandbox, tmp_path, marketplace=pace), database_url) as site:
        yield site


async def test_sync_now_shows_the_run_live(slow: Site, visit: Opener, sql: Connection) -> None:
    """The dialog starts a run in the console's name; its progress moves by itself, and its end shows."""
    page = await visit(slow)
    await page.click("#sync-main")
    dialog = page.locator("dialog#sync")
    await expect(dialog.locator("[name=account_type]")).to_have_value("main")
    await dialog.get_by_label("Full").check()
    await dialog.locator("summary").click()
    await dialog.get_by_label("Offers a page").fill("5")
    await dialog.get_by_role("button", name="Start").click()
    await expect(page.locator("#toasts")).to_contain_text("The sync of main has started.")
    await expect(dialog).to_be_hidden()
    card = page.locator("#account-main")
    await expect(card.locator(".badge.running")).to_be_visible()
    done = card.locator("[data-field=processed_items]")
    await expect(done).to_have_text(re.compile("^[1-9]"))
    first = await done.inner_text()
    await expect(done).not_to_have_text(first)
    assert 0 < await card.locator("progress").evaluate("bar => bar.value") <= 250
    await expect(card.locator(".badge.running")).to_have_count(0)
    await expect(card.locator(".verdict")).to_have_class(re.compile("good"))
    row = await sql.fetchrow("SELECT operation, status, triggered_by FROM emag_sync_logs")
    assert row is not None
    assert tuple(row) == ("full_sync", "completed", "console")


async def test_a_refusal_stays_in_the_dialog(site: Site, visit: Opener, sql: Connection) -> None:
    """What can't be started is said where it was asked for, and what was filled in stays."""
    page = await visit(site)
    await page.click("#sync-main")
    dialog = page.locator("dialog#sync")
    await dialog.get_by_label("Selective").check()
    await dialog.get_by_role("button", name="Start").click()
    await expect(dialog.locator(".outcome")).to_contain_text("mode selective needs filters")
    await expect(dialog).to_be_visible()
    await dialog.get_by_label("eMAG id").fill("x1")
    await dialog.get_by_role("button", name="Start").click()
    await expect(dialog.locator(".outcome")).to_contain_text("id must be a whole number")
    await expect(dialog.get_by_label("eMAG id")).to_have_value("x1")
    assert await sql.fetchval("SELECT count(*) FROM emag_sync_logs") == 0
    await dialog.get_by_label("eMAG id").fill("1")
    await dialog.get_by_role("button", name="Start").click()
    await expect(dialog).to_be_hidden()
    await until(lambda: sql.fetchval("SELECT operation = 'selective_sync' FROM emag_sync_logs"))


async def test_cancel_ends_the_run(site: Site, sandbox: Sandbox, visit: Opener, sql: Connection) -> None:
    """The button is there while a run is, and ends it for real."""
    hang(sandbox, "main")
    page = await visit(site)
    await expect(page.locator("#cancel-main")).to_have_count(0)
    await running(site, "main")
    await page.click("#cancel-main")
    await expect(page.locator("#toasts")).to_contain_text("The sync of main was cancelled.")
    await expect(page.locator("#sync-main")).to_be_visible()
    assert await sql.fetchval("SELECT status FROM emag_sync_logs") == "cancelled"


async def test_cleanup_is_there_while_something_runs_and_asks_first(site: Site, visit: Opener, sql: Connection) -> None:
    """It ends nothing before it is confirmed, says how many it ended, and is gone when nothing runs."""
    page = await visit(site)
    await expect(page.locator("#ask-sync")).to_be_visible()
    await expect(page.locator("#ask-clean-up")).to_have_count(0)
    await sql.execute(
        "INSERT INTO emag_sync_logs (account_type, operation, started_at)"
        " VALUES ('main', 'full_sync', now() - interval '20 minutes')"
    )
    await page.click("#ask-clean-up")
    dialog = page.locator("dialog#clean-up")
    await dialog.get_by_label("Minutes").fill("30")
    await dialog.get_by_role("button", name="End them").click()
    await expect(page.locator("#toasts")).to_contain_text("None was ended")
    assert await sql.fetchval("SELECT status FROM emag_sync_logs") == "running"
    await page.click("#ask-clean-up")
    await dialog.get_by_label("Minutes").fill("15")
    await dialog.get_by_role("button", name="End them").click()
    await expect(page.locator("#toasts")).to_contain_text("1 run was ended.")
    await expect(page.locator("#ask-clean-up")).to_have_count(0)
    assert await sql.fetchval("SELECT status FROM emag_sync_logs") == "failed"


async def test_a_connection_is_tried(site: Site, sandbox: Sandbox, visit: Opener) -> None:
    """The button says that all is well, or what is wrong and what to do."""
    page = await visit(site)
    await page.click("#test-main")
    await expect(page.locator("#toasts")).to_contain_text("main works: the marketplace has 250 of its offers.")
    sandbox.accounts["main"].access.allowed_ips = frozenset({"192.0.2.1"})
    await page.click("#test-main")
    refusal = page.locator("#toasts .toast.bad")
    await expect(refusal).to_contain_text("Add the public address of this machine to the eMAG account")


async def test_a_marketplace_that_refuses_is_told_of_with_the_remedy(
    site: Site, sandbox: Sandbox, visit: Opener
) -> None:
    """The card says which run failed, with what, and what to do; a run that completes takes that away."""
    page = await visit(site, language="ro")
    sandbox.accounts["main"].access.refused = 403
    await site.post(f"{API}/sync", {"account_type": "main", "mode": "full"})
    ended = page.locator("#account-main .ended")
    await expect(ended.locator(".badge.failed")).to_have_text("eșuată")
    await expect(ended.locator(".remedy")).to_contain_text("Verificați utilizatorul și parola")
    sandbox.accounts["main"].access.refused = None
    await site.post(f"{API}/sync", {"account_type": "main", "mode": "full"})
    await expect(ended).to_have_count(0)


async def test_a_database_that_goes_away_while_the_page_is_open(
    sandbox: Sandbox, database_url: str, tmp_path: Path, visit: Opener
) -> None:
    """The page keeps what it showed and says why it is old; when the database is back, so is the page."""
    async with (
        database_proxy(database_url) as (proxy, through),
        serving(settings_for(sandbox, tmp_path), through) as site,
    ):
        page = await visit(site)
        await expect(page.locator("#trouble")).to_be_hidden()
        proxy.point_at(("127.0.0.1", 1))
        await site.health.probe()
        await expect(page.locator("#trouble")).to_contain_text("What you see is as it last was.")
        await expect(page.locator("#account-main")).to_be_visible()
        other = await visit(site, "/runs")
        await expect(other.locator(".card.trouble")).to_be_visible()
        proxy.point_at(target_of(database_url))
        await site.health.probe()
        await expect(page.locator("#trouble")).to_be_hidden()
        await expect(other.locator("h1")).to_have_text("Runs")


async def test_a_daemon_that_is_gone_is_told_of(
    sandbox: Sandbox, database_url: str, tmp_path: Path, visit: Opener
) -> None:
    """A page whose daemon ended says that it can't be reached, and keeps what it showed."""
    async with serving(settings_for(sandbox, tmp_path), database_url) as site:
        page = await visit(site)
    await expect(page.locator(".banner.when-lost")).to_be_visible()
    await expect(page.locator("#account-main")).to_be_visible()


async def test_without_an_account_it_says_what_to_do(database_url: str, tmp_path: Path, visit: Opener) -> None:
    """An empty console names the settings that are missing."""
    async with serving(Settings.of({"http": {"port": 0}}, tmp_path), database_url) as site:
        page = await visit(site)
        await expect(page.locator("#accounts .empty")).to_contain_text("accounts.NAME.username")
        await expect(page.locator("#ask-sync")).to_have_count(0)


async def test_a_copy_that_is_older_than_its_schedule_promises_is_overdue(
    sandbox: Sandbox, database_url: str, tmp_path: Path, sql: Connection
) -> None:
    """What was right three days ago is not called right where it is to be read every day."""
    settings = settings_for(sandbox, tmp_path)
    daily = replace(settings.accounts["main"], full=Every(timedelta(days=1)))
    settings = replace(settings, accounts={**settings.accounts, "main": daily})
    await sql.execute(
        "INSERT INTO emag_sync_logs (account_type, operation, status, started_at, completed_at)"
        " SELECT name, 'full_sync', 'completed', now() - interval '3 days', now() - interval '3 days'"
        " FROM unnest(ARRAY['main', 'fbe']) AS name"
    )
    async with serving(settings, database_url) as site:
        site.schedule._lay_out()
        page = await site.get("/", headers={"Accept": "text/html"})
    assert page.text.count("Overdue: right as of") == 1
    assert page.text.count(">Right as of") == 1


async def test_many_accounts_come_by_pages(database_url: str, tmp_path: Path, sql: Connection) -> None:
    """Those that need a look come first, then what runs; each is on one page, and all can be synced from any."""
    names = [f"a{number:03}" for number in range(2 * CARDS + 5)]
    await sql.execute(
        "INSERT INTO emag_sync_logs (account_type, operation, status, completed_at)"
        " SELECT name, 'full_sync', CASE name WHEN 'a050' THEN 'failed' ELSE 'completed' END, now()"
        " FROM unnest($1::text[]) AS name",
        names,
    )
    await sql.execute(
        "INSERT INTO emag_sync_logs (account_type, operation, status, started_at, completed_at)"
        " VALUES ('a050', 'full_sync', 'completed', now() - interval '1 h', now() - interval '1 h')"
    )
    await by_hand(sql, "a060", status="running")
    seen = []
    async with serving(settings_of(*names, http={"port": 0}), database_url) as site:
        for page in (1, 2, 3):
            text = (await site.get(f"/?page={page}", headers={"Accept": "text/html"})).text
            seen.append(re.findall(r'id="account-(a\d+)"', text))
            assert text.count("<option>a") == len(names)
            assert "1 of 65 accounts need a look" in text
            assert ("Next page" in text, "First page" in text) == (page < 3, page > 1)
    assert seen[0][:3] == ["a050", "a060", "a000"]
    assert [len(page) for page in seen] == [CARDS, CARDS, 5]
    assert sorted(name for page in seen for name in page) == names


async def test_counting_holds_up_no_page(site: Site, sql: Connection) -> None:
    """While the offers are being counted, however many there are, the overview is served without the numbers."""
    async with sql.transaction():
        await sql.execute("LOCK TABLE emag_products")
        page = await site.get("/", headers={"Accept": "text/html"})
        assert page.status == 200
        assert "Offers on sale" not in page.text
