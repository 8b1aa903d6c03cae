"""Renders the pages."""

from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Any

from aiohttp import web
from jinja2 import Environment, PackageLoader, StrictUndefined
from jinja2.environment import Template

from emag_syncd import __version__
from emag_syncd.web.console import assets
from emag_syncd.web.console.reader import LANGUAGES, Reader
from emag_syncd.web.parts import API

LOGIN = "/login"
LOGOUT = "/logout"

# Offers bring pictures of their own, from the marketplace: img-src.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: https:; connect-src 'self';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Vary": "Accept-Language",
}


class Pages:
    """The templates, and what each of them can use."""

    def __init__(self, has_session: Callable[[web.Request], bool]) -> None:
        """Find the templates. ``has_session`` says whether there is somebody to log out."""
        self._has_session = has_session
        self._environments = {language: _environment(Reader(language)) for language in LANGUAGES}

    def page(self, request: web.Request, template: str, *, status: int = HTTPStatus.OK, **context: Any) -> web.Response:
        """Return a page for the reader of ``request``. ``context`` are the template's variables."""
        reader = Reader.of(request)
        text = self._template(reader, template).render(context | self._surroundings(request))
        response = web.Response(text=text, content_type="text/html", status=status, headers=HEADERS)
        response.enable_compression()
        return response

    def _template(self, reader: Reader, name: str) -> Template:
        return self._environments[reader.language].get_template(name)

    def _surroundings(self, request: web.Request) -> dict[str, Any]:
        return {
            "path": request.path,
            "query": request.query,
            "here": partial(address, request),
            "events": "" if request.path == LOGIN else f"{API}/events",
            "has_session": self._has_session(request),
        }


def address(request: web.Request, **other: object) -> str:
    """Return the address of ``request`` with ``other`` parameters; what is None is left out, as what is empty."""
    query = {name: value for name, value in request.query.items() if value and name not in other}
    query |= {name: str(value) for name, value in other.items() if value is not None}
    return str(request.rel_url.with_query(query))


def _environment(reader: Reader) -> Environment:
    environment = Environment(
        loader=PackageLoader("emag_syncd.web.console"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        extensions=["jinja2.ext.i18n", "jinja2.ext.do"],
    )
    environment.install_gettext_translations(reader.translations, newstyle=True)  # type: ignore[attr-defined]
    environment.filters |= {
        "number": reader.number,
        "percent": reader.percent,
        "money": reader.money,
        "duration": reader.duration,
        "moment": reader.moment,
        "ago": reader.ago,
    }
    environment.globals |= {"asset": assets.address, "version": __version__, "language": reader.language}
    return environment
