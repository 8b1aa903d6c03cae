"""Renders the pages."""

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from functools import cache, partial
from http import HTTPStatus
from typing import Any

import structlog
from aiohttp import web
from jinja2 import BytecodeCache, Environment, PackageLoader, StrictUndefined
from jinja2.bccache import Bucket

from emag_syncd import __version__
from emag_syncd.web.console import assets
from emag_syncd.web.console.reader import LANGUAGES, Reader
from emag_syncd.web.events import SEEN
from emag_syncd.web.parts import API

log = structlog.get_logger(__name__)

LOGIN = "/login"
LOGOUT = "/logout"

# Offers bring pictures of their own, from the marketplace: img-src.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' {styles}; img-src 'self' data: https:; connect-src 'self';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
LARGE = 256 * 2**10
"""Bytes that are worth another thread to compress them: what is less is done before one gets its turn."""


class _Compiled(BytecodeCache):
    """What templates were compiled to: the same in each language."""

    def __init__(self) -> None:
        self._code: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if code := self._code.get(bucket.key):
            bucket.bytecode_from_string(code)

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._code[bucket.key] = bucket.bytecode_to_string()


_compiled = _Compiled()


class Pages:
    """The templates, and what each of them can use."""

    def __init__(self, has_session: Callable[[web.Request], bool]) -> None:
        """Find the templates. ``has_session`` says whether there is somebody to log out."""
        self._has_session = has_session

    async def prepared(self, _app: web.Application) -> AsyncIterator[None]:
        """Get ready in the background while the application runs: the first page is to come as fast as the others."""
        for language in LANGUAGES:
            # Before there is a thread that could make another of them.
            _environment(language)
        preparing = asyncio.create_task(_prepare_if_possible(), name="pages")
        yield
        await preparing

    def page(self, request: web.Request, template: str, *, status: int = HTTPStatus.OK, **context: Any) -> web.Response:
        """Return a page for the reader of ``request``. ``context`` are the template's variables."""
        reader = Reader.of(request)
        text = _environment(reader.language).get_template(template).render(context | self._surroundings(request))
        response = web.Response(
            text=text, content_type="text/html", status=status, headers=_headers(), zlib_executor_size=LARGE
        )
        response.enable_compression()
        return response

    def _surroundings(self, request: web.Request) -> dict[str, Any]:
        return {
            "path": request.path,
            "query": request.query,
            "here": partial(address, request),
            "events": "" if request.path == LOGIN else f"{API}/events?after={request[SEEN]}",
            "has_session": self._has_session(request),
            "whole": "HX-Request" not in request.headers,
        }


def address(request: web.Request, **other: object) -> str:
    """Return the address of ``request`` with ``other`` parameters; what is None is left out, as what is empty."""
    query = {name: value for name, value in request.query.items() if value and name not in other}
    query |= {name: str(value) for name, value in other.items() if value is not None}
    return str(request.rel_url.with_query(query))


@cache
def _styles() -> str:
    """Return what every page is drawn with. It comes with the page, which a browser draws only when it has both."""
    return assets.assets()["app.css"].body.decode()


@cache
def _headers() -> dict[str, str]:
    digest = base64.b64encode(hashlib.sha256(_styles().encode()).digest()).decode()
    return {
        "Content-Security-Policy": POLICY.format(styles=f"'sha256-{digest}'"),
        "Vary": "Accept-Language, HX-Request",
    }


async def _prepare_if_possible() -> None:
    try:
        await asyncio.to_thread(_prepare)
    except OSError as error:
        # Each page gets ready itself what it needs.
        log.warning("pages not prepared", action="pages_not_prepared", error=str(error))
    else:
        log.debug("pages prepared", action="pages_prepared")


@cache
def _prepare() -> None:
    """Compile every template in every language, and load what writes numbers and times there."""
    assets.assets()
    for language in LANGUAGES:
        environment, reader = _environment(language), Reader(language)
        for name in environment.list_templates():
            environment.get_template(name)
        reader.ago(datetime.now(UTC))
        reader.money(1, "RON")


@cache
def _environment(language: str) -> Environment:
    reader = Reader(language)
    environment = Environment(
        loader=PackageLoader("emag_syncd.web.console"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        bytecode_cache=_compiled,
        # What a filter makes of a constant in one language must not be compiled in for the others.
        optimized=False,
        extensions=["jinja2.ext.i18n", "jinja2.ext.do"],
    )
    environment.install_gettext_translations(reader.translations, newstyle=True)  # type: ignore[attr-defined]
    environment.filters |= {
        "sentence": reader.sentence,
        "number": reader.number,
        "percent": reader.percent,
        "money": reader.money,
        "duration": reader.duration,
        "moment": reader.moment,
        "ago": reader.ago,
    }
    environment.globals |= {
        "asset": assets.address,
        "version": __version__,
        "language": reader.language,
        "styles": _styles(),
    }
    return environment
