"""What changed, newest first."""

from uuid import UUID

from aiohttp import web
from pydantic import Field

from emag_syncd.domain.changes import ChangeKind
from emag_syncd.domain.offers import COLUMNS
from emag_syncd.web.console.entries import entry
from emag_syncd.web.console.pages import Pages, address
from emag_syncd.web.parameters import LARGEST, AccountName, Parameters, read_query
from emag_syncd.web.parts import WebParts

ON_A_PAGE = 50


class FeedParameters(Parameters):
    """Which changes to show: those where column ``field`` changed; ``before`` is the last one of the page before."""

    account_type: AccountName | None = None
    kind: ChangeKind | None = None
    field: str | None = Field(default=None, max_length=64, pattern=r"^[^\x00]*$")
    sync_log_id: UUID | None = None
    before: int | None = Field(default=None, ge=0, le=LARGEST)


class ChangesPage:
    """The changes of all products, or some of them."""

    def __init__(self, pages: Pages, parts: WebParts) -> None:
        """Show what the catalogue of ``parts`` has."""
        self._pages = pages
        self._accounts = parts.accounts
        self._catalogue = parts.catalogue

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [web.get("/changes", self._list)]

    async def _list(self, request: web.Request) -> web.Response:
        wanted = read_query(request, FeedParameters)
        rows = await self._catalogue.changes_before(
            wanted.before,
            limit=ON_A_PAGE + 1,
            account=wanted.account_type,
            kind=wanted.kind,
            run_id=wanted.sync_log_id,
            column=wanted.field,
        )
        shown = rows[:ON_A_PAGE]
        response = self._pages.page(
            request,
            "changes.html",
            accounts=self._accounts.names,
            kinds=list(ChangeKind),
            columns=COLUMNS,
            run_id=wanted.sync_log_id,
            filtered=any((wanted.account_type, wanted.kind, wanted.field, wanted.sync_log_id)),
            changes=[entry(row) for row in shown],
            older=address(request, before=shown[-1]["id"]) if len(rows) > len(shown) else None,
            newest=address(request, before=None) if wanted.before else None,
        )
        # An address without what it would say anyway: to look at, and to pass on.
        response.headers["HX-Push-Url"] = address(request)
        return response
