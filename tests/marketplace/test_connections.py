"""The connections to the marketplace: kept, counted, and no way out for credentials."""

import asyncio
import socket
import time
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from emag_syncd.domain.errors import ConfigurationError, ProtocolError
from emag_syncd.marketplace.client import Client
from emag_syncd.marketplace.errors import TransientError
from tests.marketplace.conftest import PASSWORD, Marketplace, Noted, ok, settings_for


async def test_a_redirect_is_not_followed(marketplace: Marketplace, client: Client) -> None:
    """Credentials go to nobody but the configured host."""
    marketplace.says(web.Response(status=307, headers={"Location": marketplace.url + "/other"}))
    with pytest.raises(ProtocolError, match=r"check accounts\.main\.base_url"):
        await client.count({})
    assert len(marketplace.asked) == 1


async def test_proxies_of_the_environment_are_ignored(
    marketplace: Marketplace, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy that somebody's shell knows would change the address that the marketplace sees."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    marketplace.says(ok([]))
    assert (await client.read_page({}, 1, 1)).size == 0


async def test_connections_are_kept_alive_and_used_again(marketplace: Marketplace, client: Client) -> None:
    """Two requests share one connection, and its socket looks whether the other side still lives."""
    marketplace.says(ok([]))
    await client.read_page({}, 1, 1)
    session = client._link._session
    assert session is not None
    assert isinstance(session.connector, aiohttp.TCPConnector)
    [[(protocol, _)]] = [list(pool) for pool in session.connector._conns.values()]
    assert protocol.transport is not None
    sock = protocol.transport.get_extra_info("socket")
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 30
    await client.read_page({}, 2, 1)
    assert [next(iter(pool))[0] for pool in session.connector._conns.values()] == [protocol]


async def test_a_request_counts_from_when_it_left(
    marketplace: Marketplace, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time that connecting takes is no head start for the request after it."""
    connected: list[float] = []
    connect = aiohttp.TCPConnector.connect

    async def slowly(*args: Any, **kwargs: Any) -> Any:
        await asyncio.sleep(0.05)
        connection = await connect(*args, **kwargs)
        connected.append(time.monotonic())
        return connection

    monkeypatch.setattr(aiohttp.TCPConnector, "connect", slowly)
    marketplace.says(ok([]))
    await client.read_page({}, 1, 1)
    [sent] = client._link.pacer._sent
    assert connected[0] <= sent <= time.monotonic()


async def test_an_endpoint_echoing_credentials_gives_nothing_away(
    marketplace: Marketplace, client: Client, noted: Noted
) -> None:
    """A server that repeats the request's headers everywhere leaves no trace of them in notes and errors."""

    async def echo(request: web.Request) -> web.StreamResponse:
        said = request.headers["Authorization"]
        return web.json_response(
            {
                "isError": True,
                "messages": [f"got {said}", PASSWORD],
                "echo": [said, PASSWORD, {"p": PASSWORD}],
            },
            status=500,
        )

    marketplace.says(echo)
    with pytest.raises(TransientError) as caught:
        await client.read_page({}, 1, 1)
    token = marketplace.headers[0]["Authorization"].split()[1]
    [call] = noted.calls
    everything = f"{call!r} {caught.value!r} {caught.value} {client._link.settings!r} {caught.value.__cause__!r}"
    assert call.messages == ("got Basic ***", "***")
    for secret in (token, PASSWORD, PASSWORD.replace('"', '\\"'), "ss/w"):
        assert secret not in everything


@pytest.mark.parametrize(
    "address",
    ["", "marketplace-api.emag.ro", "ftp://x", "https://", "https://user:secret@x/api", "https://x/?a=b"],
)
def test_an_address_that_can_not_be_one_is_refused(address: str) -> None:
    """base_url must be http or https, with a host, and without credentials: it stands in logs."""
    with pytest.raises(ConfigurationError, match=r"accounts\.main\.base_url") as caught:
        settings_for(address)
    assert "secret" not in str(caught.value)
