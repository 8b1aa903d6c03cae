"""What the runs of other processes do, seen in the ledger."""

from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

from emag_syncd.storage.ledger import Ledger
from emag_syncd.web.views import PROGRESS


class Elsewhere:
    """Tells of runs that are not of this process, in the words in which those of this process are told of."""

    def __init__(
        self, ledger: Ledger, is_here: Callable[[UUID], bool], publish: Callable[[str, dict[str, Any]], None]
    ) -> None:
        """Look into ``ledger`` for runs that ``is_here`` does not know, and ``publish`` what they do."""
        self._ledger = ledger
        self._is_here = is_here
        self._publish = publish
        self._running: dict[UUID, str] = {}
        self._moved: dict[UUID, datetime] = {}

    async def look(self) -> None:
        """Publish what happened since the last look. Raises DatabaseError."""
        running = {
            row["id"]: row["account_type"] for row in await self._ledger.running() if not self._is_here(row["id"])
        }
        for run_id, account in running.items():
            if run_id not in self._running:
                self._publish("started", {"id": str(run_id), "account_type": account})
        for run_id, account in self._running.items():
            if run_id not in running and not self._is_here(run_id):
                row = await self._ledger.get(run_id)
                status = row["status"] if row else None
                self._publish("ended", {"id": str(run_id), "account_type": account, "status": status})
        self._running = running
        await self._progress()

    async def _progress(self) -> None:
        moved = {}
        for row in await self._ledger.progress():
            run_id = row["sync_log_id"]
            if run_id not in self._running:
                continue
            moved[run_id] = row["updated_at"]
            if self._moved.get(run_id) != row["updated_at"]:
                data = {name: row[name] for name in PROGRESS}
                self._publish("progress", {"id": str(run_id), "account_type": self._running[run_id], **data})
        self._moved = moved
