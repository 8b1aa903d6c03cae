"""Whether an account's copy is as fresh as its schedule promises."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from emag_syncd.domain.runs import Operation
from emag_syncd.domain.slots import Slots


def late(slots: Mapping[Operation, Slots], successes: Mapping[Operation, datetime], now: datetime) -> list[Operation]:
    """Return the operations of an account that are overdue, by their slots and when they last succeeded."""
    # A full sync reads everything that an incremental one does.
    covered = {
        Operation.FULL: successes.get(Operation.FULL),
        Operation.INCREMENTAL: max(successes.values(), default=None),
    }
    return [operation for operation, one in slots.items() if _is_late(one, covered[operation], now)]


def _is_late(slots: Slots, last: datetime | None, now: datetime) -> bool:
    """Whether two slots went by without a success: one may be under way, or be made up for right now."""
    latest = slots.latest(now)
    if latest is None:
        return False
    before = slots.latest(latest - timedelta(seconds=1))
    return last is None or before is None or last < before
