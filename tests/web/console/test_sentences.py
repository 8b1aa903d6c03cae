"""How runs ended, in the reader's language: what this daemon writes itself, and what others say."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import emag_syncd
from emag_syncd.domain.runs import ErrorKind
from emag_syncd.web.console.reader import Reader
from emag_syncd.web.console.sentences import SENTENCES
from tests.support.daemon import Site
from tests.support.offers import Connection
from tests.web.console.conftest import Opener

ROOT = Path(emag_syncd.__file__).parent
GAP = "\0"
PARTS = (", while their number fell", f" and {GAP} more stretches")
"""What stands in a sentence or not: in the sources it is a gap of its own."""


def written() -> Iterator[str]:
    """Find all that stands in the daemon's sources as text, with a gap for each value."""
    for path in ROOT.rglob("*.py"):
        if path.name != "sentences.py":
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                match node:
                    case ast.JoinedStr(values):
                        yield "".join(str(one.value) if isinstance(one, ast.Constant) else GAP for one in values)
                    case ast.Constant(str() as text):
                        yield re.sub(r"\{\w+\}", GAP, text)
    for path in ROOT.rglob("*.sql"):
        yield path.read_text("utf-8").replace("%s", GAP)


def test_the_sentences_are_those_that_are_written() -> None:
    """A sentence that the daemon says otherwise from now on would no more be translated."""
    known = [re.sub(f"{GAP}+", GAP, text) for text in written()]
    sentences = {re.sub(r"%\(\w+\)s", GAP, one) for one in SENTENCES}
    for part in PARTS:
        assert any(part in text for text in known)
        sentences = {one.replace(part, "") for one in sentences}
    assert sorted(one for one in sentences if not any(one in text for text in known)) == []


HOLES = "Offers 1 to 9{} of 90 could not be read ({}). The next {} run reads {}."
GAPS = "Ofertele 1 to 9{} din 90 nu au putut fi citite ({}). Următoarea rulare {} citește {}."


REMEDY = "check accounts.main.username and .password, and that the user has API rights"
LEAC = "verificați accounts.main.username și .password și dacă utilizatorul are drepturi de API"


@pytest.mark.parametrize(
    ("text", "romanian"),
    [
        ("Product sync timed out after 600 seconds", "Sincronizarea produselor a depășit limita de 600 secunde"),
        ("The run was cancelled", "Rularea a fost anulată"),
        (
            HOLES.format(" and 2 more stretches", "100% (odd) %s", "full", "just what is missing"),
            GAPS.format(" și încă 2 intervale", "100% (odd) %s", "completă", "doar ce lipsește"),
        ),
        (
            HOLES.format("", "the marketplace", "incremental", "them anew"),
            GAPS.format("", "the marketplace", "incrementală", "totul din nou"),
        ),
        (
            f"the marketplace refused account main: 1: Nu: {REMEDY}",
            f"marketplace-ul a refuzat contul main: 1: Nu: {LEAC}",
        ),
        (
            "a sync of account fbe is already running (7): wait for it, or cancel it",
            "o sincronizare a contului fbe rulează deja (7): așteptați-o sau anulați-o",
        ),
        ("sync 7 is not running any more: it is failed", "sincronizarea 7 nu mai rulează: este eșuată"),
        ("Nu aveți drepturi: check accounts.main.username", None),
        ("", None),
    ],
)
def test_our_own_sentences_are_translated(text: str, romanian: str | None) -> None:
    """With what stands in them, and in English they stay as they are; what others say is nobody's to translate."""
    assert Reader("ro").sentence(text) == romanian
    assert Reader("en").sentence(text) == (None if romanian is None else text)


async def test_every_error_is_said_in_the_readers_language(site: Site, sql: Connection, visit: Opener) -> None:
    """Of each kind a Romanian reads what it is and what to do, and beside it what the marketplace said, untouched."""
    said = [("Product sync timed out after 7 seconds", "timeout")]
    said += [(f"<i>odd</i> {kind}", kind) for kind in ErrorKind]
    run = await sql.fetchval(
        "INSERT INTO emag_sync_logs (account_type, operation, status, completed_at, errors)"
        " SELECT 'main', 'full_sync', 'failed', now(), jsonb_agg(jsonb_build_object('error', text, 'kind', kind))"
        " FROM unnest($1::text[], $2::text[]) AS said (text, kind) RETURNING id",
        [text for text, _ in said],
        [kind for _, kind in said],
    )
    page = await visit(site, f"/runs/{run}", language="ro")
    cards = page.locator("#run > .card:has(.remedy)")
    first, *others = [await card.locator("p").all_inner_texts() for card in await cards.all()]
    assert first[0] == "Sincronizarea produselor a depășit limita de 7 secunde"
    assert [texts[1] for texts in others] == [text for text, _ in said[1:]]
    assert await page.locator("#run .said").first.get_attribute("lang") == "en"
    in_english = await visit(site, f"/runs/{run}")
    plain = [await card.locator("p").all_inner_texts() for card in await in_english.locator("#run > .card").all()]
    assert [texts[0] for texts in plain[: len(said)]] == [text for text, _ in said]
    assert not {texts[0] for texts in others} & {texts[0] for texts in plain if texts}
