"""Errors as a person reads them: a page in place of JSON, for those who asked for a page."""

from http import HTTPStatus

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from emag_syncd.web.answers import ProblemError
from emag_syncd.web.console.login import login_address, see_other
from emag_syncd.web.console.pages import Pages
from emag_syncd.web.manners import problem_of
from emag_syncd.web.parts import API


def humane(pages: Pages) -> Middleware:
    """Return what answers those who asked for a page with a page, whatever went wrong."""

    @web.middleware
    async def answering(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path.startswith(API):
            return await handler(request)
        wants_page = "text/html" in request.headers.get(hdrs.ACCEPT, "")
        try:
            return await handler(request)
        except web.HTTPNotFound:
            problem = ProblemError(HTTPStatus.NOT_FOUND, "There is no such page.")
        except Exception as error:  # noqa: BLE001 - whatever it is, a person gets a page
            problem = problem_of(request, error)
        if problem.status == HTTPStatus.UNAUTHORIZED:
            if wants_page:
                return see_other(login_address(request))
            if "HX-Request" in request.headers:
                # htmx goes there with the whole page.
                problem.headers["HX-Redirect"] = login_address(request)
        return _page(pages, request, problem) if wants_page else problem.answer(request)

    return answering


def _page(pages: Pages, request: web.Request, problem: ProblemError) -> web.Response:
    response = pages.page(
        request,
        "error.html",
        status=problem.status,
        title=problem.title,
        detail=problem.detail,
        remedy=problem.more.get("remedy", ""),
        # The page comes back by itself from an outage, and not where it is asked for what there is not.
        passes=problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR,
    )
    response.headers.update(problem.headers)
    return response
