"""The list of products in a browser: what it finds, how it is sorted, what it shows."""

import asyncio
import csv
import io
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from emag_syncd.sandbox import Sandbox
from tests.support.daemon import Site, serving, settings_for
from tests.support.offers import Connection
from tests.support.server import database_proxy, target_of
from tests.web.conftest import API
from tests.web.console.conftest import Opener
from tests.web.console.stock import MANY, fill

pytestmark = pytest.mark.timeout(180)

USUAL = ["fbe 1", "main 1", "main 2", "main 3", "main 4"]


async def listed(page: Page, *products: str) -> None:
    """Wait until the list has these products, named by account and id, in this order."""
    links = page.locator("#rows th a")
    await expect(links).to_have_count(len(products))
    for number, product in enumerate(products):
        await expect(links.nth(number)).to_have_attribute("href", f"/products/{product.replace(' ', '/')}")


async def test_each_filter_leaves_what_matches(site: Site, sql: Connection, visit: Opener) -> None:
    """Every filter narrows the list at once, says so in the address, and is still there after a reload."""
    await fill(sql)
    page = await visit(site, "/products")
    await listed(page, *USUAL)
    await expect(page.locator("#total")).to_have_text("5 products")
    for name, choice, query, products in [
        ("by-account", "fbe", "account_type=fbe", ["fbe 1"]),
        ("by-sellable", "yes", "sellable=true", ["fbe 1", "main 1"]),
        ("by-sellable", "not known", "sellable=unknown", ["main 4"]),
        ("by-reason", "no stock", "why_not=stock", ["main 2"]),
        ("by-reason", "price not accepted", "why_not=price", ["main 3"]),
        ("by-status", "inactive", "status=0", ["main 3"]),
        ("by-stock", "out of stock", "in_stock=false", ["main 2"]),
        ("by-button", "lost", "buy_button=lost", ["main 2"]),
        ("by-validation", "rejected", "validation_status=8", ["main 3"]),
        ("by-removed", "only them", "removed=true", ["main 5"]),
    ]:
        select = page.locator(f"select#{name}")
        await select.select_option(label=choice)
        await listed(page, *products)
        await expect(page).to_have_url(f"{site.address}/products?{query}")
        await expect(page.locator("#total")).to_have_text(f"{len(products)} product{'s'[: len(products) - 1]}")
        await page.reload()
        await listed(page, *products)
        await expect(select.locator("option:checked")).to_have_text(choice)
        await select.select_option(index=0)
        await listed(page, *USUAL)
    await expect(page).to_have_url(f"{site.address}/products")


async def test_searching_while_typing(site: Site, sql: Connection, visit: Opener) -> None:
    """Names, part numbers and EANs are found as they are typed; what is not there is said, and leads back."""
    await fill(sql)
    page = await visit(site, "/products")
    search = page.get_by_label("Search")
    for typed, products in [("cablu usb", ["fbe 1", "main 1"]), ("HS-1", ["main 2"]), ("5941234567890", ["main 1"])]:
        await search.fill(typed)
        await listed(page, *products)
        await expect(search).to_be_focused()
    await search.fill("<nimic>")
    await expect(page.locator("#rows")).to_contain_text("No product matches.")
    await page.get_by_role("link", name="Without filters").click()
    await listed(page, *USUAL)
    await page.go_back()
    await expect(page.get_by_label("Search")).to_have_value("<nimic>")


async def test_sorting_by_a_heading_and_by_the_choice(site: Site, sql: Connection, visit: Opener) -> None:
    """A heading sorts, once more the other way; the choice of orders follows, and filters keep the order."""
    await fill(sql)
    page = await visit(site, "/products")
    heading = page.locator("thead th", has_text="Price")
    await heading.get_by_role("link").click()
    await listed(page, "main 2", "main 1", "fbe 1", "main 4", "main 3")
    await expect(heading).to_have_attribute("aria-sort", "descending")
    await expect(page.locator("#sort")).to_have_value("-sale_price")
    await heading.get_by_role("link").click()
    await listed(page, "main 3", "main 4", "fbe 1", "main 1", "main 2")
    await page.locator("#by-sellable").select_option(label="yes")
    await listed(page, "fbe 1", "main 1")
    await page.locator("#sort").select_option("-name")
    await listed(page, "main 1", "fbe 1")
    await expect(page.locator("thead th", has_text="Name")).to_have_attribute("aria-sort", "descending")


async def test_columns_are_chosen_once(site: Site, sql: Connection, visit: Opener) -> None:
    """A column that is ticked is shown, here and at the next visit; its values are those of the database."""
    await fill(sql)
    page = await visit(site, "/products")
    headings = page.locator("thead th")
    await expect(headings).to_have_text(["Name", "Account", "Sells", "Price", "Stock", "Buy button", "Last change"])
    await page.locator(".chooser summary").click()
    await page.locator("[name=column][value=ean]").check()
    await page.locator("[name=column][value=brand]").check()
    await page.locator("[name=column][value=account_type]").uncheck()
    chosen = ["Name", "Sells", "Price", "Stock", "Buy button", "Brand", "EAN", "Last change"]
    await expect(headings).to_have_text(chosen)
    await expect(page).to_have_url(f"{site.address}/products")
    await page.keyboard.press("Escape")
    await expect(page.locator(".chooser fieldset")).to_be_hidden()
    await page.goto("/products?account_type=main&sort=id")
    await expect(headings).to_have_text(chosen)
    row = page.locator("#rows tr").first
    await expect(row.locator("td").nth(1)).to_have_text("RON\xa028.9256")
    await expect(row.locator("td").nth(5)).to_have_text("5941234567890")


async def test_what_is_filtered_is_downloaded(site: Site, sql: Connection, visit: Opener) -> None:
    """The file has the products of the list, all pages of it, and no other."""
    await fill(sql)
    await sql.execute(MANY, 60)
    page = await visit(site, "/products?sellable=true&sort=-name&search=produs")
    await expect(page.locator("#rows tr")).to_have_count(50)
    async with page.expect_download() as event:
        await page.get_by_role("link", name="Download as CSV").click()
    file = await asyncio.to_thread((await (await event.value).path()).read_text, "utf-8-sig")
    lines = list(csv.DictReader(io.StringIO(file)))
    assert len(lines) == 54
    assert {line["is_sellable"] for line in lines} == {"true"}


async def test_a_long_list_goes_on_page_by_page(site: Site, sql: Connection, visit: Opener) -> None:
    """Each product comes once, in the order of the list; the way back is the browser's, or to the beginning."""
    await sql.execute(MANY, 120)
    page = await visit(site, "/products?sort=-sale_price")
    seen: list[str] = []
    for count in (50, 50, 20):
        await expect(page.locator("#rows tr")).to_have_count(count)
        seen += await page.locator("#rows th a").all_inner_texts()
        if count == 50:
            await page.get_by_role("link", name="Next page").click()
            await expect(page.locator("#rows th a").first).not_to_have_text(seen[-50])
    assert seen == [f"Produs {number}" for number in range(1119, 999, -1)]
    await expect(page.get_by_role("link", name="Next page")).to_have_count(0)
    await page.go_back()
    await expect(page.locator("#rows th a").first).to_have_text("Produs 1069")
    await page.get_by_role("link", name="First page").click()
    await expect(page.locator("#rows th a").first).to_have_text("Produs 1119")
    await page.get_by_label("Search").fill("produs 1001")
    await listed(page, "main 1001")


async def test_the_list_fills_while_a_run_reads(site: Site, visit: Opener) -> None:
    """An empty list says why, and needs nobody to reload it."""
    page = await visit(site, "/products")
    await expect(page.locator("#rows")).to_contain_text("No product has been read yet.")
    await site.post(f"{API}/sync", {"account_type": "main", "mode": "full"})
    await expect(page.locator("#rows tr")).to_have_count(50)
    await expect(page.locator("#total")).to_have_text("250 products")


async def test_without_scripts(site: Site, sql: Connection, visit: Opener) -> None:
    """Filters, orders, columns and pages are a plain form and plain links."""
    await fill(sql)
    page = await visit(site, "/products", live=False, java_script_enabled=False)
    await page.get_by_label("Search").fill("cablu")
    await page.locator("#sort").select_option("-sale_price")
    await page.locator(".chooser summary").click()
    await page.locator("[name=column][value=brand]").check()
    await page.get_by_role("button", name="Show").click()
    await listed(page, "main 1", "fbe 1")
    await expect(page.locator("thead")).to_contain_text("Brand")
    await page.locator("thead a", has_text="Name").click()
    await listed(page, "fbe 1", "main 1")


async def test_a_database_that_goes_away(
    sandbox: Sandbox, database_url: str, sql: Connection, tmp_path: Path, visit: Opener
) -> None:
    """The list stays as it was and says that it is old; when the database is back it goes on by itself."""
    await fill(sql)
    async with (
        database_proxy(database_url) as (proxy, through),
        serving(settings_for(sandbox, tmp_path), through) as site,
    ):
        page = await visit(site, "/products")
        await listed(page, *USUAL)
        proxy.point_at(("127.0.0.1", 1))
        await page.locator("#by-sellable").select_option(label="yes")
        await expect(page.locator("#trouble")).to_contain_text("What you see is as it last was.")
        await listed(page, *USUAL)
        proxy.point_at(target_of(database_url))
        await sql.execute("UPDATE emag_products SET name = 'Înapoi' WHERE emag_id = 2")
        await expect(page.locator("#trouble")).to_be_hidden()
        await expect(page.locator("#offer-main-2")).to_have_text("Înapoi")


async def test_what_can_not_be_asked_for_is_a_page(site: Site) -> None:
    """A wrong address is refused by the name of what is wrong in it."""
    answer = await site.get("/products?sort=colour&status=x", headers={"Accept": "text/html"})
    assert answer.status == 422
    assert "sort must be one of id, -id" in answer.text
    assert "status: input should be a valid integer" in answer.text


async def test_names_are_shown_and_not_run(site: Site, sql: Connection) -> None:
    """What the marketplace says is text, whatever it looks like, and Romanian numbers are Romanian."""
    await fill(sql)
    answer = await site.get("/products", headers={"Accept": "text/html", "Accept-Language": "ro"})
    assert "Lampă &lt;i&gt;albă&lt;/i&gt;" in answer.text
    assert "28,9256\xa0RON" in answer.text
    assert "1.234,50\xa0RON" in answer.text
    assert "5 produse" in answer.text
