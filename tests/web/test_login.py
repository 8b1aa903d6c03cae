"""The way in for a browser, and what its cookie opens to whom."""

import asyncio
from collections.abc import Mapping
from http.cookies import Morsel
from typing import Any

import aiohttp
import pytest
import structlog

from emag_syncd.web.attempts import MOST_OF_ONE
from emag_syncd.web.console.login import local
from tests.support.daemon import Answer, Site
from tests.web.conftest import API, PROBLEM, TOKEN

HTML = {"Accept": "text/html"}


async def give(site: Site, token: str, *, to: str = "", **headers: str) -> Answer:
    """Send the form of the login page, as a browser does."""
    form = {"token": token, "next": to}
    own = {"Origin": site.address, "Sec-Fetch-Site": "same-origin", **HTML}
    return await site.ask("POST", "/login", data=form, headers={**own, **headers}, allow_redirects=False)


def cookie(site: Site) -> "Morsel[str]":
    """Return the cookie that the browser was given."""
    (found,) = site.browser.cookie_jar
    return found


@pytest.fixture
async def inside(locked: Site) -> Site:
    """Log in. Browsers keep cookies of addresses too; this one is asked to."""
    locked.browser._cookie_jar = aiohttp.CookieJar(unsafe=True)
    answer = await give(locked, TOKEN)
    assert (answer.status, answer.headers["Location"]) == (303, "/")
    return locked


async def test_a_page_leads_to_the_login_and_back(locked: Site) -> None:
    """Without a session a page sends to the login, which comes back to it."""
    answer = await locked.get("/?account=main&x=a%26b", headers=HTML, allow_redirects=False)
    assert (answer.status, answer.headers["Location"]) == (303, "/login?next=/%3Faccount%3Dmain%26x%3Da%2526b")
    page = await locked.get(answer.headers["Location"], headers=HTML)
    assert page.status == 200
    assert 'name="next" value="/?account=main&amp;x=a%26b"' in page.text
    answer = await give(locked, TOKEN, to="/?account=main&x=a%26b")
    assert (answer.status, answer.headers["Location"]) == (303, "/?account=main&x=a%26b")


async def test_a_part_of_a_page_leads_there_too(locked: Site) -> None:
    """What htmx asks for is refused with where the whole page should go."""
    headers = {"HX-Request": "true", "HX-Current-URL": f"{locked.address}/runs?status=failed"}
    answer = await locked.post("/actions/sync", headers=headers)
    assert (answer.status, answer.headers["HX-Redirect"]) == (401, "/login?next=/runs%3Fstatus%3Dfailed")


async def test_the_api_leads_nowhere(locked: Site) -> None:
    """A program that asks for HTML gets 401 all the same."""
    answer = await locked.get(f"{API}/status", headers=HTML, allow_redirects=False)
    assert (answer.status, answer.headers["Content-Type"]) == (401, PROBLEM)


async def test_with_the_cookie_all_is_open(inside: Site) -> None:
    """Pages and API are served to a browser that has logged in, and the login has nothing more to ask."""
    assert "Log out" in (await inside.get("/", headers=HTML)).text
    assert (await inside.get(f"{API}/status")).status == 200
    answer = await inside.get("/login?next=/runs", headers=HTML, allow_redirects=False)
    assert (answer.status, answer.headers["Location"]) == (303, "/runs")


async def test_the_cookie_is_for_this_browser_and_site_alone(inside: Site) -> None:
    """No script reads it, no other site's page sends it, it ends, and the token is not in it."""
    found = cookie(inside)
    assert (found["httponly"], found["samesite"], found["path"], found["max-age"]) == (True, "Strict", "/", "43200")
    assert not found["secure"]
    assert TOKEN not in found.OutputString()


@pytest.mark.parametrize("hint", [{"X-Forwarded-Proto": "https"}, {"Origin": "https://{host}"}])
async def test_over_https_the_cookie_comes_back_over_https_only(locked: Site, hint: Mapping[str, str]) -> None:
    """By a proxy's word or the browser's own."""
    host = locked.address.partition("//")[2]
    answer = await give(locked, TOKEN, **{name: value.format(host=host) for name, value in hint.items()})
    assert answer.status == 303
    assert "; Secure" in answer.headers["Set-Cookie"]


async def test_a_wrong_token_gets_the_page_again(locked: Site) -> None:
    """It is 401, says so, and the log knows from where, but not what."""
    with structlog.testing.capture_logs() as lines:
        answer = await give(locked, "wr0ng-t0ken", to="/runs")
    assert (answer.status, answer.headers["Content-Type"]) == (401, "text/html; charset=utf-8")
    assert "This is not the token." in answer.text
    assert 'value="/runs"' in answer.text
    assert "Set-Cookie" not in answer.headers
    (line,) = [line for line in lines if line["action"] == "token_refused"]
    assert (line["address"], line["path"]) == ("127.0.0.1", "/login")
    assert "wr0ng-t0ken" not in answer.text + str(lines)


async def test_who_guesses_has_to_wait(locked: Site) -> None:
    """After so many wrong tokens not even the right one opens, by whichever way; who is inside stays inside."""
    locked.browser._cookie_jar = aiohttp.CookieJar(unsafe=True)
    await give(locked, TOKEN)
    for number in range(MOST_OF_ONE):
        assert (await locked.get(f"{API}/status", headers={"Authorization": f"Bearer {number}"})).status == 401
    bearer = await locked.get(f"{API}/status", headers={"Authorization": f"Bearer {TOKEN}"})
    assert (bearer.status, bearer.headers["Content-Type"]) == (429, PROBLEM)
    assert 0 < int(bearer.headers["Retry-After"]) <= 60
    page = await give(locked, TOKEN)
    assert (page.status, "Too many wrong tokens" in page.text) == (429, True)
    assert "Set-Cookie" not in page.headers
    assert (await locked.get(f"{API}/status")).status == 200
    elsewhere = {"Authorization": f"Bearer {TOKEN}", "X-Forwarded-For": "198.51.100.7"}
    assert (await locked.get(f"{API}/status", headers=elsewhere)).status == 200


async def test_who_logs_out_is_out(inside: Site) -> None:
    """The browser forgets the cookie, and its value opens nothing any more."""
    stolen = {cookie(inside).key: cookie(inside).value}
    headers = {"Origin": inside.address}
    answer = await inside.ask("POST", "/logout", headers=headers, allow_redirects=False)
    assert (answer.status, answer.headers["Location"]) == (303, "/login")
    assert not list(inside.browser.cookie_jar)
    assert (await inside.get(f"{API}/status", cookies=stolen)).status == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example.com"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {},
    ],
)
@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", f"{API}/cleanup-stuck-syncs"), ("DELETE", f"{API}/sync/7"), ("POST", "/logout"), ("POST", "/login")],
)
async def test_another_sites_page_does_nothing_with_the_cookie(
    inside: Site, method: str, path: str, headers: Mapping[str, str]
) -> None:
    """What changes something must say that it comes from the daemon's own page."""
    form = {"data": {"token": TOKEN}} if path == "/login" else {}
    answer = await inside.ask(method, path, headers=headers, allow_redirects=False, **form)
    assert answer.status == 403
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize("headers", [{"Origin": "{own}"}, {"Sec-Fetch-Site": "same-origin"}])
async def test_the_own_page_does_what_it_asks_for(inside: Site, headers: Mapping[str, str]) -> None:
    """With the cookie, from a page of the daemon."""
    own = {name: value.format(own=inside.address) for name, value in headers.items()}
    assert (await inside.post(f"{API}/cleanup-stuck-syncs", headers=own)).status == 200


async def test_the_cookie_is_nothing_under_another_name(inside: Site) -> None:
    """A name that a site has pointed here gets nothing, should it ever have the cookie."""
    value = {cookie(inside).key: cookie(inside).value}
    assert (await inside.get(f"{API}/status", cookies=value, headers={"Host": "evil.example.com"})).status == 401


async def test_what_another_site_embeds_is_refused(site: Site, inside: Site) -> None:
    """A picture, script or frame of another site's page gets nothing, with and without a token; a link does."""
    embedded = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "script"}
    followed = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    for one in (site, inside):
        assert (await one.get(f"{API}/status", headers=embedded)).status == 403
        assert (await one.get("/", headers=HTML | followed)).status == 200


@pytest.mark.parametrize(
    ("wanted", "target"),
    [
        ("", "/"),
        ("/runs?status=failed#x", "/runs?status=failed#x"),
        ("//evil.example.com", "/"),
        ("///evil.example.com", "/"),
        ("/\\evil.example.com", "/"),
        ("/\t/evil.example.com", "/"),
        ("/x\r\nSet-Cookie: a=b", "/"),
        ("https://evil.example.com", "/"),
        ("javascript:alert(1)", "/"),
        ("runs", "/"),
        ("/é", "/"),
        ("/login?next=/login", "/"),
        ("/logout", "/"),
    ],
)
def test_the_way_back_is_a_page_of_the_daemon(wanted: str, target: str) -> None:
    """Whatever else is given leads to the first page."""
    assert local(wanted) == target


async def test_without_a_token_there_is_nothing_to_log_in_with(site: Site) -> None:
    """The login leads on, and nobody is offered a way out."""
    for method in ("GET", "POST"):
        form: dict[str, Any] = {"data": {"token": "x"}} if method == "POST" else {}
        own = {"Origin": site.address}
        answer = await site.ask(method, "/login", headers=own, allow_redirects=False, **form)
        assert (answer.status, answer.headers["Location"]) == (303, "/")
    assert "Log out" not in (await site.get("/", headers=HTML)).text


async def test_a_login_that_is_no_form_is_refused(locked: Site) -> None:
    """Only what the page sends is read, and only so much of it."""
    own = {"Origin": locked.address}
    answers = await asyncio.gather(
        locked.ask("POST", "/login", json={"token": TOKEN}, headers=own),
        locked.ask("POST", "/login", data={"token": "x" * 100_000}, headers=own),
    )
    assert [answer.status for answer in answers] == [415, 413]
