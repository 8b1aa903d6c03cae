"""What all pages of the console have in common."""

import base64
import hashlib
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from importlib import resources
from pathlib import Path

import pytest
from babel.messages import pofile
from jinja2 import Environment

from emag_syncd.sandbox import Sandbox
from emag_syncd.web.console import pages
from emag_syncd.web.console.assets import address
from emag_syncd.web.console.reader import LANGUAGES, Reader
from tests.support.daemon import Site, serving, settings_for
from tests.support.waiting import until

HTML = {"Accept": "text/html"}


async def test_a_page_brings_all_that_it_is_drawn_with(site: Site) -> None:
    """Scripts and styles come from the daemon, may be kept for ever, and nothing else may run."""
    page = await site.get("/", headers=HTML)
    assert (page.status, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "script-src 'self'" in page.headers["Content-Security-Policy"]
    assert "<script>" not in page.text
    assert " style=" not in page.text
    styles = page.text.partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(styles.encode()).digest()).decode()
    assert f"style-src 'self' 'sha256-{digest}';" in page.headers["Content-Security-Policy"]
    assert "<style>" not in (await site.get("/", headers=HTML | {"HX-Request": "true"})).text
    addresses = [part.split('"')[0] for part in page.text.split('="/static/')[1:]]
    assert {one.rpartition("/")[2] for one in addresses} >= {"app.js", "htmx.min.js", "icon.svg"}
    for one in addresses:
        asset = await site.get(f"/static/{one}")
        assert asset.status == 200
        assert "immutable" in asset.headers["Cache-Control"]


async def test_an_asset_is_packed_for_those_who_unpack(site: Site) -> None:
    """A browser gets fewer bytes, and who can't unpack them gets the same."""
    asset = address("app.js")
    packed = await site.get(asset, headers={"Accept-Encoding": "gzip, br"})
    plain = await site.get(asset, headers={"Accept-Encoding": "identity"})
    assert (packed.headers["Content-Encoding"], packed.headers["Vary"]) == ("gzip", "Accept-Encoding")
    assert "Content-Encoding" not in plain.headers
    assert int(packed.headers["Content-Length"]) < int(plain.headers["Content-Length"]) / 2
    assert packed.text == plain.text


async def test_the_pages_are_ready_before_they_are_asked_for(
    sandbox: Sandbox, database_url: str, tmp_path: Path
) -> None:
    """What takes long the first time is done when the daemon has started, in every language."""
    pages._prepare.cache_clear()
    pages._environment.cache_clear()
    async with serving(settings_for(sandbox, tmp_path), database_url):
        await until(lambda: all(_is_compiled(pages._environment(language)) for language in LANGUAGES))


def _is_compiled(environment: Environment) -> bool:
    return environment.cache is not None and len(environment.cache) == len(environment.list_templates())


async def test_an_asset_of_another_version_is_not_there(site: Site) -> None:
    """An address names the content: what has changed is never served under the old one."""
    assert (await site.get("/static/000000000000/app.js")).status == 404
    assert (await site.get("/static/000000000000/..%2Fpages.py")).status == 404


@pytest.mark.parametrize(
    ("wished", "language"),
    [
        ("", "en"),
        ("ro-RO,ro;q=0.9,en;q=0.5", "ro"),
        ("de-DE, ro;q=0.4", "ro"),
        ("de", "en"),
        ("en-GB,ro", "en"),
        (";;,,*", "en"),
    ],
)
async def test_the_language_is_the_browsers(site: Site, wished: str, language: str) -> None:
    """The first language wished for that there is; else English."""
    page = await site.get("/", headers=HTML | {"Accept-Language": wished})
    assert f'<html lang="{language}">' in page.text


async def test_errors_are_pages_for_those_who_read_pages(site: Site) -> None:
    """A browser gets a page with words, a program a problem document."""
    page = await site.get("/nowhere", headers=HTML)
    assert (page.status, page.headers["Content-Type"]) == (404, "text/html; charset=utf-8")
    assert "There is no such page." in page.text
    assert (await site.get("/nowhere")).headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("language", LANGUAGES[1:])
def test_every_text_is_translated(language: str) -> None:
    """A language that is offered is offered whole: run make messages after a change of texts."""
    source = resources.files("emag_syncd.web.console") / "locale" / f"{language}.po"
    with source.open("rb") as stream:
        catalog = pofile.read_po(stream, locale=language)
    assert [message.id for message in catalog if message.id and (not message.string or message.fuzzy)] == []
    assert [(message.id, errors) for message, errors in catalog.check()] == []


def test_numbers_and_times_are_written_as_in_the_language() -> None:
    """Separators, currencies, shares and distances in time are those of the reader."""
    english, romanian = Reader("en"), Reader("ro")
    assert (english.number(1234567), romanian.number(1234567)) == ("1,234,567", "1.234.567")
    assert romanian.money(Decimal("1234.5"), "RON") == "1.234,50\xa0RON"
    assert english.money(Decimal("0.0249"), None) == "0.0249"
    assert romanian.percent(0.25) == "25\xa0%"
    assert english.duration(3723) == "1 h 2 min"
    assert (english.duration(0.25), english.duration(4.25), english.duration(60)) == ("250 ms", "4.2 s", "1 min")
    assert ">3 hours ago<" in english.ago(datetime.now(UTC) - timedelta(hours=3))
    assert ">peste 2 zile<" in romanian.ago(datetime.now(UTC) + timedelta(days=2))
    assert english.ago(None) == english.number(None) == english.moment(None)
