"""Errors as a person reads them: a page in place of JSON, for those who asked for a page."""

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from emag_syncd.domain.errors import SyncdError
from emag_syncd.web.answers import ProblemError
from emag_syncd.web.console.pages import Pages
from emag_syncd.web.parts import API


def humane(pages: Pages) -> Middleware:
    """Return what answers those who asked for a page with a page, whatever went wrong."""

    @web.middleware
    async def answering(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path.startswith(API) or "text/html" not in request.headers.get(hdrs.ACCEPT, ""):
            return await handler(request)
        try:
            return await handler(request)
        except ProblemError as problem:
            return _page(pages, request, problem)
        except SyncdError as error:
            return _page(pages, request, ProblemError.of(error))
        except web.HTTPNotFound:
            return _page(pages, request, ProblemError(web.HTTPNotFound.status_code, "There is no such page."))

    return answering


def _page(pages: Pages, request: web.Request, problem: ProblemError) -> web.Response:
    response = pages.page(
        request,
        "error.html",
        status=problem.status,
        title=problem.title,
        detail=problem.detail,
        remedy=problem.more.get("remedy", ""),
    )
    response.headers.update(problem.headers)
    return response
