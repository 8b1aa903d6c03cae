"""Who may ask: whoever has the token or, where there is none, the programs of this machine.

A browser on this machine is such a program, and runs what any site gives it. Without a token, therefore, the
request must be addressed to this machine (a name that a site has pointed here is refused: DNS rebinding), and
must not come from another site's page (``Origin``: request forgery). With a token neither matters: a page that
does not know it can't send it.
"""

import hmac
from http import HTTPStatus
from urllib.parse import urlsplit

from aiohttp import hdrs, web

from emag_syncd.config import Http
from emag_syncd.config.checks import is_loopback
from emag_syncd.web.answers import ProblemError

CHALLENGE = 'Bearer realm="emag-syncd"'


class Guard:
    """Judges requests by ``http.token`` and ``http.host``."""

    def __init__(self, http: Http) -> None:
        """Take the token and the host from ``http``."""
        self._token = http.token.get_secret_value().encode() if http.token else None
        self._host = http.host.strip("[]").lower()

    def refusal(self, request: web.Request) -> ProblemError | None:
        """Return why the request is not to be served; None when it is."""
        if self._token is not None:
            return self._unauthorized(request.headers.get(hdrs.AUTHORIZATION, ""), self._token)
        host = request.headers.get(hdrs.HOST, "")
        if not self._is_ours(host):
            return ProblemError(
                HTTPStatus.MISDIRECTED_REQUEST,
                "the request is addressed to another host: call this daemon by 127.0.0.1 or localhost,"
                " or set http.token to serve it under any name",
            )
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is not None and _netloc(origin) != host.lower():
            return ProblemError(
                HTTPStatus.FORBIDDEN,
                "the request comes from a page of another site: call this daemon from its own pages or from"
                " a program, or set http.token",
            )
        return None

    def _unauthorized(self, header: str, token: bytes) -> ProblemError | None:
        scheme, _, given = header.partition(" ")
        is_right = hmac.compare_digest(given.strip().encode(errors="surrogateescape"), token)
        if scheme.lower() == "bearer" and is_right:
            return None
        return ProblemError(
            HTTPStatus.UNAUTHORIZED,
            "the token is missing or wrong: send the header Authorization: Bearer, with the value of http.token",
            headers={hdrs.WWW_AUTHENTICATE: f'{CHALLENGE}, error="invalid_token"' if header else CHALLENGE},
        )

    def _is_ours(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        return name == self._host or is_loopback(name)


def _netloc(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""
