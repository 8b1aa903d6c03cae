"""Who can't prove to be the marketplace is not spoken to, and what stands in the way is said in the ledger."""

import signal
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from emag_syncd.sandbox import AccountSpec, Sandbox
from tests.support.endings import ends_as
from tests.support.fleet import account, configure
from tests.support.offers import Connection
from tests.support.processes import daemon_process
from tests.support.proxy import Proxy
from tests.support.recovery import Recovery
from tests.support.tls import HOST, Authority, showing
from tests.sync.reference import assert_mirrors

pytestmark = [pytest.mark.timeout(240), pytest.mark.usefixtures("quiet")]

OFFERS = 25
UNAVAILABLE = "marketplace_unavailable"
IMPATIENT = {"page_size": 10, "max_attempts": 2, "request_timeout_seconds": 2, "max_concurrent_requests": 2}


async def test_certificates_and_names(database_url: str, sql: Connection, tmp_path: Path, recovery: Recovery) -> None:
    """No bad certificate and no lost name is taken for the marketplace; both are told apart, and pass by themselves."""
    authority = Authority(tmp_path)
    names = {f"tls{number}": reason for number, reason in enumerate(authority.bad)}
    specs = dict.fromkeys([*names, "dns"], AccountSpec(OFFERS, limited=False))
    async with AsyncExitStack() as stack:
        sandbox = await stack.enter_async_context(Sandbox(specs))
        accounts = {"dns": account("dns", "https://marketplace.invalid/api-3")}
        shown = {name: showing(authority.bad[reason]) for name, reason in names.items()}
        for name, tls in shown.items():
            proxy = await stack.enter_async_context(Proxy(("127.0.0.1", sandbox.port), tls))
            accounts[name] = account(name, f"https://{HOST}:{proxy.port}/api-3")
        path = tmp_path / "config.toml"
        config = configure(path, database_url, accounts, marketplace=IMPATIENT)
        daemon = await stack.enter_async_context(daemon_process(config, SSL_CERT_FILE=str(authority.path)))
        for name, words in {**names, "dns": "DNS"}.items():
            run = await ends_as(sql, name, "failed")
            assert run["kind"] == UNAVAILABLE
            assert words in run["error"]
            assert f"check accounts.{name}.base_url" in run["error"]
        assert all(one.stats.requests == 0 for one in sandbox.accounts.values()), "credentials were sent"
        with recovery.timed("a certificate that doesn't verify, a name without an address", 5, 6):
            for tls in shown.values():
                authority.good.configure_cert(tls)
            accounts["dns"] = account("dns", sandbox.base_url)
            configure(path, database_url, accounts, marketplace=IMPATIENT)
            daemon.send(signal.SIGHUP)
            for name in accounts:
                await ends_as(sql, name, "completed")
        daemon.send(signal.SIGTERM)
        assert await daemon.ended() == 0
        for one in sandbox.accounts.values():
            await assert_mirrors(sql, one)
