"""Tries everything that the daemon needs, one thing after the other, and says of each whether it is well."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace

from emag_syncd.config import AccountSettings, Settings
from emag_syncd.domain.calls import ApiCall
from emag_syncd.domain.errors import ConfigurationError, DatabaseError, SyncdError, UnavailableError
from emag_syncd.marketplace.client import Client
from emag_syncd.service.databases import database_address, open_database, require_schema
from emag_syncd.storage.budgets import Budgets
from emag_syncd.storage.calls import CallLog
from emag_syncd.storage.catalogue import REMEDY, Catalogue
from emag_syncd.storage.database import Database
from emag_syncd.supervision.accounts import Account, run_settings
from emag_syncd.supervision.worker import this_worker

ATTEMPTS = 2
REQUEST_SECONDS = 20.0
ACCOUNT_SECONDS = 60.0
"""What trying an account may take in all, waiting for its rate limit included."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was tried: what it says when it is well, or what is wrong."""

    name: str
    text: str = ""
    error: SyncdError | None = None


class _Calls:
    """The calls that trying an account makes: the marketplace asks for a log of all of them."""

    def __init__(self) -> None:
        self.made: list[ApiCall] = []

    def called(self, call: ApiCall) -> None:
        self.made.append(call)

    def rate_limited(self, wait_seconds: float) -> None:
        """Wait for it, as any other caller."""

    def paced(self, waited_seconds: float) -> None:
        """Wait for it, as any other caller."""


async def check(settings: Settings) -> AsyncGenerator[Finding, None]:
    """Yield what was found, in the order in which things depend on each other. Raises nothing on purpose."""
    async with AsyncExitStack() as stack:
        database: Database | None = None
        try:
            dsn = await stack.enter_async_context(database_address(settings))
            database = await stack.enter_async_context(open_database(settings, dsn))
            yield Finding("database", database.name)
            await require_schema(database)
            yield Finding("schema", "up to date")
            yield await _search(database)
            usable: Database | None = database
        except (ConfigurationError, DatabaseError) as error:
            yield Finding("schema" if database else "database", error=error)
            usable = None
        async for finding in _accounts(settings, usable):
            yield finding


async def _search(database: Database) -> Finding:
    if await Catalogue(database).is_searchable():
        return Finding("search", "by index")
    return Finding("search", f"but slow, as it reads every product: {REMEDY}")


async def _accounts(settings: Settings, database: Database | None) -> AsyncGenerator[Finding, None]:
    if not settings.accounts:
        try:
            settings.require_accounts()
        except ConfigurationError as error:
            yield Finding("accounts", error=error)
    calls = _Calls()
    budgets = Budgets(database, holder=str(this_worker())) if database else None
    accounts = [
        Account(_bounded(one), run_settings(settings, one), budgets.of(one.name) if budgets else None)
        for one in settings.accounts.values()
    ]
    for tried in asyncio.as_completed([_try(account, calls) for account in accounts]):
        yield await tried
    if database is not None:
        call_log = CallLog(database)
        for call in calls.made:
            call_log.add(call, None)
        await call_log.flush()


async def _try(account: Account, calls: _Calls) -> Finding:
    name = f"account {account.name}"
    try:
        async with account.link as link, asyncio.timeout(ACCOUNT_SECONDS):
            offers = await Client(link, calls).test_connection()
    except TimeoutError:
        remedy = "other software may be using up the account's rate limit; try again later"
        return Finding(name, error=UnavailableError(f"no answer within {ACCOUNT_SECONDS:g} s", remedy=remedy))
    except SyncdError as error:
        return Finding(name, error=error)
    return Finding(name, f"{offers} offers at {account.settings.base_url}")


def _bounded(account: AccountSettings) -> AccountSettings:
    return replace(
        account,
        max_attempts=min(ATTEMPTS, account.max_attempts),
        request_timeout_seconds=min(REQUEST_SECONDS, account.request_timeout_seconds),
    )
