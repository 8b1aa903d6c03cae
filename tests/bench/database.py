"""The database of a measurement: a server to measure on, and what it takes itself."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import asyncpg
import psutil

from emag_syncd.storage.cluster import NAME, PORT
from emag_syncd.storage.embedded import EmbeddedPostgres
from emag_syncd.storage.migrations import migrate
from tests.bench.measuring import Figures, family_cpu_seconds
from tests.support.server import ADDRESS, reachable_folder, with_database

LOOPBACK = "127.0.0.1"
USUAL = {
    "max_connections": "100",
    "shared_buffers": "128MB",
    "maintenance_work_mem": "64MB",
    "max_wal_size": "1GB",
    "wal_level": "replica",
    "max_wal_senders": "10",
    "max_worker_processes": "8",
    "max_parallel_workers": "8",
    "autovacuum_max_workers": "3",
}
"""What PostgreSQL has where nobody has set anything: the embedded one by itself takes less of a small machine."""

SHOWN = ("server_version", "shared_buffers", "max_wal_size", "fsync", "synchronous_commit", "jit")
"""The server's settings that stand beside its figures."""
COMPRESSIONS = "SELECT array_to_string(enumvals, ', ') FROM pg_settings WHERE name = 'default_toast_compression'"
"""What it was built with: our tables take lz4 where it is there, as the bare loops' do not."""


@asynccontextmanager
async def server(binaries: Path | None = None, *, on_network: bool = False) -> AsyncIterator[str]:
    """Give the DSN of a PostgreSQL to measure on: the one of the environment, or one of our own, of these programs.

    With ``on_network`` ours listens on the loopback network, for clients that know no other way.
    """
    if (url := os.environ.get(ADDRESS)) is not None:
        yield url
        return
    settings = USUAL | ({"listen_addresses": LOOPBACK} if on_network else {})
    with reachable_folder() as folder:
        async with EmbeddedPostgres(folder / "postgres", binaries=binaries, settings=settings) as postgres:
            # It trusts whoever comes, but there are clients that insist on a password.
            yield f"postgresql://{NAME}:any@{LOOPBACK}:{PORT}/{NAME}" if on_network else postgres.dsn


@asynccontextmanager
async def database(server_dsn: str, *, migrated: bool = True) -> AsyncIterator[str]:
    """Make a database of its own on the server, and give its DSN; it is dropped afterwards."""
    name = f"emag_bench_{uuid4().hex[:12]}"
    admin = await asyncpg.connect(server_dsn)
    try:
        await admin.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        dsn = with_database(server_dsn, name)
        if migrated:
            await migrate(dsn)
        try:
            yield dsn
        finally:
            await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await admin.close()


async def describe(dsn: str) -> dict[str, str]:
    """Return the settings of the server that matter to its figures."""
    conn = await asyncpg.connect(dsn)
    try:
        said = {name: await conn.fetchval("SELECT current_setting($1)", name) for name in SHOWN}
        return said | {"compressions": await conn.fetchval(COMPRESSIONS)}
    finally:
        await conn.close()


@dataclass(frozen=True, slots=True)
class _State:
    wal: int
    cpu: float | None
    xid: int


class Observer:
    """Looks at the database before and after a measurement, over a connection of its own."""

    def __init__(self, conn: "asyncpg.Connection[asyncpg.Record]", postmaster: int | None) -> None:
        """Look over ``conn``; without a ``postmaster`` in reach the server's processor time is not known."""
        self.conn = conn
        self._postmaster = postmaster

    @classmethod
    @asynccontextmanager
    async def of(cls, dsn: str) -> AsyncIterator["Observer"]:
        """Observe the database of a DSN."""
        conn = await asyncpg.connect(dsn)
        try:
            yield cls(conn, _parent(await conn.fetchval("SELECT pg_backend_pid()")))
        finally:
            await conn.close()

    @asynccontextmanager
    async def watched(self, figures: Figures) -> AsyncIterator[None]:
        """Add to ``figures`` what is written, and what PostgreSQL computes, meanwhile.

        It begins as it is in a daemon whose runs are minutes apart: what was written before is vacuumed, and the first
        change of each page since the checkpoint is logged as a whole.
        """
        for statement in ("VACUUM ANALYZE", "CHECKPOINT"):
            await self.conn.execute(statement)
        before = await self._state()
        yield
        after = await self._state()
        figures["wal_bytes"] = after.wal - before.wal
        if before.cpu is not None and after.cpu is not None:
            figures["pg_cpu_seconds"] = after.cpu - before.cpu
        # Rows by the transactions that wrote them: the server's statistics come too late.
        figures["rows_written"] = await self.conn.fetchval(
            "SELECT count(*) FROM emag_products WHERE xmin::text::bigint >= $1", before.xid
        )

    async def table_bytes(self, *tables: str) -> int:
        """Return what tables take, with their indexes and what is stored out of line."""
        size = "SELECT sum(pg_total_relation_size(name::regclass))::bigint FROM unnest($1::text[]) AS name"
        return int(await self.conn.fetchval(size, list(tables)))

    async def _state(self) -> _State:
        row = await self.conn.fetchrow(
            "SELECT (pg_current_wal_lsn() - '0/0')::bigint AS wal, pg_current_xact_id()::text::bigint AS xid"
        )
        assert row is not None
        cpu = None if self._postmaster is None else family_cpu_seconds(self._postmaster)
        return _State(row["wal"], cpu, row["xid"])


def _parent(backend: int) -> int | None:
    """Return the process that started a backend, where the server runs on this machine."""
    try:
        process = psutil.Process(backend)
        return process.ppid() if process.name().startswith("postgres") else None
    except psutil.NoSuchProcess:
        return None
