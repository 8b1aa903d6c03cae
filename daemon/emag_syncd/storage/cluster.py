"""The files of the embedded PostgreSQL: its data, the lock on them, the folder of its socket."""

import asyncio
import fcntl
import os
import shutil
import tempfile
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

from emag_syncd.domain.errors import ConfigurationError
from emag_syncd.storage.binaries import Account

NAME = "emag_syncd"
PORT = 5432
SOCKET_BYTES = 107
LOG_BYTES = 1 << 20
POLL_SECONDS = 0.02


def address(socket_dir: Path, database: str = NAME) -> str:
    """Return the DSN of the server whose socket is in ``socket_dir``."""
    return f"postgresql://{NAME}@/{database}?host={quote(str(socket_dir), safe='/')}&port={PORT}"


def running_address(data_dir: Path) -> str | None:
    """Return the DSN of the server that runs on ``data_dir`` now, whichever process started it, or None."""
    try:
        lines = (data_dir / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        pid, socket_dir = int(lines[0]), Path(lines[4])
    except (OSError, ValueError, IndexError):
        return None
    return address(socket_dir) if _serves(pid, data_dir) else None


async def take_lock(data_dir: Path) -> BinaryIO:
    """Lock the data until the file returned is closed here and in the server that inherits it.

    Waits for a server that is still shutting down after its owner died.
    Raises ConfigurationError when the owner lives.
    """
    while True:
        if (lock := await asyncio.to_thread(_try_lock, data_dir)) is not None:
            return lock
        await asyncio.sleep(POLL_SECONDS)


def release_lock(lock: BinaryIO) -> None:
    """Give up the data; whoever comes next waits for what may be left of the server."""
    lock.truncate(0)
    lock.close()


def has_data(data_dir: Path) -> bool:
    """Say whether there are data. Raises ConfigurationError for a folder that holds something else."""
    if (data_dir / "PG_VERSION").exists():
        return True
    if data_dir.exists() and any(data_dir.iterdir()):
        raise ConfigurationError(
            f"{data_dir} is not empty and holds no PostgreSQL data",
            remedy="name an empty folder or a new one",
        )
    return False


def forget_crashed_server(data_dir: Path) -> None:
    """Remove the pid file that a crash left, also when its number belongs to another process by now.

    The lock says that no server of ours lives; one that was started by hand is seen in ``/proc``.
    """
    path = data_dir / "postmaster.pid"
    try:
        pid = int(path.read_text(encoding="utf-8").split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return
    if _serves(pid, data_dir):
        raise ConfigurationError(
            f"the data in {data_dir} are in use by the PostgreSQL process {pid}", remedy="stop it first"
        )
    path.unlink()


def make_parents(folder: Path, account: Account) -> None:
    """Make the folder and what it is in, open to the server's user whatever the umask says."""
    for missing in reversed([one for one in (folder, *folder.parents) if not one.exists()]):
        missing.mkdir()
        if not account.is_own:
            missing.chmod(0o711)


def make_private(folder: Path, account: Account) -> None:
    """Make ``folder`` anew, for ``account`` alone."""
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(mode=0o700)
    if not account.is_own:
        os.chown(folder, account.uid, account.gid)


def make_socket_dir(data_dir: Path, account: Account) -> Path:
    """Return a fresh folder, named after the data's, with a path short enough for a socket in it."""
    name = f"{NAME}-{blake2b(bytes(data_dir), digest_size=6).hexdigest()}"
    # Root's run-time directory is closed to the server's user.
    runtime = [os.environ["XDG_RUNTIME_DIR"]] if account.is_own and "XDG_RUNTIME_DIR" in os.environ else []
    places = [Path(place) for place in (*runtime, tempfile.gettempdir(), "/tmp")]  # noqa: S108 - made private
    for place in places:
        folder = place / name
        is_short = len(bytes(folder / f".s.PGSQL.{PORT}")) <= SOCKET_BYTES
        if is_short and os.access(place, os.W_OK) and account.can_reach(place):
            make_private(folder, account)
            return folder
    raise ConfigurationError(
        "no folder for the embedded PostgreSQL's socket: none of "
        f"{', '.join(map(str, places))} is short, writable and open to the user {account.name}",
        remedy="set TMPDIR to a short path",
    )


def open_log(path: Path) -> BinaryIO:
    """Open the server's log to be written on, from its beginning when it has grown long."""
    is_long = path.exists() and path.stat().st_size > LOG_BYTES
    return path.open("wb" if is_long else "ab")


def _try_lock(data_dir: Path) -> BinaryIO | None:
    lock = data_dir.with_name(f"{data_dir.name}.lock").open("a+b")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        with lock:
            _refuse_if_owned(lock, data_dir)
        return None
    lock.truncate(0)
    lock.write(str(os.getpid()).encode())
    lock.flush()
    return lock


def _refuse_if_owned(lock: BinaryIO, data_dir: Path) -> None:
    lock.seek(0)
    owner = lock.read()
    if owner.isdigit() and _is_alive(int(owner)):
        raise ConfigurationError(
            f"the embedded PostgreSQL's data in {data_dir} are in use by process {int(owner)}",
            remedy="stop that emag-syncd first, or give this one another data directory",
        )


def _is_alive(pid: int) -> bool:
    """Whether the process lives, and does not only wait to be reaped: in a container that may last."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in {"Z", "X"}


def _serves(pid: int, data_dir: Path) -> bool:
    """Whether the process is a server of these data: PostgreSQL works from within them."""
    try:
        return Path(f"/proc/{pid}/cwd").samefile(data_dir)
    except OSError:
        return False
