"""Trying an account's way to the marketplace."""

from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from emag_syncd.config import Settings
from emag_syncd.sandbox import Fault, Kind, Sandbox
from tests.support.daemon import Answer, Site, account_of, serving
from tests.web.conftest import API, PROBLEM


@pytest.fixture
async def site(sandbox: Sandbox, database_url: str, tmp_path: Path) -> AsyncIterator[Site]:
    """Serve the pages of a daemon that asks the marketplace once only."""
    accounts = {"main": account_of(sandbox, "main", marketplace={"max_attempts": 1})}
    async with serving(Settings.of({"accounts": accounts, "http": {"port": 0}}, tmp_path), database_url) as site:
        yield site


async def tried(site: Site) -> Answer:
    """Try the account ``main``."""
    return await site.post(f"{API}/test-connection", {"account_type": "main"})


async def test_a_connection_that_works(site: Site, sandbox: Sandbox, sql: "asyncpg.Connection[asyncpg.Record]") -> None:
    """The answer says where the account is and how many offers it has; the calls are logged as any other."""
    answer = await tried(site)
    assert (answer.status, answer.json["status"]) == (200, "success")
    expected = {"account_type": "main", "base_url": sandbox.base_url, "total_products": 250}
    assert answer.json["data"] == expected
    await site.core.call_log.flush()
    calls = await sql.fetch("SELECT resource, sync_log_id FROM emag_api_calls ORDER BY called_at")
    assert [(call["resource"], call["sync_log_id"]) for call in calls] == [
        ("vat/read", None),
        ("product_offer/count", None),
    ]


async def test_credentials_that_are_refused(site: Site, sandbox: Sandbox) -> None:
    """The kind and the remedy come back, and nothing secret."""
    sandbox.accounts["main"].access.refused = 403
    answer = await tried(site)
    assert (answer.status, answer.headers["Content-Type"]) == (502, PROBLEM)
    assert answer.json["kind"] == "credentials"
    assert "accounts.main" in answer.json["remedy"]
    assert sandbox.accounts["main"].password not in answer.text


async def test_an_address_that_is_not_listed(site: Site, sandbox: Sandbox) -> None:
    """A marketplace that does not know this machine's address says so, and the answer with it."""
    sandbox.accounts["main"].access.allowed_ips = frozenset({"192.0.2.1"})
    answer = await tried(site)
    assert (answer.status, answer.json["kind"]) == (502, "ip_not_allowed")
    assert answer.json["remedy"]


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault(Kind.STATUS, value=503, times=None), "marketplace_unavailable"),
        (Fault(Kind.RESET, times=None), "marketplace_unavailable"),
        (Fault(Kind.STATUS, value=400, times=None), "marketplace_rejected"),
        (Fault(Kind.HTML, times=None), "protocol"),
    ],
)
async def test_a_marketplace_that_fails(site: Site, sandbox: Sandbox, fault: Fault, kind: str) -> None:
    """Whatever the marketplace does wrong is a bad gateway, of a kind of its own."""
    sandbox.accounts["main"].faults.add(fault)
    answer = await tried(site)
    assert (answer.status, answer.json["kind"]) == (502, kind)
    assert answer.json["detail"]


async def test_a_marketplace_that_asks_to_wait(site: Site, sandbox: Sandbox) -> None:
    """A refusal for the rate is waited out, and counted."""
    sandbox.accounts["main"].faults.add(Fault(Kind.STATUS, value=429))
    assert (await tried(site)).status == 200
    assert 'emag_api_rate_limit_hits_total{account="main"} 1.0' in (await site.get("/metrics")).text


async def test_a_marketplace_that_is_silent(site: Site, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for a page for ever: after a while the answer is a gateway that timed out."""
    monkeypatch.setattr("emag_syncd.web.connections.LONGEST_SECONDS", 0.2)
    sandbox.accounts["main"].faults.add(Fault(Kind.HANG, times=None))
    answer = await tried(site)
    assert (answer.status, answer.json["kind"]) == (504, "marketplace_unavailable")
    assert "no useful answer within 0.2 s" in answer.json["detail"]


@pytest.mark.parametrize("body", [{"account_type": "other"}, {"account_type": "both"}, {}, {"account_type": None}])
async def test_one_account_must_be_named(site: Site, body: dict[str, object]) -> None:
    """An account that is unknown, or none, is 422, and those that are configured are named."""
    answer = await site.post(f"{API}/test-connection", body)
    assert (answer.status, answer.headers["Content-Type"]) == (422, PROBLEM)
    assert "account" in answer.json["detail"]


async def test_without_the_database_nothing_is_asked(site: Site, sandbox: Sandbox) -> None:
    """Whoever can't say what the account's budget allows asks for nothing, and says that it is the database."""
    await site.core.database.close()
    answer = await tried(site)
    assert answer.status == 503
    assert answer.json["kind"] == "database"
    assert sandbox.accounts["main"].stats.requests == 0
