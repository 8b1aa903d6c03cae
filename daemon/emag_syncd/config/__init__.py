"""The settings, their sources and their validation."""

from emag_syncd.config.model import (
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
from emag_syncd.config.secrets import MASK, basic_credentials, hide_passwords, spellings
from emag_syncd.config.settings import AccountSettings, Settings, load
from emag_syncd.config.show import as_toml, effective

__all__ = [
    "MASK",
    "AccountSettings",
    "Database",
    "Http",
    "Log",
    "Marketplace",
    "Retention",
    "Scheduling",
    "Settings",
    "Sync",
    "Watchdog",
    "Webhooks",
    "as_toml",
    "basic_credentials",
    "effective",
    "hide_passwords",
    "load",
    "spellings",
]
