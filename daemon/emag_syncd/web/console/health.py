"""How the daemon itself is: what it checks, what turns, what it may still ask the marketplace, how it is set up."""

from typing import Any

from aiohttp import web

from emag_syncd.config.show import as_toml, effective
from emag_syncd.supervision.accounts import Account
from emag_syncd.web.console.pages import Pages
from emag_syncd.web.parts import WebParts

MINUTE = 60.0


class HealthPage:
    """The state of the process. Nothing on it waits for the database or the marketplace."""

    def __init__(self, pages: Pages, parts: WebParts) -> None:
        """Show what ``parts`` know of themselves."""
        self._pages = pages
        self._accounts = parts.accounts
        self._health = parts.health
        self._settings = parts.settings
        self._pool = parts.pool
        self._supervisor = parts.supervisor

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [web.get("/health", self._show)]

    async def _show(self, request: web.Request) -> web.Response:
        settings = self._settings()
        ready, live, others = self._health.ready(), self._health.live(), self._health.others()
        return self._pages.page(
            request,
            "health.html",
            is_well=all(check.ok for check in (*ready, *live)),
            late=any(check.late for check in (*ready, *live, *others)),
            ready=[*ready, *others],
            loops=live,
            pool=self._pool(),
            budgets=[_budget(account) for account in self._accounts],
            running=len(self._supervisor.handles()),
            configuration=as_toml(effective(settings)),
            source=settings.path,
        )


def _budget(account: Account) -> dict[str, Any]:
    """Return how much of what the marketplace permits in a minute this process used in the last one."""
    permitted = min(account.settings.requests_per_minute, account.settings.requests_per_second * MINUTE)
    return {"name": account.name, "used": account.link.pacer.sent_within(MINUTE), "permitted": int(permitted)}
