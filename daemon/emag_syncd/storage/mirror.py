"""The mirror of the marketplace's offers in ``emag_products``, and its change log."""

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, TypeAlias

import asyncpg
import msgspec
from asyncpg import Record

from emag_syncd.domain.batches import Batch, Progress, ScanRef, SeenPage
from emag_syncd.domain.changes import ChangeKind
from emag_syncd.domain.errors import FencedError
from emag_syncd.domain.offers import COLUMNS, Offer
from emag_syncd.domain.runs import Lease
from emag_syncd.domain.sellability import REJECTED_VALIDATION
from emag_syncd.storage.connections import Connection, Connections
from emag_syncd.storage.queries import mirror as sql

# As the sale price is a decimal, a change of it is a JSON number, not a string.
_JSON = msgspec.json.Encoder(decimal_format="number")

_COPIED = ("account_type", "emag_id", *COLUMNS, "content_hash", "raw_hash", "raw")
"""What ``_row`` gives, in its order."""


Turn: TypeAlias = Callable[[], Awaitable[None]]
"""Waits until the commit before is done. Raises what it failed of."""


async def at_once() -> None:
    """Wait for nothing: there is no commit before."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is needed of a stored offer to tell whether the one that came is another."""

    raw_hash: bytes | None
    content_hash: bytes | None
    removed: bool


class _Checkpoint(NamedTuple):
    """A row of ``emag_sync_scan_pages``."""

    start: int
    end: int
    base: int
    offsets: str
    pages: int


class Mirror:
    """The offers of every account. Every method raises DatabaseError when PostgreSQL does not answer."""

    def __init__(self, connections: Connections, *, lease_seconds: float) -> None:
        """Write through ``connections``; each write renews the run's lease for ``lease_seconds``."""
        self._connections = connections
        self._lease_seconds = lease_seconds

    async def known(self, account: str, ids: Sequence[int]) -> dict[int, Known]:
        """Return the hashes of those of ``ids`` that are stored."""
        async with self._connections.use() as conn:
            return {
                row["emag_id"]: Known(row["raw_hash"], row["content_hash"], row["removed"])
                async for row in sql.known(conn, account=account, ids=ids)
            }

    async def stored(self, account: str, ids: Sequence[int]) -> dict[int, Record]:
        """Return the whole rows of those of ``ids`` that are stored."""
        async with self._connections.use() as conn:
            return {row["emag_id"]: row async for row in sql.stored(conn, account=account, ids=ids)}

    async def live_offers(self, account: str) -> int:
        """Return how many offers of the account are stored and not removed."""
        async with self._connections.use() as conn:
            return int(await sql.live_offers(conn, account=account))

    async def states(self) -> list[Record]:
        """Return how many offers each account has, by state."""
        async with self._connections.use() as conn:
            return [row async for row in sql.states(conn, rejected=sorted(REJECTED_VALIDATION))]

    async def commit(
        self,
        lease: Lease,
        scan: ScanRef | None,
        batch: Batch,
        progress: Progress,
        *,
        commits: int,
        turn: Turn = at_once,
    ) -> None:
        """Write ``batch`` in one transaction, as the run's commit number ``commits`` (from 0), when it is its ``turn``.

        Its offers are written while the commit before is under way, which has to have others; then come the turn and
        the fence, without which nothing is committed. The pages are checkpoints of ``scan``, if there is one. The
        number makes a second try safe: what was committed already is not committed again. Whether an earlier try with
        an unknown end went through, ``commits_of`` tells. Raises FencedError, with nothing written, when the run was
        ended or the number is not the next one.
        """
        advance = _advance(lease, scan, batch, progress)
        advance |= {"commits": commits, "lease_seconds": self._lease_seconds}
        if not (batch.writes or batch.removals or batch.changes or batch.rejects):
            await turn()
            async with self._connections.use() as conn:
                await _fenced(conn, lease, advance)
            return
        async with self._connections.use() as conn:
            created = {change.emag_id for change in batch.changes if change.kind is ChangeKind.CREATED}
            try:
                await _write_fenced(conn, lease, advance, batch, turn, copied=created)
            except asyncpg.UniqueViolationError:
                # Other hands stored one of them after it was looked for.
                await _write_fenced(conn, lease, advance, batch, turn, copied=frozenset())

    async def commits_of(self, lease: Lease) -> int | None:
        """Return how many commits the run has made; None when it was ended."""
        async with self._connections.use() as conn:
            commits: int | None = await sql.commits_of(conn, run_id=lease.run_id, token=lease.token)
        return commits


async def _fenced(conn: Connection, lease: Lease, advance: Mapping[str, Any]) -> None:
    if not await sql.advance(conn, **advance):
        raise FencedError(lease.run_id)


async def _write_fenced(
    conn: Connection, lease: Lease, advance: Mapping[str, Any], batch: Batch, turn: Turn, *, copied: Collection[int]
) -> None:
    async with conn.transaction():
        await _write_offers(conn, lease, batch, copied=copied)
        await turn()
        await _fenced(conn, lease, advance)
        # Only now: the ids of a run's changes are in the order of its commits, and those of two batches never mixed.
        await _write_log(conn, lease, batch)


async def _write_offers(conn: Connection, lease: Lease, batch: Batch, *, copied: Collection[int]) -> None:
    # COPY costs PostgreSQL a third less than INSERT, and can't do anything but insert.
    if new := [_row(lease.account, offer) for offer in batch.writes if offer.emag_id in copied]:
        await conn.copy_records_to_table("emag_products", records=new, columns=_COPIED)
    if other := [_row(lease.account, offer) for offer in batch.writes if offer.emag_id not in copied]:
        await sql.upsert(conn, other)
    if batch.removals:
        await sql.remove(conn, account=lease.account, ids=batch.removals)


async def _write_log(conn: Connection, lease: Lease, batch: Batch) -> None:
    if batch.changes:
        await sql.append_changes(
            conn,
            account=lease.account,
            run_id=lease.run_id,
            ids=[change.emag_id for change in batch.changes],
            kinds=[change.kind for change in batch.changes],
            changes=[_JSON.encode(change.changes) for change in batch.changes],
        )
    if batch.rejects:
        await sql.set_aside(
            conn,
            account=lease.account,
            run_id=lease.run_id,
            pages=[page for page, _ in batch.rejects],
            ids=[reject.emag_id for _, reject in batch.rejects],
            reasons=[reject.reason for _, reject in batch.rejects],
            raws=[reject.raw.decode(errors="replace").replace("\x00", "\ufffd") for _, reject in batch.rejects],
        )


def _row(account: str, offer: Offer) -> tuple[Any, ...]:
    columns = [offer.columns[name] for name in COLUMNS]
    return (account, offer.emag_id, *columns, offer.content_hash, offer.raw_hash, offer.raw)


def _advance(lease: Lease, scan: ScanRef | None, batch: Batch, progress: Progress) -> dict[str, Any]:
    checkpoints = [checkpoint for page in _joined(batch.pages if scan else ()) for checkpoint in _checkpoints(page)]
    return {
        **asdict(batch.counters),
        "run_id": lease.run_id,
        "token": lease.token,
        "warnings": None if batch.warnings is None else _JSON.encode(batch.warnings),
        "total_items": progress.total_items,
        "current_page": progress.current_page,
        "total_pages": progress.total_pages,
        "progress_items": progress.processed_items,
        "items_per_second": progress.items_per_second,
        "seconds_left": progress.seconds_left,
        "scan_id": scan and scan.id,
        "pass_no": scan and scan.pass_no,
        "starts": [checkpoint.start for checkpoint in checkpoints],
        "ends": [checkpoint.end for checkpoint in checkpoints],
        "bases": [checkpoint.base for checkpoint in checkpoints],
        "offsets": [checkpoint.offsets for checkpoint in checkpoints],
        "pages": [checkpoint.pages for checkpoint in checkpoints],
    }


def _joined(pages: Iterable[SeenPage]) -> list[SeenPage]:
    """Make one of pages that follow each other: it says the same with less to write."""
    joined: list[SeenPage] = []
    for page in sorted(pages, key=lambda page: page.start):
        if joined and (last := joined[-1]).end == page.start:
            joined[-1] = SeenPage(last.start, page.end, [*last.ids, *page.ids], last.pages + page.pages)
        else:
            joined.append(page)
    return joined


def _checkpoints(page: SeenPage) -> Iterable[_Checkpoint]:
    """Split a page's ids into those that lie within the reach of an int4 offset; nearly always that is all of them."""
    by_base: dict[int, list[int]] = {page.ids[0] & ~0x3FFFFFFF if page.ids else 0: []}
    for emag_id in page.ids:
        by_base.setdefault(emag_id & ~0x3FFFFFFF, []).append(emag_id & 0x3FFFFFFF)
    pages = page.pages
    for base, offsets in by_base.items():
        yield _Checkpoint(page.start, page.end, base, "{" + ",".join(map(str, offsets)) + "}", pages)
        pages = 0
