"""When APScheduler fires."""

from datetime import datetime

from apscheduler.triggers.base import BaseTrigger

from emag_syncd.domain.slots import Slots


class SlotTrigger(BaseTrigger):
    """Fires at the slots; those that were missed while nobody looked are not made up for one by one."""

    def __init__(self, slots: Slots) -> None:
        """Fire at ``slots``."""
        self._slots = slots

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:
        """Return the first slot that is neither past nor done."""
        return self._slots.after(max(now, previous_fire_time or now))
