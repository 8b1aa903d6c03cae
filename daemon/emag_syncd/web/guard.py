"""Who may ask: whoever has the token or a session that it began or, where there is none, this machine's programs.

A browser on this machine is such a program, and runs what any site gives it. Without a token, therefore, the
request must be addressed to this machine (a name that a site has pointed here is refused: DNS rebinding), and
must not come from another site's page (``Origin``, ``Sec-Fetch-Site``: request forgery). A session's cookie is sent
by the browser alone, whoever's page asks for it: there, too, the page must be the daemon's own. With a token in the
header neither matters: a page that does not know it can't send it.
"""

import hmac
import math
from http import HTTPStatus
from urllib.parse import urlsplit

import structlog
from aiohttp import hdrs, web

from emag_syncd.config import Http
from emag_syncd.config.checks import is_loopback
from emag_syncd.web.answers import ProblemError
from emag_syncd.web.attempts import Attempts, source_of
from emag_syncd.web.sessions import Sessions

CHALLENGE = 'Bearer realm="emag-syncd"'
SAFE = frozenset({hdrs.METH_GET, hdrs.METH_HEAD, hdrs.METH_OPTIONS})
FOREIGN = frozenset({"cross-site", "same-site"})

log = structlog.get_logger(__name__)


class Guard:
    """Judges requests by ``http.token`` and ``http.host``."""

    def __init__(self, http: Http) -> None:
        """Take the token and the host from ``http``."""
        self._token = http.token.get_secret_value().encode() if http.token else None
        self._host = http.host.strip("[]").lower()
        self._attempts = Attempts()
        self.sessions = None if self._token is None else Sessions(self._token)
        """None where there is no token, and so nothing to log in with."""

    def refusal(self, request: web.Request) -> ProblemError | None:
        """Return why the request is not to be served; None when it is."""
        if self._token is None:
            return self._misdirected(request) or foreign(request)
        scheme, _, given = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
        if scheme.lower() == "bearer":
            return self.judge(request, given.strip())
        if self.has_session(request):
            return foreign(request, must_tell=True)
        return _unauthorized(CHALLENGE)

    def judge(self, request: web.Request, given: str) -> ProblemError | None:
        """Return why the token that ``request`` brings does not open anything; None when it does."""
        source = source_of(request)
        if wait := self._attempts.wait(source):
            # Whoever guesses must not learn whether this one was right.
            return ProblemError(
                HTTPStatus.TOO_MANY_REQUESTS,
                "too many wrong tokens were sent: wait as long as Retry-After says, then send the right one",
                headers={hdrs.RETRY_AFTER: str(math.ceil(wait))},
            )
        token = given.encode(errors="surrogateescape")
        if self._token is not None and hmac.compare_digest(token, self._token):
            self._attempts.succeeded(source)
            return None
        if self._attempts.failed(source, token):
            log.warning("wrong token", action="token_refused", address=source.address, path=request.path)
        return _unauthorized(f'{CHALLENGE}, error="invalid_token"')

    def has_session(self, request: web.Request) -> bool:
        """Whether the request comes from a browser that has logged in."""
        if self.sessions is None:
            return False
        return self.sessions.holds(request.cookies.get(self.sessions.cookie, ""), _name(request))

    def begin_session(self, request: web.Request) -> str:
        """Return the cookie's value for a browser that brought the token; empty where none is needed."""
        return "" if self.sessions is None else self.sessions.begin(_name(request))

    def _misdirected(self, request: web.Request) -> ProblemError | None:
        name = _name(request)
        if name == self._host or is_loopback(name):
            return None
        return ProblemError(
            HTTPStatus.MISDIRECTED_REQUEST,
            "the request is addressed to another host: call this daemon by 127.0.0.1 or localhost,"
            " or set http.token to serve it under any name",
        )


def foreign(request: web.Request, *, must_tell: bool = False) -> ProblemError | None:
    """Return why a request is not served that a page of another site makes; None when it is none.

    ``must_tell`` is for what changes something on the strength of a cookie: a browser always says whose page asks.
    """
    origin = request.headers.get(hdrs.ORIGIN)
    site = request.headers.get("Sec-Fetch-Site", "")
    is_silent = origin is None and not site
    is_other = origin is not None and _netloc(origin) != request.headers.get(hdrs.HOST, "").lower()
    if is_other or (site in FOREIGN and not _is_visit(request)):
        return ProblemError(
            HTTPStatus.FORBIDDEN,
            "the request comes from a page of another site: call this daemon from its own pages, or from a program"
            " (with http.token in the Authorization header where it is set); a proxy in between must pass Host on",
        )
    if must_tell and is_silent and request.method not in SAFE:
        return ProblemError(
            HTTPStatus.FORBIDDEN,
            "the request does not say from which page it comes (Origin): programs send the token instead of a cookie",
        )
    return None


def _is_visit(request: web.Request) -> bool:
    """Whether somebody follows a link, and the answer is to be a page of its own."""
    mode, target = request.headers.get("Sec-Fetch-Mode"), request.headers.get("Sec-Fetch-Dest")
    return (mode, target) == ("navigate", "document") and request.method in SAFE


def _unauthorized(challenge: str) -> ProblemError:
    return ProblemError(
        HTTPStatus.UNAUTHORIZED,
        "the token is missing or wrong: send the header Authorization: Bearer, with the value of http.token",
        headers={hdrs.WWW_AUTHENTICATE: challenge},
    )


def _name(request: web.Request) -> str:
    """Return the name that the request is addressed to, without a port."""
    try:
        return urlsplit(f"//{request.headers.get(hdrs.HOST, '')}").hostname or ""
    except ValueError:
        return ""


def _netloc(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""
