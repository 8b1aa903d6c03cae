"""Whether an account's way to the marketplace works."""

import asyncio
from http import HTTPStatus
from typing import Literal, TypedDict

from aiohttp import web

from emag_syncd.domain.calls import ApiCall
from emag_syncd.domain.runs import ErrorKind
from emag_syncd.marketplace.client import Client
from emag_syncd.supervision.accounts import Account, Accounts
from emag_syncd.supervision.recorder import Recorder
from emag_syncd.web.answers import ProblemError, answer
from emag_syncd.web.openapi import operation
from emag_syncd.web.parameters import ConnectionParameters, read_body
from emag_syncd.web.parts import API

LONGEST_SECONDS = 60.0
"""How long somebody may be expected to wait for a page."""


class _Noted:
    """Lets the call log and the metrics know of requests that belong to no run."""

    def __init__(self, recorder: Recorder, account: str) -> None:
        self._recorder = recorder
        self._account = account

    def called(self, call: ApiCall) -> None:
        self._recorder.called(call, None)

    def rate_limited(self, wait_seconds: float) -> None:
        self._recorder.rate_limited(self._account, wait_seconds)

    def paced(self, waited_seconds: float) -> None:
        self._recorder.paced(self._account, waited_seconds)


class Tested(TypedDict):
    """What was tried, and how many offers there are."""

    account_type: str
    base_url: str
    total_products: int


class ConnectionTest(TypedDict):
    """The way to the marketplace works."""

    status: Literal["success"]
    message: str
    data: Tested


class Connections:
    """The ways to the marketplace."""

    def __init__(self, accounts: Accounts, recorder: Recorder) -> None:
        """Try ``accounts``, and let ``recorder`` know of each request."""
        self._accounts = accounts
        self._recorder = recorder

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [web.post(f"{API}/test-connection", self._test)]

    @operation(
        "Try an account's way to the marketplace",
        body=ConnectionParameters,
        answers={HTTPStatus.OK: ConnectionTest},
        problems={
            HTTPStatus.BAD_GATEWAY: "The marketplace refused, or failed: kind and remedy say how",
            HTTPStatus.GATEWAY_TIMEOUT: "The marketplace gave no useful answer in time",
        },
    )
    async def _test(self, request: web.Request) -> web.Response:
        account, total = await self.test((await read_body(request, ConnectionParameters)).account_type)
        content: ConnectionTest = {
            "status": "success",
            "message": f"account {account.name} works: the marketplace has {total} of its offers",
            "data": {
                "account_type": account.name,
                "base_url": account.settings.base_url,
                "total_products": total,
            },
        }
        return answer(content)

    async def test(self, name: str) -> tuple[Account, int]:
        """Return the account, and how many offers the marketplace says it has.

        Raises ProblemError where that takes too long, and what stands in the way as SyncdError.
        """
        account = self._accounts.get(name)
        client = Client(account.link, _Noted(self._recorder, account.name))
        try:
            async with asyncio.timeout(LONGEST_SECONDS):
                return account, await client.test_connection()
        except TimeoutError:
            raise ProblemError(
                HTTPStatus.GATEWAY_TIMEOUT,
                f"the marketplace gave account {account.name} no useful answer within {LONGEST_SECONDS:g} s",
                kind=ErrorKind.MARKETPLACE_UNAVAILABLE,
                remedy="try again later; if it stays so, see the log of this daemon for what came instead",
            ) from None
