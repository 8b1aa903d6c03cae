"""What holds for every request: who may ask, how errors are told, what each answer says of itself."""

import time
from collections.abc import Iterable
from http import HTTPStatus

import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from emag_syncd.domain.errors import SyncdError
from emag_syncd.web.answers import ProblemError
from emag_syncd.web.guard import Guard

log = structlog.get_logger(__name__)

_WORDS: dict[int, str] = {
    HTTPStatus.NOT_FOUND: "there is no such page: the paths are in docs/api.md",
    HTTPStatus.METHOD_NOT_ALLOWED: "this path does not take this method: see the Allow header for those it takes",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "the body is too large: 64 KiB are the most",
}


HEADERS = {
    hdrs.SERVER: "emag-syncd",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # With less, browsers leave the Origin out of the forms that are sent to the daemon itself.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""What every answer has."""

DEFAULTS = {
    hdrs.CACHE_CONTROL: "no-store",
    # Nothing but a page of the console has anything to load or to run.
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
}
"""What every answer has that does not say otherwise."""


@web.middleware
async def mannered(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Log the request, and turn errors into answers."""
    began = time.monotonic()
    try:
        response = await handler(request)
    except Exception as error:  # noqa: BLE001 - whatever it is, there is an answer
        response = problem_of(request, error).answer(request)
    log.debug(
        "request",
        action="request",
        method=request.method,
        path=request.path,
        status=response.status,
        duration_ms=round((time.monotonic() - began) * 1000, 3),
    )
    return response


async def headed(_request: web.Request, response: web.StreamResponse) -> None:
    """Set the headers that every answer has, streams included."""
    response.headers.update(HEADERS)
    for name, value in DEFAULTS.items():
        response.headers.setdefault(name, value)


def guarded(guard: Guard, open_to_all: Iterable[web.RouteDef]) -> Middleware:
    """Return what lets nothing pass that ``guard`` refuses, but for the routes that are open to all.

    Asked is what the request was matched to: a path that only looks like an open one opens nothing.
    """
    handlers = {route.handler for route in open_to_all}

    @web.middleware
    async def guarding(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.match_info.handler not in handlers and (refusal := guard.refusal(request)) is not None:
            raise refusal
        return await handler(request)

    return guarding


def problem_of(request: web.Request, error: Exception) -> ProblemError:
    """Return what to answer where ``error`` came up; one that nobody foresaw goes to the log."""
    match error:
        case ProblemError():
            return error
        case SyncdError():
            return ProblemError.of(error)
        case web.HTTPException():
            return _of_http(error)
    log.error("request failed", action="request_failed", method=request.method, path=request.path, exc_info=error)
    return ProblemError(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        f"an error inside emag-syncd ({type(error).__name__}): its log has the details",
    )


def _of_http(error: web.HTTPException) -> ProblemError:
    allow = error.headers.get(hdrs.ALLOW)
    headers: dict[str, str] = {hdrs.ALLOW: allow} if allow else {}
    return ProblemError(error.status, _WORDS.get(error.status, error.reason), headers=headers)
