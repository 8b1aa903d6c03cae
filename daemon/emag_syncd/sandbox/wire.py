"""How an answer leaves the house: whole, or spoilt by a fault."""

import asyncio
import socket
import struct
import zlib
from codecs import BOM_UTF8
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web

from emag_syncd.sandbox.answers import HTML, Answer, bad_ip, failed, page_of_gateway, refusal
from emag_syncd.sandbox.faults import Fault, Kind

REDIRECTED: Final = "/api-3/redirected"
# SO_LINGER with zero seconds: closing sends RST instead of FIN.
_RESET: Final = struct.pack("ii", 1, 0)
_CHUNK: Final = b" " * 65_536

Sender = Callable[[web.Request, Fault, Answer, asyncio.Event], Awaitable[web.StreamResponse]]


def whole(answer: Answer, headers: dict[str, str] | None = None) -> web.Response:
    """The answer as it should be."""
    return web.Response(
        status=answer.status,
        body=answer.body,
        headers={"Content-Type": answer.content_type, **(headers or {})},
    )


def replaced(request: web.Request, fault: Fault) -> Answer | None:
    """The answer that a fault gives in place of the right one; None when the fault is of another sort."""
    match fault.kind:
        case Kind.STATUS:
            return failed(fault.value or 500)
        case Kind.BAD_IP:
            return Answer(fault.value or 200, bad_ip(request.remote))
        case kind:
            return _REPLACED.get(kind)


_REPLACED: Final = {
    Kind.HTML: Answer(200, page_of_gateway(200, "Maintenance"), HTML),
    Kind.EMPTY_BODY: Answer(200, b""),
    Kind.ERROR_TEXTS: Answer(200, refusal(["Something went wrong", "Please contact support"])),
    Kind.NO_RESULTS: Answer(200, b'{"isError":false,"messages":[]}'),
    Kind.ERROR_KEYS: Answer(200, b'{"isError":true,"messages":[],"errors":{"id":["Something went wrong"]}}'),
    Kind.ERROR_OBJECTS: Answer(200, refusal([{"message": "Something went wrong"}, {"text": "Try later"}, None])),
}


def rewritten(kind: Kind, answer: Answer) -> Answer:
    """The right answer with its envelope or its end spoilt."""
    good = b'"isError":false,'
    match kind:
        case Kind.NO_IS_ERROR:
            return answer._replace(body=answer.body.replace(good, b"", 1))
        case Kind.NULL_IS_ERROR:
            return answer._replace(body=answer.body.replace(good, b'"isError":null,', 1))
        case Kind.TEXT_IS_ERROR:
            return answer._replace(body=answer.body.replace(good, b'"isError":"false",', 1))
        case Kind.BROKEN_JSON:
            return answer._replace(body=answer.body[: -len(answer.body) // 3])
        case Kind.BOM:
            return answer._replace(body=BOM_UTF8 + answer.body)
        case Kind.WRONG_CHARSET:
            return answer._replace(content_type="application/json; charset=utf-16")
        case kind if extra := _EXTRA.get(kind):
            return answer._replace(body=answer.body.replace(good, extra + good, 1))
        case _:
            return answer


_EXTRA: Final = {
    Kind.DUPLICATE_KEYS: b'"isError":true,',
    Kind.DEEP: b'"debug":' + b"[" * 100_000 + b"]" * 100_000 + b",",
    Kind.HUGE_NUMBER: b'"took":' + b"9" * 5000 + b'e99999,"spent":-1e-99999,',
}


async def _reset(request: web.Request, _fault: Fault, _answer: Answer, _closing: asyncio.Event) -> web.StreamResponse:
    _abort(request)
    return web.Response()


async def _reset_late(
    request: web.Request, _fault: Fault, answer: Answer, _closing: asyncio.Event
) -> web.StreamResponse:
    response = await _half(request, answer)
    _abort(request)
    return response


async def _hang(_request: web.Request, _fault: Fault, _answer: Answer, closing: asyncio.Event) -> web.StreamResponse:
    await closing.wait()
    return web.Response(status=503)


async def _cut(request: web.Request, _fault: Fault, answer: Answer, _closing: asyncio.Event) -> web.StreamResponse:
    response = await _half(request, answer)
    if request.transport:
        request.transport.close()
    return response


async def _drip(request: web.Request, fault: Fault, answer: Answer, closing: asyncio.Event) -> web.StreamResponse:
    response = await _begin(request, answer, length=len(answer.body))
    for place in range(len(answer.body)):
        await response.write(answer.body[place : place + 1])
        if await _closes_within(closing, fault.seconds):
            _abort(request)
            break
    return response


async def _endless(request: web.Request, _fault: Fault, answer: Answer, closing: asyncio.Event) -> web.StreamResponse:
    response = await _begin(request, answer, length=None)
    await response.write(answer.body[:-1])
    while not closing.is_set():
        await response.write(_CHUNK)
        await asyncio.sleep(0)
    _abort(request)
    return response


async def _bomb(request: web.Request, _fault: Fault, answer: Answer, closing: asyncio.Event) -> web.StreamResponse:
    response = await _begin(request, answer, length=None, packing="gzip")
    packer = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    await response.write(packer.compress(answer.body[:-1]))
    while not closing.is_set():
        await response.write(packer.compress(_CHUNK) + packer.flush(zlib.Z_SYNC_FLUSH))
        await asyncio.sleep(0)
    _abort(request)
    return response


async def _bad_packing(
    request: web.Request, _fault: Fault, answer: Answer, _closing: asyncio.Event
) -> web.StreamResponse:
    response = await _begin(request, answer, length=len(answer.body), packing="gzip")
    await response.write(answer.body)
    return response


async def _header_flood(
    request: web.Request, _fault: Fault, _answer: Answer, closing: asyncio.Event
) -> web.StreamResponse:
    lines = b"".join(b"X-Flood-%d: %b\r\n" % (number, b"x" * 1000) for number in range(100))
    _write_raw(request, b"HTTP/1.1 200 OK\r\n" + lines)
    while request.transport and not request.transport.is_closing() and not closing.is_set():
        _write_raw(request, lines)
        await asyncio.sleep(0.01)
    _abort(request)
    return web.Response()


async def _not_http(
    request: web.Request, _fault: Fault, _answer: Answer, _closing: asyncio.Event
) -> web.StreamResponse:
    _write_raw(request, b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
    if request.transport:
        request.transport.close()
    return web.Response()


async def _close_after(
    request: web.Request, _fault: Fault, answer: Answer, _closing: asyncio.Event
) -> web.StreamResponse:
    response = await _begin(request, answer, length=len(answer.body))
    await response.write(answer.body)
    await response.write_eof()
    if request.transport:
        request.transport.close()
    return response


async def _redirect(request: web.Request, fault: Fault, _answer: Answer, _closing: asyncio.Event) -> web.StreamResponse:
    return web.Response(
        status=fault.value or 302, headers={"Location": f"http://localhost:{request.url.port}{REDIRECTED}"}
    )


SENDERS: Final[dict[Kind, Sender]] = {
    Kind.RESET: _reset,
    Kind.RESET_LATE: _reset_late,
    Kind.HANG: _hang,
    Kind.CUT: _cut,
    Kind.DRIP: _drip,
    Kind.ENDLESS: _endless,
    Kind.BOMB: _bomb,
    Kind.BAD_PACKING: _bad_packing,
    Kind.HEADER_FLOOD: _header_flood,
    Kind.NOT_HTTP: _not_http,
    Kind.CLOSE_AFTER: _close_after,
    Kind.REDIRECT: _redirect,
}


async def _begin(
    request: web.Request, answer: Answer, *, length: int | None, packing: str | None = None
) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status, headers={"Content-Type": answer.content_type})
    if packing:
        response.headers["Content-Encoding"] = packing
    response.content_length = length
    await response.prepare(request)
    return response


async def _half(request: web.Request, answer: Answer) -> web.StreamResponse:
    response = await _begin(request, answer, length=len(answer.body))
    await response.write(answer.body[: len(answer.body) // 2])
    return response


def _write_raw(request: web.Request, data: bytes) -> None:
    if isinstance(request.transport, asyncio.Transport):
        request.transport.write(data)


def _abort(request: web.Request) -> None:
    if request.transport is None:
        return
    request.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    request.transport.abort()


async def _closes_within(closing: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            return await closing.wait()
    except TimeoutError:
        return False
