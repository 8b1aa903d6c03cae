"""What is wrong with a configuration, in lines that name the setting and say what to do."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from emag_syncd.config import catalogue
from emag_syncd.config.secrets import hide_passwords
from emag_syncd.config.sources import Gathered

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_LONGEST_VALUE = 80


def explain(errors: Sequence[Mapping[str, Any]], gathered: Gathered) -> list[str]:
    """Return one line for each of pydantic's errors. A secret's value is never in it."""
    misnamed = {error["loc"][:2] for error in errors if "[key]" in error["loc"]}
    return [
        _line(error, gathered) for error in errors if error["type"] != "missing" or error["loc"][:2] not in misnamed
    ]


def _line(error: Mapping[str, Any], gathered: Gathered) -> str:
    kind, location = error["type"], error["loc"]
    path = tuple(part for part in location if isinstance(part, str) and part != "[key]")
    name, origin = _name(location), gathered.origin(path)
    setting = catalogue.find(path)
    if "[key]" in location:
        return f"account name {json.dumps(path[-1])} ({origin}) {_said(error)}"
    if kind == "extra_forbidden":
        meant = catalogue.did_you_mean(path)
        return f"{name} is unknown ({origin}): " + (f"did you mean {meant}?" if meant else "remove it")
    if kind == "missing":
        return f"{name} is missing: {_where_to_set(path)}"
    if setting is None:
        return _said(error) if kind == "value_error" else f"{name} ({origin}) must be a table"
    value = "" if setting.secret else f" = {_shown(error['input'])}"
    return f"{name}{value} ({origin}) " + (_said(error) or f"must be {_allowed(setting, kind)}")


def _allowed(setting: catalogue.Setting, kind: str) -> str:
    return 'a time zone such as "Europe/Bucharest"' if kind.startswith("zoneinfo") else setting.allowed


def _said(error: Mapping[str, Any]) -> str:
    """Return what one of our own checks said, or nothing."""
    return str(error["ctx"]["error"]) if error["type"] == "value_error" else ""


def _where_to_set(path: catalogue.Path) -> str:
    setting = catalogue.find(path)
    file = f", or the credential {'.'.join(path)}" if setting and setting.secret else ""
    return f"set it in the configuration file{',' if file else ' or'} with {catalogue.variable(path)}{file}"


def _name(location: tuple[str | int, ...]) -> str:
    name = ""
    for part in location:
        if isinstance(part, int):
            name += f"[{part}]"
        elif part != "[key]":
            name += ("." if name else "") + (part if _BARE_KEY.fullmatch(part) else json.dumps(part))
    return name


def _shown(value: Any) -> str:
    text = hide_passwords(json.dumps(value, default=str, ensure_ascii=False))
    return text if len(text) <= _LONGEST_VALUE else text[:_LONGEST_VALUE] + "…"
