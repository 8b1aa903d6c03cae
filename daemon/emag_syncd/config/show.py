"""The configuration in force, for people: nothing secret in it."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, SecretStr

from emag_syncd.config.model import Configuration, Marketplace
from emag_syncd.config.secrets import MASK, hide_passwords
from emag_syncd.config.settings import AccountSettings, Settings


def effective(settings: Settings) -> dict[str, Any]:
    """Return every setting with the value in force, as nested plain values, secrets masked."""
    shown = {name: _shown(getattr(settings, name)) for name in Configuration.model_fields}
    shown["database"]["url"] = _database_url(settings)
    shown["accounts"] = {name: _account(account) for name, account in settings.accounts.items()}
    return shown


def as_toml(values: Mapping[str, Any]) -> str:
    """Return nested plain values as TOML. What is None stands in a comment, as TOML has no word for it."""
    return "\n".join(_lines(values, ())) + "\n"


def _database_url(settings: Settings) -> str | None:
    url = settings.database.url
    return hide_passwords(url.get_secret_value()) if url else None


def _account(account: AccountSettings) -> dict[str, Any]:
    return {
        "platform": account.platform.value,
        "base_url": account.base_url,
        "username": account.username,
        "password": MASK,
        "schedule": {"full": str(account.full), "incremental": str(account.incremental)},
        "marketplace": {name: _shown(getattr(account, name)) for name in Marketplace.model_fields},
        "sync": {"timeout_seconds": _shown(account.timeout_seconds)},
    }


def _shown(value: Any) -> Any:
    match value:
        case BaseModel():
            return {name: _shown(getattr(value, name)) for name in type(value).model_fields}
        case SecretStr():
            return MASK
        case None | bool() | int():
            return value
        case float():
            return int(value) if value.is_integer() else value
        case tuple():
            return [_shown(one) for one in value]
        case _:
            return hide_passwords(str(value))


def _lines(values: Mapping[str, Any], above: tuple[str, ...]) -> Iterator[str]:
    tables = {name: value for name, value in values.items() if isinstance(value, Mapping)}
    if above and len(tables) < len(values):
        yield f"\n[{'.'.join(above)}]"
    for name, value in values.items():
        if value is None:
            yield f"# {name} is not set"
        elif name not in tables:
            yield f"{name} = {_value(value)}"
    for name, table in tables.items():
        yield from _lines(table, (*above, name))


def _value(value: Any) -> str:
    # TOML's basic strings are JSON's, but for DEL, which JSON leaves as it is.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
