"""What holds for every request: who may ask, how errors are told, what each answer says of itself."""

import time
from http import HTTPStatus

import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from emag_syncd.domain.errors import SyncdError
from emag_syncd.web.answers import ProblemError
from emag_syncd.web.guard import Guard
from emag_syncd.web.probes import is_open

log = structlog.get_logger(__name__)

SERVER = "emag-syncd"
_WORDS: dict[int, str] = {
    HTTPStatus.NOT_FOUND: "there is no such page: the paths are in docs/api.md",
    HTTPStatus.METHOD_NOT_ALLOWED: "this path does not take this method: see the Allow header for those it takes",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "the body is too large: 64 KiB are the most",
}


@web.middleware
async def mannered(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Log the request, turn errors into answers, and set the headers that every answer has."""
    began = time.monotonic()
    try:
        response = await handler(request)
    except ProblemError as problem:
        response = problem.answer(request)
    except SyncdError as error:
        response = ProblemError.of(error).answer(request)
    except web.HTTPException as error:
        response = _of_http(error).answer(request)
    except Exception as error:
        log.exception("request failed", action="request_failed", method=request.method, path=request.path)
        response = ProblemError(
            HTTPStatus.INTERNAL_SERVER_ERROR,
            f"an error inside emag-syncd ({type(error).__name__}): its log has the details",
        ).answer(request)
    response.headers[hdrs.SERVER] = SERVER
    response.headers.setdefault(hdrs.CACHE_CONTROL, "no-store")
    response.headers["X-Content-Type-Options"] = "nosniff"
    log.debug(
        "request",
        action="request",
        method=request.method,
        path=request.path,
        status=response.status,
        duration_ms=round((time.monotonic() - began) * 1000, 3),
    )
    return response


def guarded(guard: Guard) -> Middleware:
    """Return what lets nothing pass that ``guard`` refuses, but for the pages that are open to all."""

    @web.middleware
    async def guarding(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not is_open(request) and (refusal := guard.refusal(request)) is not None:
            raise refusal
        return await handler(request)

    return guarding


def _of_http(error: web.HTTPException) -> ProblemError:
    allow = error.headers.get(hdrs.ALLOW)
    headers: dict[str, str] = {hdrs.ALLOW: allow} if allow else {}
    return ProblemError(error.status, _WORDS.get(error.status, error.reason), headers=headers)
