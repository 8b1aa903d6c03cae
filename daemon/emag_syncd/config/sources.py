"""Where settings come from: a TOML file, environment variables over it, and credential files over both."""

import os
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emag_syncd.config import catalogue
from emag_syncd.domain.errors import ConfigurationError

DEFAULT_FILE = Path("/etc/emag-syncd/config.toml")
FILE_VARIABLE = catalogue.ENV_PREFIX + "CONFIG"
TEST_PREFIX = catalogue.ENV_PREFIX + "TEST_"
_ACCOUNTS_PREFIX = catalogue.ENV_PREFIX + "ACCOUNTS__"


@dataclass(slots=True)
class Gathered:
    """What the sources say, where each value stands, and what is wrong with the sources themselves."""

    values: dict[str, Any] = field(default_factory=dict)
    file: Path | None = None
    problems: list[str] = field(default_factory=list)
    origins: dict[catalogue.Path, str] = field(default_factory=dict)

    def put(self, path: catalogue.Path, value: str, origin: str) -> None:
        """Set one value, over what was there."""
        table = self.values
        for name in path[:-1]:
            table = table.setdefault(name, {})
            if not isinstance(table, dict):
                return  # refused later, by name: a table was expected here
        table[path[-1]] = value
        self.origins[path] = origin

    def accounts(self) -> Iterable[str]:
        """Return the names of the accounts seen so far."""
        accounts = self.values.get("accounts")
        return list(accounts) if isinstance(accounts, dict) else []

    def origin(self, path: catalogue.Path) -> str:
        """Where the value at ``path`` stands."""
        return self.origins.get(path, str(self.file or "the configuration"))


def gather(path: Path | None, environ: Mapping[str, str]) -> Gathered:
    """Read all sources. Raises ConfigurationError where the file can't be read at all."""
    gathered = _from_file(path, environ)
    directory = environ.get("CREDENTIALS_DIRECTORY")
    credentials = list(_credentials(Path(directory), gathered.problems)) if directory else []
    named = {*gathered.accounts(), *(found[1] for found, _, _ in credentials if found[0] == "accounts")}
    for found, value, origin in (*_variables(environ, named, gathered.problems), *credentials):
        gathered.put(found, value, origin)
    return gathered


def _from_file(path: Path | None, environ: Mapping[str, str]) -> Gathered:
    wanted = path or (Path(environ[FILE_VARIABLE]) if environ.get(FILE_VARIABLE) else None)
    file = wanted or DEFAULT_FILE
    try:
        text = file.read_bytes().decode()
        return Gathered(tomllib.loads(text), file)
    except FileNotFoundError:
        if wanted is None:
            return Gathered()
        raise ConfigurationError(
            f"{file} does not exist", remedy=f"create it, or correct --config or {FILE_VARIABLE}"
        ) from None
    except OSError as error:
        raise ConfigurationError(
            f"{file} can't be read ({error.strerror})",
            remedy="make it a file that the daemon's user may read",
        ) from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigurationError(f"{file} is not UTF-8 text (at line {line})", remedy="save it as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{file} is not TOML: {error}", remedy="correct that line") from None


def _credentials(directory: Path, problems: list[str]) -> Iterator[tuple[catalogue.Path, str, str]]:
    """Yield the secrets of a credentials directory. Files of other programs are left alone."""
    sections = {path[0] for path in catalogue.settings()}
    try:
        files = sorted(directory.iterdir())
    except OSError as error:
        problems.append(f"$CREDENTIALS_DIRECTORY can't be read ({error.strerror}): {directory}")
        return
    for file in files:
        path = tuple(file.name.split("."))
        setting = catalogue.find(path)
        if setting is None or not setting.secret:
            if path[0] in sections:
                problems.append(_no_secret(file.name))
            continue
        try:
            value = file.read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError):
            problems.append(f"credential {file.name} can't be read: make it a file of UTF-8 text")
            continue
        if value:
            yield path, value, f"credential {file.name}"
        else:
            problems.append(f"credential {file.name} is empty: write the secret into the file it is loaded from")


def _no_secret(name: str) -> str:
    secrets = sorted(setting.name for setting in catalogue.settings().values() if setting.secret)
    return f"credential {name} is not the name of a secret: those are {', '.join(secrets)}"


def _variables(
    environ: Mapping[str, str], accounts: Iterable[str], problems: list[str]
) -> Iterator[tuple[catalogue.Path, str, str]]:
    """Yield what environment variables set. An empty one counts as not set."""
    accounts = list(accounts)
    plain = {catalogue.variable(path): path for path in catalogue.settings() if path[0] != "accounts"}
    for variable, value in sorted(environ.items()):
        if not variable.startswith(catalogue.ENV_PREFIX) or variable == FILE_VARIABLE:
            continue
        if variable.startswith(TEST_PREFIX) or not value:
            continue
        found = plain.get(variable) or _account_setting(variable, accounts)
        if isinstance(found, tuple):
            yield found, value, f"environment variable {variable}"
        else:
            problems.append(f"environment variable {variable} {found or _unknown(variable)}")


def _account_setting(variable: str, accounts: Iterable[str]) -> catalogue.Path | str:
    """Return the setting of an account that a variable means, or what is wrong with it.

    A variable can't hold a ``-``, so an account is looked up by its name with ``_`` in that place.
    """
    if not variable.startswith(_ACCOUNTS_PREFIX):
        return ""
    for path in catalogue.settings():
        if path[0] != "accounts":
            continue
        ending = "__" + "__".join(path[2:]).upper()
        written = variable.removeprefix(_ACCOUNTS_PREFIX).removesuffix(ending)
        if not variable.endswith(ending) or not written:
            continue
        meant = [name for name in accounts if name.replace("-", "_").upper() == written]
        if len(meant) > 1:
            return f"means each of the accounts {' and '.join(sorted(meant))}: rename one of them"
        return ("accounts", *(meant or [written.lower()]), *path[2:])
    return ""


def _unknown(variable: str) -> str:
    path = tuple(variable.removeprefix(catalogue.ENV_PREFIX).lower().split("__"))
    meant = catalogue.did_you_mean(path)
    return (
        f"is unknown: did you mean {catalogue.variable(tuple(meant.split('.')))}?" if meant else "is unknown: unset it"
    )


def state_directory(environ: Mapping[str, str]) -> Path:
    """Return where the daemon may keep files: systemd's, else XDG's, else the system's or the user's own.

    Root's own folders are closed to the user that an embedded PostgreSQL runs as.
    """
    if given := environ.get("STATE_DIRECTORY", "").split(":")[0]:
        return Path(given)
    xdg = environ.get("XDG_STATE_HOME", "")
    if Path(xdg).is_absolute():
        return Path(xdg) / "emag-syncd"
    if os.geteuid() == 0:
        return Path("/var/lib/emag-syncd")
    return Path(environ.get("HOME") or "~").expanduser() / ".local" / "state" / "emag-syncd"
