"""How an answer leaves the house: whole, or spoilt by a fault."""

import asyncio
import socket
import struct
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
        case Kind.BROKEN_JSON:
            return answer._replace(body=answer.body[: -len(answer.body) // 3])
        case _:
            return answer


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


async def _redirect(
    request: web.Request, _fault: Fault, _answer: Answer, _closing: asyncio.Event
) -> web.StreamResponse:
    return web.Response(status=302, headers={"Location": f"http://localhost:{request.url.port}{REDIRECTED}"})


SENDERS: Final[dict[Kind, Sender]] = {
    Kind.RESET: _reset,
    Kind.RESET_LATE: _reset_late,
    Kind.HANG: _hang,
    Kind.CUT: _cut,
    Kind.DRIP: _drip,
    Kind.ENDLESS: _endless,
    Kind.REDIRECT: _redirect,
}


async def _begin(request: web.Request, answer: Answer, *, length: int | None) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status, headers={"Content-Type": answer.content_type})
    response.content_length = length
    await response.prepare(request)
    return response


async def _half(request: web.Request, answer: Answer) -> web.StreamResponse:
    response = await _begin(request, answer, length=len(answer.body))
    await response.write(answer.body[: len(answer.body) // 2])
    return response


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
