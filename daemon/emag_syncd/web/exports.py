"""Products as a file, at any size and for readers of any speed."""

import asyncio
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from http import HTTPStatus

import structlog
from aiohttp import hdrs, web

from emag_syncd.domain.errors import SyncdError
from emag_syncd.domain.tabular import csv_head, csv_writer
from emag_syncd.storage import exports
from emag_syncd.web.answers import ProblemError
from emag_syncd.web.openapi import Text, operation
from emag_syncd.web.parameters import FilterParameters, read_query
from emag_syncd.web.parts import API, WebParts

MOST_READERS = 4
PATIENCE_SECONDS = 60.0
"""How long a reader may take nothing at all."""

log = structlog.get_logger(__name__)


class Exports:
    """What can be downloaded."""

    def __init__(self, parts: WebParts) -> None:
        """Read with ``parts``."""
        self._catalogue = parts.catalogue
        self._readers = 0

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        # Without HEAD, whose answers have no body: a stream would write one.
        return [web.get(f"{API}/export.csv", self._products, allow_head=False)]

    @operation("Products as CSV", query=FilterParameters, answers={HTTPStatus.OK: Text("text/csv")})
    async def _products(self, request: web.Request) -> web.StreamResponse:
        wanted = read_query(request, FilterParameters).wanted()
        write = csv_writer(exports.PRODUCT)
        response = web.StreamResponse(
            headers={
                hdrs.CONTENT_TYPE: "text/csv; charset=utf-8",
                hdrs.CONTENT_DISPOSITION: 'attachment; filename="emag-products.csv"',
            }
        )
        with self._reader():
            async with aclosing(exports.products(self._catalogue, wanted)) as batches:
                # The first one before anything is sent: what is wrong by then is told as ever.
                first = await anext(batches)
                await response.prepare(request)
                with _broken_off(request):
                    await _send(response, csv_head(exports.PRODUCT) + write(first))
                    async for rows in batches:
                        await _send(response, write(rows))
        return response

    @contextmanager
    def _reader(self) -> Iterator[None]:
        if self._readers >= MOST_READERS:
            raise ProblemError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"{MOST_READERS} exports are under way already: try again when one is done",
                headers={hdrs.RETRY_AFTER: "30"},
            )
        self._readers += 1
        try:
            yield
        finally:
            self._readers -= 1


@contextmanager
def _broken_off(request: web.Request) -> Iterator[None]:
    """End what fails without a proper end: whoever reads it must not take it for the whole."""
    try:
        yield
    except (SyncdError, OSError) as error:
        log.warning("an export was broken off", action="export_broken_off", error=str(error) or type(error).__name__)
        if request.transport is not None:
            request.transport.abort()


async def _send(response: web.StreamResponse, text: bytes) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        await response.write(text)
