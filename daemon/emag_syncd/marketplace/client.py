"""Asks the marketplace, for one run: paced, patient, and every attempt noted."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ParamSpec, Protocol, TypeVar

import msgspec
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt

from emag_syncd.domain.calls import ApiCall, CallOutcome
from emag_syncd.domain.errors import (
    CredentialsError,
    IpNotAllowedError,
    MarketplaceError,
    ProtocolError,
    RejectedError,
)
from emag_syncd.domain.numbers import number
from emag_syncd.domain.offers import Item, Page
from emag_syncd.marketplace.answers import Answer, read_answer, results_of
from emag_syncd.marketplace.errors import RateLimitedError, TransientError
from emag_syncd.marketplace.link import AccountLink
from emag_syncd.marketplace.pacing import Patience, at_once
from emag_syncd.marketplace.repair import readable
from emag_syncd.marketplace.splitting import split
from emag_syncd.marketplace.transport import Exchange
from emag_syncd.marketplace.verification import check_filters, verify

OFFERS_READ = "product_offer/read"
OFFERS_COUNT = "product_offer/count"
VAT_READ = "vat/read"
RESOURCES = (OFFERS_READ, OFFERS_COUNT, VAT_READ)
"""Everything that is ever asked."""

KEPT_BODY = 64 * 2**10
"""Characters of a failed call's answer that are kept."""

MOST_OFFERS = 2**32 - 1
"""The marketplace's ids end there: no account has more."""

READ_AT_ONCE = 2**20
"""Bytes of an answer that are made sense of on the event loop; larger ones would hold it up."""

P = ParamSpec("P")
T = TypeVar("T")


class Observer(Protocol):
    """Whoever wants to know what a client does. Called on the loop: must not block."""

    def called(self, call: ApiCall) -> None:
        """One request was made, and this came of it."""

    def rate_limited(self, wait_seconds: float) -> None:
        """The marketplace answered 429; the account pauses for so long."""

    def paced(self, waited_seconds: float) -> None:
        """A request waited for its turn."""


class Client:
    """Reads offers of one account. Light: one for each run, over the link that they share.

    Every method raises CredentialsError, IpNotAllowedError, RejectedError, ProtocolError and
    UnavailableError. An answer of 429 is no failure: the account pauses and the request is made again, for as
    long as the run may last. They also raise what the account's shared budget does beyond ``patience``.
    """

    def __init__(self, link: AccountLink, observer: Observer, patience: Patience = at_once) -> None:
        """Ask over ``link`` and tell ``observer``."""
        self._link = link
        self._observer = observer
        self._patience = patience

    async def count(self, filters: Mapping[str, Any]) -> int:
        """Return how many offers the filters select."""
        check_filters(filters)
        return await self._retried(self._ask, OFFERS_COUNT, filters, self._counted)

    async def read_page(self, filters: Mapping[str, Any], page: int, size: int) -> Page:
        """Return a page of offers, counted from 1; past the last one it is empty.

        Makes one attempt: raises TransientError when another, perhaps with a smaller page, may succeed.
        """
        check_filters(filters)

        def verified(results: bytes) -> Page:
            found = self._split(results)
            verify(found, filters, size, f"{self._link.settings.setting}.base_url")
            return found

        params = {**filters, "currentPage": page, "itemsPerPage": size}
        return await self._ask(OFFERS_READ, params, verified)

    async def read_offer(self, emag_id: int) -> Item | None:
        """Return the offer with this id, or None when the marketplace proves that it has none."""

        async def whole_page() -> Page:
            page = await self.read_page({"id": emag_id}, 1, 1)
            if page.rejects:
                raise self._unusable(f"offer {emag_id}, asked for by id, came unusable: {page.rejects[0].reason}")
            return page

        page = await self._retried(whole_page)
        return page.items[0] if page.items else None

    async def vat_rates(self) -> list[dict[str, Any]]:
        """Return the VAT rates: the cheapest proof that credentials, API right and IP are in order."""
        return await self._retried(self._ask, VAT_READ, {}, self._objects)

    async def test_connection(self) -> int:
        """Prove that the account works, and return how many offers it has."""
        await self.vat_rates()
        return await self.count({})

    async def _retried(self, attempt: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        def wait(state: RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            return self._link.backoff(state.attempt_number, error) if isinstance(error, TransientError) else 0.0

        retrying = AsyncRetrying(
            retry=retry_if_exception_type(TransientError),
            stop=stop_after_attempt(self._link.settings.max_attempts),
            wait=wait,
            reraise=True,
        )
        try:
            return await retrying(attempt, *args, **kwargs)
        except TransientError as error:
            raise error.final() from None

    async def _ask(self, resource: str, params: Mapping[str, Any], understand: Callable[[bytes], T]) -> T:
        while True:
            turn = await self._link.pacer.acquire(self._patience)
            if turn.waited > 0:
                self._observer.paced(turn.waited)
            exchange = Exchange(left=turn.left)
            try:
                answer = await self._noted(exchange, resource, params, understand)
            except RateLimitedError as limited:
                self._observer.rate_limited(self._link.rate_limited(exchange.started, limited.wait))
            else:
                self._link.answered()
                return answer

    async def _noted(
        self, exchange: Exchange, resource: str, params: Mapping[str, Any], understand: Callable[[bytes], T]
    ) -> T:
        """Make one request, and one note of it however it ends."""
        link = self._link
        outcome = CallOutcome.BAD_ANSWER
        messages: tuple[str, ...] = ()
        try:
            await link.post(resource, msgspec.json.encode(params), exchange)
            async with link.reading:
                # Answers that came together would hold up the event loop together: it turns before each of them.
                await asyncio.sleep(0)
                answer = await _read(exchange, link)
                messages = answer.messages
                understood = understand(results_of(answer))
            outcome = CallOutcome.OK
        except asyncio.CancelledError:
            outcome = CallOutcome.ABORTED
            raise
        except MarketplaceError as error:
            outcome = _outcome(error)
            raise
        finally:
            failed = outcome is not CallOutcome.OK
            self._observer.called(
                ApiCall(
                    account=link.settings.account,
                    resource=resource,
                    started=exchange.started,
                    duration=exchange.duration,
                    outcome=outcome,
                    params=dict(params),
                    status_code=exchange.status,
                    response_bytes=None if exchange.status is None else len(exchange.body),
                    messages=messages,
                    body=link.redactor.head(exchange.body, KEPT_BODY) if failed and exchange.body else None,
                )
            )
        return understood

    def _split(self, results: bytes) -> Page:
        try:
            return split(results)
        except ValueError as error:
            raise self._unusable(f"the marketplace's results are {error}") from None

    def _objects(self, results: bytes) -> list[dict[str, Any]]:
        _, found = readable(results)
        entries = found if isinstance(found, list) else [found] if found else []
        if not all(isinstance(entry, dict) for entry in entries):
            raise self._unusable("the marketplace's results are not a list of objects")
        return entries

    def _counted(self, results: bytes) -> int:
        entries = self._objects(results)
        try:
            count = number(str(entries[0]["noOfItems"]).strip())
        except (IndexError, KeyError, ValueError):
            count = -1
        if not isinstance(count, int) or not 0 <= count <= MOST_OFFERS:
            raise self._unusable("the marketplace's count has no noOfItems that is a number of offers")
        return count

    def _unusable(self, what: str) -> TransientError:
        remedy = f"check {self._link.settings.setting}.base_url"
        return TransientError(what, outcome=CallOutcome.BAD_ANSWER, remedy=remedy)


async def _read(exchange: Exchange, link: AccountLink) -> Answer:
    if len(exchange.body) <= READ_AT_ONCE:
        return read_answer(exchange, link.settings, link.redactor)
    return await asyncio.to_thread(read_answer, exchange, link.settings, link.redactor)


_OUTCOMES: dict[type[MarketplaceError], CallOutcome] = {
    RateLimitedError: CallOutcome.RATE_LIMITED,
    CredentialsError: CallOutcome.CREDENTIALS,
    IpNotAllowedError: CallOutcome.IP_NOT_ALLOWED,
    RejectedError: CallOutcome.REJECTED,
    ProtocolError: CallOutcome.BAD_ANSWER,
}


def _outcome(error: MarketplaceError) -> CallOutcome:
    return error.outcome if isinstance(error, TransientError) else _OUTCOMES[type(error)]
