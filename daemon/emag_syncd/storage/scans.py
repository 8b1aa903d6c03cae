"""Scans: what was read of a catalogue, so that a later run goes on where this one stopped."""

from emag_syncd.domain.batches import ScanRef
from emag_syncd.domain.errors import FencedError
from emag_syncd.domain.runs import PRODUCTS, Lease
from emag_syncd.domain.scans import Span
from emag_syncd.storage.connections import Connection, Connections
from emag_syncd.storage.queries import scans as sql


class Scans:
    """The unfinished scans, at most one of an account and operation.

    Every method raises DatabaseError when PostgreSQL does not answer.
    """

    def __init__(self, connections: Connections) -> None:
        """Read and write through ``connections``."""
        self._connections = connections

    async def open(self, lease: Lease, *, resume_within_seconds: float) -> ScanRef:
        """Take up the unfinished scan that is younger than ``resume_within_seconds``, or begin one.

        Raises FencedError when the run was ended.
        """
        of_lease = {"account": lease.account, "sync_type": PRODUCTS, "operation": lease.operation}
        async with self._connections.use() as conn, conn.transaction():
            await _hold(conn, lease)
            row = await sql.unfinished(conn, **of_lease, resume_within_seconds=resume_within_seconds)
            if row is None:
                await sql.drop_scan(conn, **of_lease)
                row = await sql.start_scan(conn, **of_lease)
            await sql.attach(conn, scan_id=row["id"], run_id=lease.run_id)
        return ScanRef(row["id"], row["pass"])

    async def next_pass(self, lease: Lease, scan: ScanRef) -> ScanRef:
        """Begin the scan's next pass: every page is to be read again. Raises FencedError."""
        async with self._connections.use() as conn, conn.transaction():
            await _hold(conn, lease)
            await sql.next_pass(conn, scan_id=scan.id, pass_no=scan.pass_no + 1)
        return ScanRef(scan.id, scan.pass_no + 1)

    async def read_spans(self, scan: ScanRef) -> list[Span]:
        """Return the positions that this pass has read, in order and apart."""
        async with self._connections.use() as conn:
            return [
                Span(row["start_at"], row["end_at"])
                async for row in sql.read_spans(conn, scan_id=scan.id, pass_no=scan.pass_no)
            ]

    async def most_counted(self, account: str, scan: ScanRef) -> int:
        """Return the most offers that the marketplace counted in any run of the scan that committed a page."""
        async with self._connections.use() as conn:
            return int(await sql.most_counted(conn, account=account, scan_id=scan.id))

    async def distinct_seen(self, scan: ScanRef) -> int:
        """Return how many different offers this pass has seen."""
        async with self._connections.use() as conn:
            return int(await sql.distinct_seen(conn, scan_id=scan.id, pass_no=scan.pass_no))

    async def unseen(self, account: str, scan: ScanRef, *, limit: int, only_status: int | None = None) -> list[int]:
        """Return up to ``limit`` ids of stored offers that this pass has not seen, the lowest first."""
        async with self._connections.use() as conn:
            return [
                row["emag_id"]
                async for row in sql.unseen(
                    conn,
                    account=account,
                    scan_id=scan.id,
                    pass_no=scan.pass_no,
                    only_status=only_status,
                    limit=limit,
                )
            ]

    async def unfinished_full(self, account: str, *, resume_within_seconds: float) -> bool:
        """Whether a full scan of the account waits to be taken up."""
        async with self._connections.use() as conn:
            return bool(
                await sql.is_open(
                    conn,
                    account=account,
                    sync_type=PRODUCTS,
                    resume_within_seconds=resume_within_seconds,
                )
            )


async def _hold(conn: Connection, lease: Lease) -> None:
    if await sql.hold(conn, run_id=lease.run_id, token=lease.token) is None:
        raise FencedError(lease.run_id)
