"""Whether the process works, and whether it can do its job. Asking costs nothing: the answers are known already."""

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from emag_syncd.domain.errors import DatabaseError
from emag_syncd.storage.connections import Connection, DedicatedConnection
from emag_syncd.storage.migrations import SchemaState, schema_state
from emag_syncd.supervision.loops import GRACE_SECONDS, Loop, Pulse

PROBE_SECONDS = 2.0
LONGEST_PROBE_SECONDS = 5.0
"""A database that takes longer for two small queries is as good as away."""

_SCHEMA_REASONS = {
    SchemaState.CURRENT: "",
    SchemaState.PENDING: "the schema is not up to date: run emag-syncd migrate",
    SchemaState.NEWER: "the schema is newer than this emag-syncd: upgrade it",
}
_READ_ONLY = "the server only lets read"
_READ_ONLY_REMEDY = "point database.url at the primary, or end default_transaction_read_only"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that is well or not. ``age`` is the seconds since it was last seen; ``reason`` says what is wrong.

    One that is ``late`` is still well, and not for long if it stays so.
    """

    name: str
    ok: bool
    age: float
    reason: str = ""
    late: bool = False


class Health:
    """The checks of the process (``live``) and of its surroundings (``ready``)."""

    def __init__(
        self,
        connection: DedicatedConnection,
        pulses: Iterable[Pulse],
        others: Iterable[Callable[[], Check]] = (),
        *,
        loops: Iterable[Loop] = (),
    ) -> None:
        """Watch ``pulses``, ``loops`` that need the database, and the database itself through ``connection``.

        ``others`` are told of, and end nothing.
        """
        self.loop = Loop("health", self.probe, every=lambda: PROBE_SECONDS)
        self.shutting_down = False
        self._connection = connection
        self._loops = list(loops)
        self._pulses = [*pulses, *(loop.pulse for loop in self._loops), self.loop.pulse]
        self._others = list(others)
        self._probed = time.monotonic()
        self._database = "not tried yet"
        self._schema = "not tried yet"

    def live(self) -> list[Check]:
        """Return what must hold for the process to be worth keeping. Neither database nor marketplace is among it."""
        return [
            Check(
                pulse.name,
                pulse.alive,
                pulse.age,
                "" if pulse.alive else f"no turn for {pulse.age:.1f} s, at most {pulse.limit:g} s are normal",
                pulse.age > pulse.limit - GRACE_SECONDS / 2,
            )
            for pulse in self._pulses
        ]

    def ready(self) -> list[Check]:
        """Return what must hold for the daemon to do its job."""
        age = time.monotonic() - self._probed
        late = f"not looked at for {age:.1f} s" if age > PROBE_SECONDS + GRACE_SECONDS else ""
        # A full disk, say, or a locked table: two small queries don't meet what the work meets.
        database = late or self._database or next((loop.trouble for loop in self._loops if loop.trouble), "")
        stopping = "shutting down" if self.shutting_down else ""
        return [
            Check("database", not database, age, database),
            Check("schema", not (late or self._schema), age, late or self._schema),
            Check("shutdown", not stopping, 0.0, stopping),
        ]

    def verdicts(self) -> list[tuple[tuple[str, str], bool]]:
        """Return each probe and check, and whether it is well."""
        probes = {"livez": self.live(), "readyz": self.ready()}
        return [((probe, check.name), check.ok) for probe, checks in probes.items() for check in checks]

    def others(self) -> list[Check]:
        """Return what else is worth knowing: it makes the process neither dead nor unready."""
        return [look() for look in self._others]

    @property
    def alive(self) -> bool:
        """Whether every loop turned lately."""
        return all(check.ok for check in self.live())

    async def probe(self) -> None:
        """Look at the database. Raises nothing: what is wrong, ``ready`` says."""
        try:
            async with asyncio.timeout(LONGEST_PROBE_SECONDS), self._connection.use() as conn:
                state = await _looked_at(conn)
        except DatabaseError as error:
            self._database = self._schema = str(error)
        except TimeoutError:
            self._database = self._schema = f"no answer within {LONGEST_PROBE_SECONDS:g} s"
        else:
            self._database = ""
            self._schema = _SCHEMA_REASONS[state]
        self._probed = time.monotonic()


async def _looked_at(conn: Connection) -> SchemaState:
    """Return how the schema stands.

    Raises DatabaseError where nothing can be written: that ends the connection, which may stay so for good.
    """
    if await conn.fetchval("SELECT current_setting('transaction_read_only')::boolean"):
        raise DatabaseError(_READ_ONLY, remedy=_READ_ONLY_REMEDY)
    return await schema_state(conn)
