"""The daemon's pages: one HTTP server, made of groups of routes."""

import errno

from aiohttp import web

from emag_syncd.config import Http
from emag_syncd.domain.errors import ConfigurationError
from emag_syncd.web.connections import Connections
from emag_syncd.web.console.actions import Actions
from emag_syncd.web.console.assets import Assets
from emag_syncd.web.console.changes import ChangesPage
from emag_syncd.web.console.errors import humane
from emag_syncd.web.console.health import HealthPage
from emag_syncd.web.console.login import Login
from emag_syncd.web.console.overview import OverviewPage
from emag_syncd.web.console.pages import Pages
from emag_syncd.web.console.product import ProductPage
from emag_syncd.web.console.products import ProductsPage
from emag_syncd.web.console.runs import RunPages
from emag_syncd.web.description import Description
from emag_syncd.web.events import Events
from emag_syncd.web.exports import Exports
from emag_syncd.web.guard import Guard
from emag_syncd.web.manners import guarded, headed, mannered
from emag_syncd.web.overview import Overview
from emag_syncd.web.parts import WebParts
from emag_syncd.web.probes import Probes
from emag_syncd.web.products import Products
from emag_syncd.web.syncs import Syncs

__all__ = ["WebParts", "WebServer"]

MOST_BODY = 64 * 2**10
KEEPALIVE_SECONDS = 15.0
SHUTDOWN_SECONDS = 2.0
"""For requests under way. The runs have ended by then, and with them those that wait for one."""


class WebServer:
    """Listens from ``start`` to ``close``."""

    def __init__(self, http: Http, parts: WebParts) -> None:
        """Serve ``parts`` where ``http`` says."""
        self._host = http.host.strip("[]")
        self._port = http.port
        self._runner = web.AppRunner(
            application(http, parts),
            access_log=None,
            keepalive_timeout=KEEPALIVE_SECONDS,
            shutdown_timeout=SHUTDOWN_SECONDS,
        )

    @property
    def address(self) -> str:
        """Where the pages are, once started."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    @property
    def routes(self) -> list[web.AbstractRoute]:
        """All that is served."""
        return list(self._runner.app.router.routes())

    async def start(self) -> None:
        """Listen. Raises ConfigurationError where the address can't be had."""
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self._port).start()
        except OSError as error:
            await self._runner.cleanup()
            raise self._unusable(error) from error
        self._port = self._runner.addresses[0][1]

    async def close(self) -> None:
        """Stop listening, and end what is still being answered after a short while."""
        await self._runner.cleanup()

    def _unusable(self, error: OSError) -> ConfigurationError:
        if error.errno == errno.EADDRINUSE:
            return ConfigurationError(
                f"http.port {self._port} is in use on {self._host}",
                remedy="stop what listens there, or set http.port to a free one",
            )
        if error.errno == errno.EACCES:
            return ConfigurationError(
                f"http.port {self._port} needs a right that this user does not have",
                remedy="set http.port to one above 1023",
            )
        return ConfigurationError(
            f"http.host {self._host} can't be listened on ({error.strerror or error})",
            remedy="set http.host to an address of this machine",
        )


def application(http: Http, parts: WebParts) -> web.Application:
    """Return the application: a group of routes a line."""
    guard, overview, events = Guard(http), Overview(parts), Events(parts)
    pages = Pages(guard.has_session)
    login, syncs, connections = Login(pages, guard), Syncs(parts), Connections(parts.accounts, parts.recorder)
    open_to_all = [*Probes(parts, guard).routes(), *Assets().routes(), *login.routes()]
    app = web.Application(
        client_max_size=MOST_BODY, middlewares=[events.noted, mannered, humane(pages), guarded(guard, open_to_all)]
    )
    app.add_routes(
        [
            *open_to_all,
            *login.guarded_routes(),
            *syncs.routes(),
            *overview.routes(),
            *connections.routes(),
            *events.routes(),
            *Description(app, guard).routes(),
            *Products(parts).routes(),
            *Exports(parts).routes(),
            *OverviewPage(pages, overview, parts).routes(),
            *RunPages(pages, parts).routes(),
            *ProductsPage(pages, parts).routes(),
            *ProductPage(pages, parts).routes(),
            *ChangesPage(pages, parts).routes(),
            *HealthPage(pages, parts).routes(),
            *Actions(pages, syncs, connections).routes(),
        ]
    )
    app.on_response_prepare.append(headed)
    app.cleanup_ctx.append(pages.prepared)
    app.on_shutdown.append(events.close)
    return app
