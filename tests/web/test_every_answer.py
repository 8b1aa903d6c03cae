"""What holds for every answer of every route, however it comes about."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from emag_syncd.config import spellings
from emag_syncd.sandbox import Sandbox
from emag_syncd.web.manners import DEFAULTS, HEADERS
from tests.support.daemon import Answer, Site, account_of, serving, settings_for
from tests.web.conftest import API, TOKEN

RIGHT = {"Authorization": f"Bearer {TOKEN}"}
WRONG = {"Authorization": "Bearer wr0ng"}
HTML = {"Accept": "text/html"}
ENDLESS = "/events"


@pytest.fixture
async def secretive(sandbox: Sandbox, database_url: str, tmp_path: Path) -> AsyncIterator[Site]:
    """Serve the pages of a daemon with every kind of secret; the password of one account is wrong."""
    wrong = account_of(sandbox, "fbe", password="ch4nged-meanwhile")
    settings = settings_for(
        sandbox,
        tmp_path,
        accounts={"main": account_of(sandbox, "main"), "fbe": wrong},
        http={"port": 0, "token": TOKEN},
        database={"url": "postgresql://emag:d4tabase-w0rd@127.0.0.1/emag"},
        webhooks={"urls": ["http://127.0.0.1:9/hook?token=h00k-in-address"], "secret": "whsec_" + "c2VjcmV0" * 4},
    )
    async with serving(settings, database_url) as site:
        yield site


def requests(site: Site) -> Iterator[tuple[str, str]]:
    """Yield a request for every route and method that there is, and for none."""
    for route in site.web.routes:
        resource = route.resource
        if resource is not None and not resource.canonical.endswith(ENDLESS):
            path = resource.canonical.replace("{sync_id}", "0" * 32).replace("{account}", "fbe")
            yield route.method, path.replace("{emag_id}", "1")
    yield "HEAD", f"{API}/events"
    yield "HEAD", f"{API}/export.csv"
    yield "GET", "/nowhere"
    yield "PUT", "/"


async def answers(site: Site) -> AsyncIterator[tuple[str, Answer]]:
    """Ask for everything: rightly, wrongly, as a program and as a browser."""
    await site.post(f"{API}/sync", {"mode": "full"}, headers=RIGHT)
    for method, path in requests(site):
        for headers in (RIGHT, WRONG, {}, RIGHT | HTML, HTML | {"Origin": site.address}):
            for body in ({}, {"account_type": "fbe"}) if method == "POST" else (None,):
                answer = await site.ask(method, path, json=body, headers=headers, allow_redirects=False)
                yield f"{method} {path} {body}", answer


async def test_no_answer_names_a_secret_and_each_has_its_headers(secretive: Site) -> None:
    """Nothing configured as secret is in any answer, in whichever spelling; and each says what a browser may do."""
    forms = {form for secret in secretive.core.settings.secrets() for form in spellings(secret)}
    assert forms >= {TOKEN, "d4tabase-w0rd", "ch4nged-meanwhile"}
    seen = set()
    async for asked, answer in answers(secretive):
        whole = f"{answer.text} {dict(answer.headers)}"
        assert [form for form in forms if form in whole] == [], asked
        assert answer.status != 500, (asked, answer.text)
        assert HEADERS.items() <= answer.headers.items(), asked
        assert DEFAULTS.keys() <= answer.headers.keys(), asked
        seen.add(answer.status)
    assert seen >= {200, 303, 401, 404, 405, 422, 502}
