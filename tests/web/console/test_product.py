"""One product's page in a browser: why it does not sell, how it came to be as it is, and all that is said of it."""

from typing import Any

import pytest
from playwright.async_api import expect

from emag_syncd.sandbox import Sandbox
from emag_syncd.web.console.product import messages
from tests.support.daemon import Site
from tests.support.offers import Connection
from tests.web.conftest import API
from tests.web.console.conftest import Opener
from tests.web.console.stock import fill

pytestmark = pytest.mark.timeout(180)

DASH = "\N{EN DASH}"


async def test_why_it_does_not_sell(site: Site, sql: Connection, visit: Opener) -> None:
    """Each reason is a sentence with what to do, beside what the marketplace asks for, as text."""
    await fill(sql)
    page = await visit(site, "/products/main/3")
    await expect(page.locator("h1")).to_have_text("Lampă <i>albă</i>")
    why = page.locator("#why li")
    await expect(why).to_have_count(3)
    await expect(why.nth(0)).to_contain_text("The offer is not active.")
    await expect(why.nth(1)).to_contain_text("eMAG does not accept the price.")
    await expect(why.nth(2)).to_contain_text("eMAG has not accepted the documentation.")
    await expect(page.locator("#complaints li")).to_have_text("Lipsește poza din față")
    await expect(page.locator("#facts")).to_contain_text("5 in stock, sent within 2 days")
    await page.locator("#raw summary").click()
    await expect(page.locator("#raw pre")).to_contain_text('"description": "Rejected"')
    await page.goto("/products/main/5")
    await expect(page.locator("#why")).to_contain_text("eMAG does not have this offer any more")
    await page.goto("/products/main/4")
    await expect(page.locator("#why")).to_contain_text("eMAG does not say enough")
    await page.goto("/products/main/1")
    await expect(page.locator("#why")).to_have_count(0)


async def test_its_history_as_charts_and_as_a_table(site: Site, sql: Connection, visit: Opener) -> None:
    """Price, stock and rank are drawn; the table has the same for those who don't see charts."""
    await fill(sql)
    page = await visit(site, "/products/main/1")
    await expect(page.locator(".chart canvas")).to_have_count(3)
    await expect(page.get_by_role("img", name="Price over time")).to_be_visible()
    await page.locator("#as-table summary").click()
    values = await page.locator("#values tr").all_inner_texts()
    assert [line.split("\t")[1:] for line in values] == [
        ["RON\xa028.9256", DASH, DASH],
        [DASH, "3", "rank 1"],
        ["removed", "removed", "removed"],
        ["RON\xa024.00", DASH, DASH],
        ["RON\xa030.00", "7", DASH],
    ]
    await page.goto("/products/main/2")
    await expect(page.locator(".chart canvas")).to_have_count(0)
    await expect(page.locator(".chart").first).to_have_text("eMAG has never told a value.")


async def test_every_change_in_words(site: Site, sql: Connection, visit: Opener) -> None:
    """The changes are listed newest first, each with what there was and what there is, in the reader's language."""
    await fill(sql)
    page = await visit(site, "/products/main/1", language="ro")
    entries = page.locator("#changes .feed > li")
    await expect(entries).to_have_count(5)
    await expect(entries.nth(0)).to_contain_text("Preț 24,00\xa0RON →la 28,9256\xa0RON +21\xa0%")
    await expect(entries.nth(0)).to_contain_text("Stare inactivă →la activă")
    await expect(entries.nth(1)).to_contain_text("revenită")
    await expect(entries.nth(2)).to_contain_text("eliminat")
    await expect(entries.nth(3)).to_contain_text("și weight")
    await expect(entries.nth(4)).to_contain_text("Preț 30,00\xa0RON · Stoc 7")


async def test_it_is_followed_while_it_is_open(site: Site, sandbox: Sandbox, visit: Opener) -> None:
    """What a run finds changed is on the open page, in its figures, its charts and its changes."""
    await site.post(f"{API}/sync", {"account_type": "main", "mode": "full"})
    catalogue = sandbox.accounts["main"].catalogue
    offer = catalogue.ids[0]
    page = await visit(site, f"/products/main/{offer}")
    before = await page.locator("#points").text_content()
    catalogue.update(offer, sale_price=4321.5)
    await site.post(f"{API}/sync", {"account_type": "main", "mode": "full"})
    await expect(page.locator("#offer")).to_contain_text("RON\xa04,321.50")
    await expect(page.locator("#changes .feed > li")).to_have_count(2)
    assert await page.locator("#points").text_content() != before
    await expect(page.locator(".chart canvas")).to_have_count(3)


@pytest.mark.parametrize(
    "path", ["/products/main/99", "/products/main/x", "/products/%00/1", f"/products/main/{10**30}"]
)
async def test_a_product_that_is_none(site: Site, path: str) -> None:
    """An address of no product is a page that says so."""
    answer = await site.get(path, headers={"Accept": "text/html"})
    assert (answer.status, "there is no product" in answer.text) == (404, True)


@pytest.mark.parametrize(
    ("status", "texts"),
    [
        (None, []),
        ([], []),
        ({"value": 1, "description": "Saleable", "errors": None}, []),
        ([{"value": 8, "description": "Rejected", "errors": ["EAN greșit", "EAN greșit"]}], ["EAN greșit"]),
        (
            [{"value": 8, "errors": [{"message": {"ro_RO": "Fără poză", "en_GB": "No picture"}}]}],
            ["Fără poză", "No picture"],
        ),
        ({"value": 2, "errors": {"price": [{"text": "prea mic"}], "code": 7}}, ["prea mic"]),
        ({"errors": [[[[[[[[["so deep"]]]]]]]]]}, []),
        ("odd", []),
    ],
)
def test_what_a_validation_complains_of(status: Any, texts: list[str]) -> None:
    """Texts are found in every form that validations come in, each once; no form is an error."""
    assert list(messages(status)) == texts
