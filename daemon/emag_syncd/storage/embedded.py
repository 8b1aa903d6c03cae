"""A PostgreSQL of the daemon's own, for a first look and for tests. Production wants a server of its own.

It listens on a socket in a folder that only its user can enter, never on the network, and ends with this
process however that ends: the kernel sends it SIGINT. A lock that the server inherits says, for as long as
any process of it lives, that the data are in use; it goes with them, so a crash leaves nothing to clear up.
"""

import asyncio
import os
import shutil
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from signal import SIGINT, SIGKILL, SIGQUIT
from types import TracebackType
from typing import BinaryIO, Self

import asyncpg
import structlog

from emag_syncd.domain.errors import ConfigurationError, DatabaseError
from emag_syncd.storage import cluster, launch
from emag_syncd.storage.binaries import Account, find_binaries, server_account

STOP_SECONDS = 10.0
FIRST_WITH_IO_METHOD = 18

# Lean: one seller's catalogue on one machine.
SETTINGS: Mapping[str, str] = {
    "listen_addresses": "",
    "port": str(cluster.PORT),
    "max_connections": "40",
    "shared_buffers": "32MB",
    "maintenance_work_mem": "32MB",
    "max_wal_size": "256MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_worker_processes": "2",
    "max_parallel_workers": "0",
    "autovacuum_max_workers": "1",
    "huge_pages": "off",
    "jit": "off",
    "log_checkpoints": "off",
}

log = structlog.get_logger(__name__)


class EmbeddedPostgres:
    """One server on one data directory: ``async with EmbeddedPostgres(data_dir) as server: server.dsn``.

    Start it on a thread that lives as long as the server shall: the kernel takes that thread for the parent.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        binaries: Path | None = None,
        settings: Mapping[str, str] | None = None,
        start_seconds: float = 30.0,
    ) -> None:
        """Prepare a server; nothing is touched yet.

        Args:
            data_dir: Where the data live, made on the first start; the server's user must reach its parent.
            binaries: The folder of ``postgres`` and ``initdb``; otherwise they are looked for.
            settings: PostgreSQL's settings, over those of ``SETTINGS``.
            start_seconds: How long the start may take, recovery after a crash included.
        """
        self._data_dir = data_dir.absolute()
        self._explicit = binaries
        self._settings = {**SETTINGS, **(settings or {})}
        self._start_seconds = start_seconds
        self._socket_dir: Path | None = None
        self._lock: BinaryIO | None = None
        self._process: asyncio.subprocess.Process | None = None

    @property
    def dsn(self) -> str:
        """The server's address; it holds no password. Raises RuntimeError unless the server was started."""
        return self._address(cluster.NAME)

    @property
    def log_file(self) -> Path:
        """Where the server writes its own log."""
        return self._data_dir / "server.log"

    async def __aenter__(self) -> Self:
        """Start the server."""
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the server."""
        await self.stop()

    async def start(self) -> None:
        """Start the server, making its data on the first start, and wait until it takes connections.

        Raises:
            ConfigurationError: No programs, no usable directory, or another process uses the data.
            DatabaseError: PostgreSQL failed to start; the message ends with its own last words.
        """
        try:
            async with asyncio.timeout(self._start_seconds):
                await self._start()
        except BaseException as error:
            await self.stop()
            if isinstance(error, TimeoutError):
                raise await self._failed(f"did not start in {self._start_seconds:g} seconds") from None
            if isinstance(error, OSError):
                raise ConfigurationError(
                    f"the embedded PostgreSQL in {self._data_dir} can't be set up: {error}",
                    remedy="choose a data directory that this user may write, or set database.url",
                ) from error
            raise
        log.info("the embedded PostgreSQL runs", action="embedded_started", data_dir=str(self._data_dir))

    async def stop(self) -> None:
        """Stop the server, politely, then less so, within thrice ``STOP_SECONDS``. Safe to call twice."""
        process, self._process = self._process, None
        if process is not None:
            await asyncio.shield(_end(process))
        if self._socket_dir is not None:
            await asyncio.to_thread(shutil.rmtree, self._socket_dir, ignore_errors=True)
            self._socket_dir = None
        if self._lock is not None:
            cluster.release_lock(self._lock)
            self._lock = None

    async def _start(self) -> None:
        data_dir = self._data_dir
        account, binaries = await asyncio.to_thread(self._prepare)
        self._lock = await cluster.take_lock(data_dir)
        if not await asyncio.to_thread(cluster.has_data, data_dir):
            await self._initialise(binaries, account)
        await asyncio.to_thread(cluster.forget_crashed_server, data_dir)
        self._socket_dir = await asyncio.to_thread(cluster.make_socket_dir, data_dir, account)
        await self._launch(binaries / "postgres", account, self._lock.fileno())
        await self._connected()

    def _prepare(self) -> tuple[Account, Path]:
        """Return the user to run as and the programs it can run, with a place for the data that it can reach."""
        account = server_account(self._data_dir)
        binaries = find_binaries(self._explicit, account)
        parent = self._data_dir.parent
        cluster.make_parents(parent, account)
        if not account.can_reach(parent):
            raise ConfigurationError(
                f"the user {account.name}, which PostgreSQL runs as, can't reach {parent}",
                remedy="choose a data directory that it can reach, or run emag-syncd as an ordinary user",
            )
        return account, binaries

    async def _initialise(self, binaries: Path, account: Account) -> None:
        """Make the data beside their place and move them there: a crash in between leaves no half of them."""
        building = self._data_dir.with_name(f"{self._data_dir.name}.new")
        await asyncio.to_thread(cluster.make_private, building, account)
        options = ["-D", str(building), "-U", cluster.NAME, "--auth=trust", "--encoding=UTF8", "--locale=C"]
        if self._settings.get("fsync") == "off":
            options.append("--no-sync")
        process = await asyncio.create_subprocess_exec(
            *_command(account, binaries / "initdb", options),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            cwd="/",
        )
        try:
            output, _ = await process.communicate()
        except BaseException:
            with suppress(ProcessLookupError):
                process.kill()
            await asyncio.shield(process.wait())
            raise
        if process.returncode != 0:
            words = " ".join(output.decode(errors="replace").split()[-60:])
            raise DatabaseError(
                f"initdb could not make {self._data_dir}: {words}", remedy="see to that, or set database.url"
            )
        await asyncio.to_thread(building.rename, self._data_dir)

    async def _launch(self, program: Path, account: Account, lock: int) -> None:
        settings = {**self._settings, "unix_socket_directories": f'"{self._socket_dir}"'}
        made_by = await asyncio.to_thread((self._data_dir / "PG_VERSION").read_text, encoding="utf-8")
        if int(made_by) >= FIRST_WITH_IO_METHOD:
            # Three processes fewer.
            settings.setdefault("io_method", "sync")
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with await asyncio.to_thread(cluster.open_log, self.log_file) as output:
            self._process = await asyncio.create_subprocess_exec(
                *_command(account, program, ["-D", str(self._data_dir), *options]),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(lock,),
                # Ctrl-C in a terminal is for the daemon, which needs its database until it has shut down.
                start_new_session=True,
                cwd="/",
            )

    async def _connected(self) -> None:
        """Wait until the server takes connections, and make the daemon's database on the first start."""
        while True:
            if self._process is None or self._process.returncode is not None:
                raise await self._failed("ended while starting")
            try:
                conn = await asyncpg.connect(self._address("postgres"), timeout=self._start_seconds)
            except (OSError, asyncpg.CannotConnectNowError, asyncpg.ConnectionDoesNotExistError):
                await asyncio.sleep(cluster.POLL_SECONDS)
                continue
            try:
                if not await conn.fetchval("SELECT true FROM pg_database WHERE datname = $1", cluster.NAME):
                    await conn.execute(f"CREATE DATABASE {cluster.NAME}")
            finally:
                conn.terminate()
            return

    def _address(self, database: str) -> str:
        if self._socket_dir is None:
            raise RuntimeError("the embedded PostgreSQL is not started")
        return cluster.address(self._socket_dir, database)

    async def _failed(self, what: str) -> DatabaseError:
        try:
            written = await asyncio.to_thread(self.log_file.read_bytes)
        except OSError:
            written = b"it wrote no log"
        words = " / ".join(written.decode(errors="replace").splitlines()[-5:])
        return DatabaseError(
            f"the embedded PostgreSQL in {self._data_dir} {what}: {words}", remedy=f"see {self.log_file}"
        )


def _command(account: Account, program: Path, options: list[str]) -> list[str]:
    """Return the command that starts ``program`` as ``account``, to end when this process does."""
    starter = [sys.executable, "-I", "-S", launch.__file__]
    return [*starter, str(os.getpid()), str(account.uid), str(account.gid), str(program), *options]


async def _end(process: asyncio.subprocess.Process) -> None:
    """Shut the server down: fast, then at once (it recovers on the next start), then by force."""
    for signal in (SIGINT, SIGQUIT, SIGKILL):
        with suppress(ProcessLookupError):
            process.send_signal(signal)
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
                return
        log.warning("the embedded PostgreSQL did not stop", action="embedded_stop", signal=signal.name)
