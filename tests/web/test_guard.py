"""Who may ask."""

import pytest

from emag_syncd.config import Http
from emag_syncd.web.guard import Guard
from tests.support.daemon import Site
from tests.web.conftest import API, PROBLEM, TOKEN, send


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        f"Basic {TOKEN}",
        TOKEN,
        f"Bearer Bearer {TOKEN}",
        "Bearer \u00e9\u00e8",
    ],
)
async def test_without_the_token_nothing_is_told(locked: Site, header: str | None) -> None:
    """A wrong token is 401 with a challenge, and the answer does not help to guess."""
    headers = {} if header is None else {"Authorization": header}
    answer = await locked.get(f"{API}/status", headers=headers)
    assert (answer.status, answer.headers["Content-Type"]) == (401, PROBLEM)
    assert answer.headers["WWW-Authenticate"].startswith('Bearer realm="emag-syncd"')
    assert TOKEN not in answer.text


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", f"{API}/sync"),
        ("DELETE", f"{API}/sync/7"),
        ("POST", f"{API}/cleanup-stuck-syncs"),
        ("POST", f"{API}/test-connection"),
        ("GET", f"{API}/history"),
        ("GET", "/nowhere"),
        ("OPTIONS", f"{API}/sync"),
        ("POST", "/livez"),
    ],
)
async def test_everything_but_the_probes_is_locked(locked: Site, method: str, path: str) -> None:
    """What is not a probe needs the token, pages that do not exist included."""
    assert (await locked.ask(method, path)).status == 401


@pytest.mark.parametrize(
    "path",
    [
        f"/livez/..{API}/status",
        f"/livez/../..{API}/status",
        f"/livez%2F..{API}/status",
        "/livez%2f..%2fapi%2fv1%2femag%2fproducts%2fstatus",
        f"//livez/..{API}/status",
        f"/livez;{API}/status",
        f"http://localhost/livez/..{API}/status",
        f"http://localhost{API}/status",
    ],
)
async def test_no_path_leads_around_the_lock(locked: Site, path: str) -> None:
    """A path that only begins like a probe's, or is written in another way, opens nothing."""
    answer = await send(locked, f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    assert answer.split(b" ")[1] in {b"400", b"401", b"404"}
    assert b"is_running" not in answer


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_the_token_opens(locked: Site, scheme: str) -> None:
    """With the token everything is served, under any name and from any page."""
    headers = {
        "Authorization": f"{scheme} {TOKEN}",
        "Host": "sync.example.com",
        "Origin": "https://erp.example.com",
    }
    assert (await locked.get(f"{API}/status", headers=headers)).status == 200
    assert (await locked.get("/nowhere", headers=headers)).status == 404


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST:8080", "127.8.9.10:9320", "[::1]:9320"])
async def test_this_machine_is_served(site: Site, host: str) -> None:
    """Without a token the names of this machine are served."""
    assert (await site.get(f"{API}/status", headers={"Host": host})).status == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example.com",
        "evil.example.com:9320",
        "127.0.0.1.evil.example.com",
        "localhost.evil.example.com",
        "localhost@evil.example.com",
        "0.0.0.0",
        "10.0.0.1:9320",
        "2130706433",
        "[::1",
        "[fe80::1]",
        "",
    ],
)
async def test_other_names_are_not(site: Site, host: str) -> None:
    """A name that a site has pointed at this machine is refused: DNS rebinding."""
    answer = await site.post(f"{API}/cleanup-stuck-syncs", headers={"Host": host})
    assert answer.status in {421, 400}


@pytest.mark.parametrize(
    "origin", ["https://evil.example.com", "null", "http://localhost:3000", "http://[", "http://127.0.0.1"]
)
async def test_pages_of_other_sites_are_refused(site: Site, origin: str) -> None:
    """A request that another site's page makes in the user's browser does nothing."""
    answer = await site.post(f"{API}/sync", headers={"Origin": origin})
    assert (answer.status, answer.headers["Content-Type"]) == (403, PROBLEM)
    assert not site.core.supervisor.handles()
    assert "Access-Control-Allow-Origin" not in answer.headers


async def test_own_pages_are_served(site: Site) -> None:
    """A page of the daemon itself may ask."""
    answer = await site.post(f"{API}/cleanup-stuck-syncs", headers={"Origin": site.address})
    assert answer.status == 200


def test_the_guard_shows_no_token() -> None:
    """What holds the token does not tell it to a log."""
    assert TOKEN not in repr(Guard(Http.model_validate({"token": TOKEN})))
