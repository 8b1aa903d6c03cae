"""The server's own life: where it listens, and how it ends."""

import asyncio
import re
import socket
from pathlib import Path

import aiohttp
import pytest
from blockbuster import blockbuster_ctx

from emag_syncd.config import Http
from emag_syncd.domain.errors import ConfigurationError
from emag_syncd.sandbox import Sandbox
from emag_syncd.web.server import WebParts, WebServer
from tests.support.daemon import Site, serving, settings_for
from tests.web.conftest import API, hang


def parts_of(site: Site) -> WebParts:
    """Return what the pages of ``site`` show."""
    core = site.core
    return WebParts(
        accounts=core.accounts,
        ledger=core.ledger,
        supervisor=core.supervisor,
        schedule=site.schedule,
        recorder=core.recorder,
        metrics=core.metrics,
        health=site.health,
        outbox=core.outbox,
        counts=core.counts,
        history=core.history,
        settings=lambda: core.settings,
        pool=core.database.pool_size,
        catalogue=core.catalogue,
    )


async def test_port_0_is_any_free_port(site: Site) -> None:
    """The address tells which port it became."""
    assert re.fullmatch(r"http://127\.0\.0\.1:[1-9]\d+", site.address)


@pytest.mark.parametrize("host", ["::1", "[::1]"])
async def test_ipv6(site: Site, host: str) -> None:
    """An IPv6 address is served, and written as addresses are."""
    web = WebServer(Http(host=host, port=0), parts_of(site))
    await web.start()
    assert web.address.startswith("http://[::1]:")
    async with aiohttp.request("GET", f"{web.address}{API}/status") as response:
        assert response.status == 200
    await web.close()


async def test_a_port_in_use_is_named(site: Site) -> None:
    """What listens already is not this daemon's fault, and the message says which setting to change."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        web = WebServer(Http(port=port), parts_of(site))
        with pytest.raises(ConfigurationError, match=rf"http\.port {port} is in use on 127\.0\.0\.1.*set http\.port"):
            await web.start()


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid"])
async def test_a_host_that_is_not_this_machine_is_named(site: Site, host: str) -> None:
    """An address that can't be listened on is an error of the configuration."""
    web = WebServer(Http.model_validate({"host": host, "port": 0, "token": "0123456789abcdef"}), parts_of(site))
    with pytest.raises(ConfigurationError, match=r"http\.host .* set http\.host to an address of this machine"):
        await web.start()


async def test_waiting_clients_get_their_answer_at_shutdown(
    sandbox: Sandbox, database_url: str, tmp_path: Path
) -> None:
    """Who waits for a run when the daemon ends is told what became of it."""
    hang(sandbox, "main")
    async with serving(settings_for(sandbox, tmp_path, shutdown_seconds=2.1), database_url) as site:
        started = site.next("started")
        caller = asyncio.create_task(site.post(f"{API}/sync", {"account_type": "main", "mode": "full"}))
        await started
        await site.core.drain()
        answer = await caller
    assert (answer.status, answer.json["status"]) == (200, "cancelled")
    assert answer.json["data"]["errors"][0]["kind"] == "shutdown"


async def test_open_connections_do_not_hold_up_the_end(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Idle connections, and requests that never get an answer, are ended with the server."""
    monkeypatch.setattr("emag_syncd.web.server.SHUTDOWN_SECONDS", 0.1)
    web = WebServer(Http(port=0), parts_of(site))
    await web.start()
    async with aiohttp.ClientSession(web.address) as browser:
        async with browser.get("/livez") as response:
            assert response.status == 200
        port = int(web.address.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"POST {API}/sync HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n".encode())
        await writer.drain()
        await asyncio.wait_for(web.close(), 20)
        assert not await reader.read()
        writer.close()


def test_the_settings_of_the_server_are_short(site: Site) -> None:
    """The library's defaults would keep idle connections for an hour and a stopping daemon for a minute."""
    runner = WebServer(Http(port=0), parts_of(site))._runner
    assert runner._shutdown_timeout <= 5
    assert runner._kwargs["keepalive_timeout"] <= 60


async def test_no_handler_blocks_the_loop(site: Site) -> None:
    """No route waits for a disk, a lock or a socket on the loop, once asyncpg has opened its connections."""

    async def visit() -> list[int]:
        sync = {"account_type": "main", "mode": "full"}
        ended = (await site.post(f"{API}/sync", sync)).json["sync_id"]
        return [
            (await site.ask(method, path, json=body)).status
            for method, path, body in [
                *(("GET", path, None) for path in ("/livez", "/readyz", "/healthz", "/metrics")),
                *(("GET", f"{API}/{path}", None) for path in ("status", "history", f"sync/{ended}")),
                ("DELETE", f"{API}/sync/{ended}", None),
                ("POST", f"{API}/cleanup-stuck-syncs", {}),
                ("POST", f"{API}/test-connection", {"account_type": "main"}),
            ]
        ]

    await visit()
    with blockbuster_ctx("emag_syncd"):
        assert await visit() == [200, 200, 200, 200, 200, 200, 200, 409, 200, 200]


@pytest.mark.parametrize("stream", ["events", "export.csv"])
async def test_a_stream_has_no_head_alone(site: Site, stream: str) -> None:
    """An answer to HEAD has no body, and what a stream wrote would be taken for the next answer."""
    assert (await site.ask("HEAD", f"{API}/{stream}")).status == 405
    assert (await site.get("/livez")).status == 200
