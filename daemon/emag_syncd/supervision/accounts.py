"""The accounts that are configured, each with its way to the marketplace."""

from collections.abc import Iterator

from emag_syncd.config import AccountSettings, Settings
from emag_syncd.domain.errors import ConfigurationError
from emag_syncd.marketplace.link import AccountLink, LinkSettings
from emag_syncd.marketplace.pacing import SharedBudget
from emag_syncd.storage.budgets import Budgets
from emag_syncd.sync.settings import RunSettings


class Account:
    """One account: its settings of the moment, its session and its pace, which outlive every run."""

    def __init__(
        self, settings: AccountSettings, run_settings: RunSettings, budget: SharedBudget | None = None
    ) -> None:
        """Open no connection yet. Without a ``budget`` no other process asks for the account."""
        self.settings = settings
        self.run_settings = run_settings
        self.link = AccountLink(_link_settings(settings), budget)

    def reconfigure(self, settings: AccountSettings, run_settings: RunSettings) -> None:
        """Take over changed settings: they hold from the next request on."""
        self.link.reconfigure(_link_settings(settings))
        self.settings, self.run_settings = settings, run_settings

    @property
    def name(self) -> str:
        """The account's name, which the tables call ``account_type``."""
        return self.settings.name


class Accounts:
    """The accounts by their names."""

    def __init__(self, settings: Settings, budgets: Budgets) -> None:
        """Take the accounts of ``settings``, each with its share of ``budgets``."""
        self._budgets = budgets
        self._accounts = {name: self._added(settings, account) for name, account in settings.accounts.items()}
        self._dropped: list[Account] = []

    def __iter__(self) -> Iterator[Account]:
        """Iterate in the order of the configuration."""
        return iter(list(self._accounts.values()))

    @property
    def names(self) -> list[str]:
        """The names, in the order of the configuration."""
        return list(self._accounts)

    def get(self, name: str) -> Account:
        """Return one account. Raises ConfigurationError for a name that is not configured."""
        if name not in self._accounts:
            raise ConfigurationError(
                f'no account is called "{name}"',
                remedy=f"configured are: {', '.join(self._accounts) or 'none'}",
            )
        return self._accounts[name]

    def reconfigure(self, settings: Settings) -> None:
        """Take over changed settings, new accounts and the end of old ones."""
        known, self._accounts = self._accounts, {}
        for name, changed in settings.accounts.items():
            account = known.get(name)
            if account is None:
                account = self._added(settings, changed)
            else:
                account.reconfigure(changed, run_settings(settings, changed))
            self._accounts[name] = account
        # A run of an account that is gone may still be under way.
        self._dropped += [account for name, account in known.items() if name not in self._accounts]

    def _added(self, settings: Settings, account: AccountSettings) -> Account:
        return Account(account, run_settings(settings, account), self._budgets.of(account.name))

    async def close(self) -> None:
        """Close every connection to the marketplace."""
        for account in (*self, *self._dropped):
            await account.link.close()


def _link_settings(account: AccountSettings) -> LinkSettings:
    return LinkSettings(
        account=account.name,
        base_url=account.base_url,
        username=account.username,
        password=account.password,
        requests_per_second=account.requests_per_second,
        requests_per_minute=account.requests_per_minute,
        max_concurrent_requests=account.max_concurrent_requests,
        request_timeout_seconds=account.request_timeout_seconds,
        max_attempts=account.max_attempts,
    )


def run_settings(settings: Settings, account: AccountSettings) -> RunSettings:
    """Return what the runs of ``account`` need to know."""
    return RunSettings(
        page_size=account.page_size,
        max_concurrent_requests=account.max_concurrent_requests,
        max_attempts=account.max_attempts,
        resume_within_seconds=settings.sync.resume_within_seconds,
        removal_guard_percent=settings.sync.removal_guard_percent,
        lease_seconds=settings.sync.lease_seconds,
    )
