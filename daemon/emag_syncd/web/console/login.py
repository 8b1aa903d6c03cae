"""The way in for a browser: the token once, and a cookie from then on."""

import re
from http import HTTPStatus
from urllib.parse import quote, urlsplit

import structlog
from aiohttp import hdrs, web

from emag_syncd.web.answers import ProblemError
from emag_syncd.web.attempts import source_of
from emag_syncd.web.console.pages import LOGIN, LOGOUT, Pages
from emag_syncd.web.guard import Guard, foreign
from emag_syncd.web.parameters import read_form
from emag_syncd.web.sessions import SECONDS

FORM = "application/x-www-form-urlencoded"

# What browsers read as another host's address begins with two slashes, of which kind ever.
_LOCAL = re.compile(r"/(?![/\\])[!-\[\]-~]*")

log = structlog.get_logger(__name__)


class Login:
    """The page that asks for the token, and the way out."""

    def __init__(self, pages: Pages, guard: Guard) -> None:
        """Let ``guard`` judge what is given."""
        self._pages = pages
        self._guard = guard

    def routes(self) -> list[web.RouteDef]:
        """Return the routes that are open to all."""
        return [web.get(LOGIN, self._show), web.post(LOGIN, self._enter)]

    def guarded_routes(self) -> list[web.RouteDef]:
        """Return the routes for those who are in."""
        return [web.post(LOGOUT, self._leave)]

    async def _show(self, request: web.Request) -> web.Response:
        if self._guard.sessions is None or self._guard.has_session(request):
            return see_other(local(request.query.get("next", "")))
        return self._page(request, request.query.get("next", ""))

    async def _enter(self, request: web.Request) -> web.Response:
        if refusal := foreign(request, must_tell=True):
            raise refusal
        if request.content_type != FORM:
            raise ProblemError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"the login is a form: send it as {FORM}")
        form = await read_form(request)
        wanted = form.get("next", "")
        sessions = self._guard.sessions
        if sessions is None:
            return see_other(local(wanted))
        if refusal := self._guard.judge(request, form.get("token", "").strip()):
            return self._page(request, wanted, refusal)
        answer = see_other(local(wanted))
        answer.set_cookie(
            sessions.cookie,
            self._guard.begin_session(request),
            max_age=SECONDS,
            httponly=True,
            samesite="Strict",
            secure=_is_encrypted(request),
        )
        log.info("logged in", action="logged_in", address=source_of(request).address)
        return answer

    async def _leave(self, request: web.Request) -> web.Response:
        answer = see_other(LOGIN)
        sessions = self._guard.sessions
        if sessions is not None and self._guard.has_session(request):
            sessions.end(request.cookies[sessions.cookie])
            answer.del_cookie(sessions.cookie, httponly=True, samesite="Strict", secure=_is_encrypted(request))
            log.info("logged out", action="logged_out", address=source_of(request).address)
        return answer

    def _page(self, request: web.Request, wanted: str, refusal: ProblemError | None = None) -> web.Response:
        page = self._pages.page(
            request,
            "login.html",
            status=HTTPStatus.OK if refusal is None else refusal.status,
            next=local(wanted),
            wait_seconds=None if refusal is None else refusal.headers.get(hdrs.RETRY_AFTER),
            is_wrong=refusal is not None,
        )
        page.headers.update({} if refusal is None else refusal.headers)
        return page


def local(wanted: str) -> str:
    """Return ``wanted`` where it is a page of this daemon, and the first page where it is not."""
    return wanted if _LOCAL.fullmatch(wanted) and urlsplit(wanted).path not in {LOGIN, LOGOUT} else "/"


def login_address(request: web.Request) -> str:
    """Return where to log in and come back from to the page that was asked for."""
    wanted = request.rel_url.raw_path_qs if request.method == hdrs.METH_GET else "/"
    if request.headers.get("HX-Request"):
        shown = urlsplit(request.headers.get("HX-Current-URL", ""))
        wanted = f"{shown.path}?{shown.query}" if shown.query else shown.path
    wanted = local(wanted)
    return LOGIN if wanted == "/" else f"{LOGIN}?next={quote(wanted, safe='/')}"


def see_other(address: str) -> web.Response:
    """Return an answer that sends a browser on."""
    return web.Response(status=HTTPStatus.SEE_OTHER, headers={hdrs.LOCATION: address})


def _is_encrypted(request: web.Request) -> bool:
    """Whether the browser speaks https, by its own word or by a proxy's.

    Whoever says so without need gets a cookie that comes back over https only: nobody gains by it.
    """
    said = request.headers.get("X-Forwarded-Proto", "").rpartition(",")[2].strip().lower()
    return said == "https" or request.headers.get(hdrs.ORIGIN, "").lower().startswith("https:")
