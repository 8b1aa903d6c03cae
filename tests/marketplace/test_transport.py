"""What can happen on the way, over real sockets: each is told apart, in words, and none hangs."""

import asyncio
import gzip
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from emag_syncd.domain.errors import MarketplaceError, ProtocolError, UnavailableError
from emag_syncd.marketplace import transport
from emag_syncd.marketplace.client import Client
from emag_syncd.marketplace.errors import TransientError
from emag_syncd.marketplace.link import AccountLink
from tests.marketplace.conftest import Marketplace, Noted, ok, settings_for

Speaks = Callable[[asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def raw_server(
    speaks: Speaks, tls: ssl.SSLContext | None = None, *, awaits: bytes = b"\r\n\r\n"
) -> AsyncIterator[int]:
    """Listen and, once ``awaits`` has come, let ``speaks`` write what it wants. Gives the port."""
    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with AsyncExitStack() as stack:
            stack.callback(writer.close)
            try:
                await reader.readuntil(awaits)
                speaking = asyncio.ensure_future(speaks(writer))
                serving.add(speaking)
                await asyncio.wait({speaking})
                speaking.result()
            except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                return

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    async with server:
        yield server.sockets[0].getsockname()[1]
        # From Python 3.12 on, a server that closes waits for those it still serves.
        for speaking in serving:
            speaking.cancel()


async def failure(base_url: str, noted: Noted, **others: Any) -> TransientError:
    """Ask for a page and return the failure."""
    async with AccountLink(settings_for(base_url, **others)) as link:
        with pytest.raises(TransientError) as caught:
            await Client(link, noted).read_page({}, 1, 100)
    return caught.value


def writes(data: bytes) -> Speaks:
    """Return a server that writes this and hangs up."""

    async def speaks(writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()

    return speaks


@pytest.mark.parametrize(
    ("data", "outcome", "shrink", "final", "says"),
    [
        (b"", "connection", True, UnavailableError, "closed the connection before its answer was complete"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}",
            "connection",
            True,
            UnavailableError,
            "closed the conn",
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{",
            "connection",
            True,
            UnavailableError,
            "closed",
        ),
        (
            b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
            "bad_answer",
            False,
            ProtocolError,
            "is not HTTP: check accounts.main.base_url",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 7\r\n\r\nnotgzip",
            "bad_answer",
            False,
            ProtocolError,
            "can't be unpacked",
        ),
        (
            b"HTTP/1.1 200 OK\r\n" + b"X-Flood: 1\r\n" * 100_000,
            "bad_answer",
            False,
            ProtocolError,
            "is not HTTP",
        ),
        (b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 2**20, "bad_answer", False, ProtocolError, "is not HTTP"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "bad_answer", False, ProtocolError, "ends nothing"),
    ],
)
async def test_an_answer_that_is_cut_or_garbled(
    noted: Noted, data: bytes, outcome: str, shrink: bool, final: type[MarketplaceError], says: str
) -> None:
    """Connections that end early are no protocol errors; what isn't HTTP is one."""
    async with raw_server(writes(data)) as port:
        error = await failure(f"http://127.0.0.1:{port}", noted)
    assert says in str(error)
    assert (noted.outcomes, error.shrink, type(error.final())) == ([outcome], shrink, final)


async def test_what_came_before_the_cut_is_kept(noted: Noted) -> None:
    """The note of a cut answer has its status and its beginning."""
    async with raw_server(writes(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"isErr')) as port:
        await failure(f"http://127.0.0.1:{port}", noted)
    assert (noted.calls[0].status_code, noted.calls[0].response_bytes, noted.calls[0].body) == (
        200,
        7,
        '{"isErr',
    )


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"])
async def test_silence_and_slow_drips_end_with_the_timeout(noted: Noted, head: bytes) -> None:
    """A server that says nothing, and one that sends a byte now and then, both end after the timeout in all."""

    async def drips(writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while True:
            if head:
                writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.01)

    async with raw_server(drips) as port:
        error = await failure(f"http://127.0.0.1:{port}", noted, request_timeout_seconds=0.2)
    assert "no whole answer" in error.message
    assert "within 0.2 seconds" in error.message
    assert "accounts.main.request_timeout_seconds" in error.remedy
    assert (noted.outcomes, error.shrink) == (["timeout"], True)


async def test_an_endless_body_ends(
    marketplace: Marketplace, client: Client, noted: Noted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than the largest body is not read, packed or not."""
    monkeypatch.setattr(transport, "LARGEST_BODY", 2**20)
    packed = gzip.compress(b" " * 2**24)
    marketplace.says(web.Response(body=packed, headers={"Content-Encoding": "gzip"}))
    with pytest.raises(TransientError, match="longer than 1 MiB") as caught:
        await client.read_page({}, 1, 100)
    assert caught.value.shrink
    assert noted.outcomes == ["bad_answer"]
    assert (noted.calls[0].response_bytes or 0) <= 2**20


async def test_large_answers_share_their_memory(
    marketplace: Marketplace, client: Client, noted: Noted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many at once get no more memory than is set aside for all of them; one of usual size always passes."""
    mib = 2**20
    for name, value in {"LARGEST_BODY": 4 * mib, "USUAL_BODY": mib, "SHARED_ROOM": 5 * mib}.items():
        monkeypatch.setattr(transport, name, value)
    go = asyncio.Event()

    async def large(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b" " * 3 * mib)
        await go.wait()
        await response.write(b" " * mib)
        return response

    marketplace.says(large)
    asked = [asyncio.create_task(client.read_page({}, page, 100)) for page in range(1, 5)]
    done, _ = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
    assert "while others are as well" in str(done.pop().exception())
    assert transport._room._taken <= 5 * mib
    go.set()
    await asyncio.gather(*asked, return_exceptions=True)
    assert transport._room._taken == 0
    marketplace.says(ok([]))
    assert (await client.read_page({}, 1, 1)).size == 0
    assert set(noted.outcomes[:4]) == {"bad_answer"}


async def test_nobody_listens(noted: Noted) -> None:
    """A refused connection names the host and says so; a smaller page would not help."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        error = await failure(f"http://127.0.0.1:{port}", noted)
    assert f"can't connect to 127.0.0.1:{port}: " in error.message
    assert "refused" in error.message.lower()
    assert (noted.outcomes, error.shrink, type(error.final())) == (["connection"], False, UnavailableError)
    assert (noted.calls[0].status_code, noted.calls[0].response_bytes, noted.calls[0].body) == (
        None,
        None,
        None,
    )


async def test_an_unknown_host(noted: Noted) -> None:
    """A name that can't be resolved points to base_url and DNS."""
    error = await failure("http://no-such-host.invalid/api-3", noted)
    assert "can't connect to no-such-host.invalid" in error.message
    assert "DNS" in error.remedy
    assert not error.shrink


@pytest.fixture
def self_signed(tmp_path: Path) -> ssl.SSLContext:
    """Make a certificate that nobody else signed."""
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-subj",
            "/CN=localhost",
            "-keyout",
            key,
            "-out",
            certificate,
        ],
        check=True,
        capture_output=True,
    )
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    return tls


async def test_a_certificate_that_nobody_signed(noted: Noted, self_signed: ssl.SSLContext) -> None:
    """TLS is verified: a self-signed certificate is refused in clear words."""
    async with raw_server(writes(b""), self_signed) as port:
        error = await failure(f"https://127.0.0.1:{port}", noted)
    assert "no secure connection to 127.0.0.1" in error.message
    assert "self-signed certificate" in error.message
    assert not error.shrink


async def test_a_server_without_tls(noted: Noted) -> None:
    """Plain HTTP where TLS is expected is a failed handshake."""
    async with raw_server(writes(b"HTTP/1.1 400 Bad Request\r\n\r\n"), awaits=b"\x16") as port:
        error = await failure(f"https://127.0.0.1:{port}", noted)
    assert "no secure connection to 127.0.0.1" in error.message
    assert noted.outcomes == ["connection"]


async def test_errors_of_the_transport_keep_no_headers(noted: Noted) -> None:
    """The library's own error, which holds the request's headers, is not chained to ours."""
    async with raw_server(writes(b"HTTP/1.1 999999 What\r\n\r\n")) as port:
        error = await failure(f"http://127.0.0.1:{port}", noted)
    assert error.__cause__ is None
    assert error.__suppress_context__
