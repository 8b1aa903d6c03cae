"""Stops a daemon inside its own transaction: a trigger waits there for a lock that the test holds."""

from dataclasses import dataclass
from typing import Literal

from tests.support.offers import Connection
from tests.support.waiting import until

KEY = 20_117

SETUP = f"""
CREATE SEQUENCE barrier_passes;
CREATE FUNCTION barrier() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF nextval('barrier_passes') = TG_ARGV[0]::bigint THEN
        PERFORM pg_advisory_xact_lock({KEY});
    END IF;
    RETURN NULL;
END
$$
"""

WAITING = f"""
SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = {KEY} AND NOT granted
AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
BUSY = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1 AND state <> 'idle')"
LEFT = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
IS_LEFT = """
SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
"""

Moment = Literal["in the statement", "at the commit"]


@dataclass(frozen=True)
class Point:
    """A row that a daemon writes: the ``nth`` one of those that the trigger's ``event`` and ``when`` describe."""

    name: str
    event: str
    table: str
    nth: int = 1
    when: str = "true"


class Barriers:
    """One barrier at a time, in the database of ``sql``, which must be the test's own connection."""

    def __init__(self, sql: Connection) -> None:
        self._sql = sql
        self._table = ""

    async def set_up(self) -> None:
        """Prepare a database that has none yet."""
        await self._sql.execute(SETUP)
        await self._sql.fetchval(f"SELECT pg_advisory_lock({KEY})")

    async def arm(self, point: Point, moment: Moment) -> None:
        """Let whoever comes to ``point`` wait there."""
        await self.disarm()
        self._table = point.table
        is_late = moment == "at the commit"
        await self._sql.execute(
            f"ALTER SEQUENCE barrier_passes RESTART; CREATE {'CONSTRAINT' if is_late else ''} TRIGGER barrier"
            f" AFTER {point.event} ON {point.table} {'DEFERRABLE INITIALLY DEFERRED' if is_late else ''}"
            f" FOR EACH ROW WHEN ({point.when}) EXECUTE FUNCTION barrier({point.nth})"
        )

    async def disarm(self) -> None:
        """Let nobody wait any more."""
        if self._table:
            await self._sql.execute(f"DROP TRIGGER barrier ON {self._table}")
            self._table = ""

    async def reached(self) -> int:
        """Return the server process that waits at the barrier, once one does."""
        pid: int = await until(lambda: self._sql.fetchval(WAITING), within=90)
        return pid

    async def undo(self) -> None:
        """Break off what waits, and whatever else is connected."""

        async def alone() -> bool:
            await self._sql.execute(LEFT)
            return not await self._sql.fetchval(IS_LEFT)

        await until(alone)

    async def let_pass(self, pid: int) -> None:
        """Let what waits go on to its end, and be ready for the next."""
        await self._sql.execute(f"SELECT pg_advisory_unlock({KEY})")
        await until(lambda: self._ends(pid))
        await self._sql.fetchval(f"SELECT pg_advisory_lock({KEY})")

    async def _ends(self, pid: int) -> bool:
        return not await self._sql.fetchval(BUSY, pid)
