"""What the buttons do. Each answers with a message that the page shows for a while."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from aiohttp import web

from emag_syncd.domain.errors import SyncdError
from emag_syncd.domain.runs import Trigger
from emag_syncd.web.answers import ProblemError
from emag_syncd.web.connections import Connections
from emag_syncd.web.console.pages import Pages
from emag_syncd.web.parameters import CleanUpParameters, ConnectionParameters, SyncParameters, read_form, validated
from emag_syncd.web.syncs import Syncs

Said: TypeAlias = dict[str, Any]
Action: TypeAlias = Callable[[dict[str, str]], Awaitable[Said]]

NUMBERS = ("id", "status", "general_stock")
TEXTS = ("part_number", "part_number_key")


class Actions:
    """The buttons of the console, beside the API's own ways to do the same."""

    def __init__(self, pages: Pages, syncs: Syncs, connections: Connections) -> None:
        """Do what ``syncs`` and ``connections`` do for the API."""
        self._pages = pages
        self._syncs = syncs
        self._connections = connections

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        actions: dict[str, Action] = {
            "sync": self._sync,
            "cancel": self._cancel,
            "clean-up": self._clean_up,
            "test-connection": self._test,
        }
        return [web.post(f"/actions/{name}", self._saying(action)) for name, action in actions.items()]

    def _saying(self, action: Action) -> Callable[[web.Request], Awaitable[web.Response]]:
        """Return a handler that does ``action`` and says in words what came of it."""

        async def handle(request: web.Request) -> web.Response:
            try:
                said = await action(await read_form(request))
            except ProblemError as problem:
                return self._refusal(request, problem)
            except SyncdError as error:
                return self._refusal(request, ProblemError.of(error))
            return self._pages.page(request, "toast.html", **said)

        return handle

    def _refusal(self, request: web.Request, problem: ProblemError) -> web.Response:
        return self._pages.page(
            request,
            "toast.html",
            status=problem.status,
            said="refused",
            detail=problem.detail,
            kind=problem.more.get("kind", ""),
            run_id=problem.more.get("sync_id"),
        )

    async def _sync(self, form: dict[str, str]) -> Said:
        handles, skipped = await self._syncs.start(validated(_wishes(form), SyncParameters), Trigger.CONSOLE)
        return {"said": "started", "runs": [handle.lease for handle in handles], "skipped": skipped}

    async def _cancel(self, form: dict[str, str]) -> Said:
        row = await self._syncs.cancel(form.get("id", ""))
        return {"said": "cancelled", "account": row["account_type"]}

    async def _clean_up(self, form: dict[str, str]) -> Said:
        minutes = validated(form, CleanUpParameters).timeout_minutes
        return {"said": "cleaned", "count": len(await self._syncs.clean_up(minutes)), "minutes": minutes}

    async def _test(self, form: dict[str, str]) -> Said:
        account, total = await self._connections.test(validated(form, ConnectionParameters).account_type)
        return {"said": "works", "account": account.name, "total": total}


def _wishes(form: dict[str, str]) -> dict[str, Any]:
    """Return a form as the API has it: what does not go with the mode is left out."""
    mode = form.get("mode", "")
    wishes: dict[str, Any] = {
        name: form[name] for name in ("account_type", "mode", "max_pages", "items_per_page") if name in form
    }
    if mode == "incremental":
        wishes["include_inactive"] = "include_inactive" in form
    if mode == "selective":
        numbers = {name: int(form[name]) if form[name].isdecimal() else form[name] for name in NUMBERS if name in form}
        wishes["filters"] = numbers | {name: form[name] for name in TEXTS if name in form}
    return wishes
