"""The first page: is each account right, as of when, what runs now, what comes next."""

from aiohttp import web

from emag_syncd.web.console.pages import Pages
from emag_syncd.web.overview import Overview


class OverviewPage:
    """The state of every account at a glance."""

    def __init__(self, pages: Pages, overview: Overview) -> None:
        """Show what ``overview`` says."""
        self._pages = pages
        self._overview = overview

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [web.get("/", self._show)]

    async def _show(self, request: web.Request) -> web.Response:
        return self._pages.page(request, "overview.html", **await self._overview.state())
