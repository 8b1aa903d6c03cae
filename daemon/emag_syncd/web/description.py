"""Where the API describes itself."""

from functools import cached_property
from typing import Any

from aiohttp import web

from emag_syncd.web.answers import answer
from emag_syncd.web.guard import Guard
from emag_syncd.web.openapi import document, operation

PATH = "/api/v1/openapi.json"


class Description:
    """The description of all that is declared among the routes of an application."""

    def __init__(self, app: web.Application, guard: Guard) -> None:
        """Describe ``app``, asked for in the ways that ``guard`` knows."""
        self._app = app
        self._sessions = guard.sessions

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [web.get(PATH, self._show)]

    @operation("This description", answers={200: dict[str, Any]})
    async def _show(self, _request: web.Request) -> web.Response:
        return answer(self._document)

    @cached_property
    def _document(self) -> dict[str, Any]:
        return document(self._app.router.routes(), cookie=self._sessions.cookie if self._sessions else None)
