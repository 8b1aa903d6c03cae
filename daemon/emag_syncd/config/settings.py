"""The settings in force: one frozen object, read once and handed to whoever needs a part of it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import SecretStr, ValidationError

from emag_syncd.config import rules
from emag_syncd.config.model import (
    Account,
    Configuration,
    Database,
    Http,
    Log,
    Marketplace,
    Retention,
    Scheduling,
    Sync,
    Watchdog,
    Webhooks,
)
from emag_syncd.config.problems import explain
from emag_syncd.config.secrets import basic_credentials, passwords_in
from emag_syncd.config.sources import Gathered, gather, state_directory
from emag_syncd.domain.errors import ConfigurationError
from emag_syncd.domain.platforms import Platform
from emag_syncd.domain.runs import Operation
from emag_syncd.domain.schedules import Off, Schedule


@dataclass(frozen=True, slots=True)
class AccountSettings:
    """Everything that holds for one account, its own settings over the general ones. Times are in seconds."""

    name: str
    platform: Platform
    base_url: str
    username: str
    password: SecretStr
    full: Schedule
    incremental: Schedule
    page_size: int
    max_concurrent_requests: int
    request_timeout_seconds: float
    requests_per_second: int
    requests_per_minute: int
    max_attempts: int
    timeout_seconds: float

    def schedule(self, operation: Operation) -> Schedule:
        """Return when ``operation`` runs by itself."""
        schedules = {Operation.FULL: self.full, Operation.INCREMENTAL: self.incremental}
        return schedules.get(operation, Off())


@dataclass(frozen=True, slots=True)
class Settings:
    """The configuration in force. ``warnings`` are sentences for the log; ``path`` is the file, if any."""

    database: Database
    http: Http
    sync: Sync
    watchdog: Watchdog
    marketplace: Marketplace
    accounts: Mapping[str, AccountSettings]
    schedule: Scheduling
    retention: Retention
    webhooks: Webhooks
    log: Log
    shutdown_seconds: float
    state_dir: Path
    path: Path | None = None
    warnings: tuple[str, ...] = ()

    @classmethod
    def of(cls, values: Mapping[str, Any], state_dir: Path) -> "Settings":
        """Return the settings that nested ``values`` alone make. Raises ConfigurationError."""
        return _build(Gathered(dict(values)), state_dir)

    def require_accounts(self) -> Mapping[str, AccountSettings]:
        """Return the accounts. Raises ConfigurationError where there is none."""
        if not self.accounts:
            raise ConfigurationError(
                "no account is configured",
                remedy="set accounts.NAME.username and accounts.NAME.password, where NAME is main, say",
            )
        return self.accounts

    def account(self, name: str) -> AccountSettings:
        """Return one account. Raises ConfigurationError for a name that is not configured."""
        if name not in self.accounts:
            known = ", ".join(self.accounts) or "none"
            raise ConfigurationError(f'no account is called "{name}"', remedy=f"configured are: {known}")
        return self.accounts[name]

    def secrets(self) -> tuple[str, ...]:
        """Return every text that must not appear in a log, encoded forms included."""
        found = {self.http.token.get_secret_value()} if self.http.token else set()
        for key in self.webhooks.keys:
            found.update({key, key.removeprefix("whsec_")})
        if self.database.url:
            found.update(passwords_in(self.database.url.get_secret_value()))
        for account in self.accounts.values():
            password = account.password.get_secret_value()
            found.update({password, basic_credentials(account.username, password)})
        return tuple(sorted(found))


def load(path: Path | None = None, environ: Mapping[str, str] = os.environ) -> Settings:
    """Read the configuration from ``path``, the environment and the credentials.

    Raises ConfigurationError, whose message has a line for each problem there is.
    """
    return _build(gather(path, environ), state_directory(environ))


def _build(gathered: Gathered, state_dir: Path) -> Settings:
    problems = gathered.problems
    try:
        configuration = Configuration.model_validate(gathered.values)
    except ValidationError as invalid:
        lines = [*problems, *explain(invalid.errors(include_url=False), gathered)]
        raise ConfigurationError("\n".join(lines)) from None
    problems = [*problems, *rules.violations(configuration)]
    if problems:
        raise ConfigurationError("\n".join(problems))
    settled = rules.settle(configuration)
    accounts = {name: _account(name, one, configuration) for name, one in configuration.accounts.items()}
    return Settings(
        **{name: getattr(settled, name) for name in Configuration.model_fields if name != "accounts"},
        accounts=MappingProxyType(accounts),
        state_dir=state_dir,
        path=gathered.file,
        warnings=tuple(rules.cautions(settled, gathered)),
    )


def _account(name: str, account: Account, general: Configuration) -> AccountSettings:
    limits = account.sync if account.sync.model_fields_set else general.sync
    own = account.marketplace.model_dump(exclude_unset=True)
    marketplace = rules.fit_requests(general.marketplace.model_copy(update=own), limits)
    return AccountSettings(
        name=name,
        platform=account.platform,
        base_url=account.base_url or account.platform.base_url,
        username=account.username,
        password=account.password,
        full=account.schedule.full,
        incremental=account.schedule.incremental,
        timeout_seconds=limits.timeout_seconds,
        **marketplace.model_dump(),
    )
