"""The outbox of webhooks: what receivers are still to be told, written in the transactions that it tells of."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from asyncpg import Record

from emag_syncd.storage.connections import Connection, Connections
from emag_syncd.storage.queries import outbox as sql

SEEN_WITHIN_SECONDS = 600.0
"""A receiver that no daemon has had in its configuration for so long is not counted in the backlog."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message to one receiver, claimed for a while. ``run`` and ``changes`` are what it tells of."""

    id: int
    claim: UUID
    message_id: UUID
    endpoint: str
    account: str
    type: str
    created_at: datetime
    attempts: int
    run_id: UUID | None
    run: Mapping[str, Any] | None
    changes: tuple[Record, ...]


@dataclass(frozen=True, slots=True)
class Backlog:
    """How much waits to be delivered, how much was given up, and for how many seconds the oldest has waited."""

    pending: int = 0
    dead: int = 0
    oldest_pending_seconds: float = 0.0


class Outbox:
    """The messages of every receiver. Every method raises DatabaseError when PostgreSQL does not answer."""

    def __init__(self, connections: Connections, *, claim_seconds: float) -> None:
        """Read and write through ``connections``; a claimed message is nobody else's for ``claim_seconds``."""
        self._connections = connections
        self._claim_seconds = claim_seconds

    async def register(self, endpoints: Mapping[str, str]) -> list[Record]:
        """Note that these receivers, addresses by ids, are still wanted, and return their rows."""
        async with self._connections.use() as conn:
            rows = sql.register(conn, ids=list(endpoints), addresses=list(endpoints.values()))
            return [row async for row in rows]

    async def claim(self, endpoint: str, *, limit: int) -> list[Message]:
        """Claim the next messages of up to ``limit`` accounts, one of each, that are due."""
        async with self._connections.use() as conn, conn.transaction():
            rows = sql.claim_lanes(conn, endpoint=endpoint, limit=limit, claim_seconds=self._claim_seconds)
            return [await _message(conn, row) for row in [row async for row in rows]]

    async def delivered(self, message: Message) -> Message | None:
        """Drop ``message``, which was delivered; return the next of its account, claimed, if there is one that waits.

        None also where the claim ran out and somebody else took the message over.
        """
        async with self._connections.use() as conn, conn.transaction():
            row = await sql.delivered(conn, id=message.id, claim=message.claim, claim_seconds=self._claim_seconds)
            return row and await _message(conn, row)

    async def failed(self, message: Message, error: str, *, wait_seconds: float, patience_seconds: float) -> bool:
        """Note a failed attempt and when the next one is due; return whether the message was given up instead.

        That is when it is older than ``patience_seconds`` and its lane has failed for as long.
        """
        async with self._connections.use() as conn:
            row = await sql.failed(
                conn,
                id=message.id,
                claim=message.claim,
                error=error,
                wait_seconds=wait_seconds,
                patience_seconds=patience_seconds,
            )
        return bool(row and row["dead"])

    async def unclaim(self, messages: Iterable[Message]) -> None:
        """Let others have these messages at once."""
        held = list(messages)
        async with self._connections.use() as conn:
            await sql.unclaim(conn, ids=[one.id for one in held], claims=[one.claim for one in held])

    async def disable(self, endpoint: str, reason: str) -> int:
        """Write no more for a receiver, and give up what waits for it; return how many messages that were."""
        async with self._connections.use() as conn:
            return int(await sql.disable(conn, endpoint=endpoint, reason=reason))

    async def retry(self) -> tuple[int, int]:
        """Put dead messages back and enable disabled receivers; return how many of each."""
        async with self._connections.use() as conn:
            row = await sql.retry(conn)
        return row["messages"], row["endpoints"]

    async def backlog(self) -> Backlog:
        """Return what waits and what was given up, of the receivers that are still wanted."""
        async with self._connections.use() as conn:
            row = await sql.backlog(conn, seen_within_seconds=SEEN_WITHIN_SECONDS)
        return Backlog(**row)


async def _message(conn: Connection, row: Record) -> Message:
    changes: tuple[Record, ...] = ()
    if row["first_change_id"] is not None:
        found = sql.changes_of(
            conn,
            first_id=row["first_change_id"],
            last_id=row["last_change_id"],
            account=row["account_type"],
            run_id=row["sync_log_id"],
        )
        changes = tuple([change async for change in found])
    return Message(
        id=row["id"],
        claim=row["claim"],
        message_id=row["message_id"],
        endpoint=row["endpoint"],
        account=row["account_type"],
        type=row["type"],
        created_at=row["created_at"],
        attempts=row["attempts"],
        run_id=row["sync_log_id"],
        run=None if row["run"] is None else msgspec.json.decode(row["run"]),
        changes=changes,
    )
