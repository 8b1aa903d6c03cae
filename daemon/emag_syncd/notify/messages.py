"""What webhooks say: the body of each message. docs/webhooks.md shows examples."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from emag_syncd.domain.runs import Counters
from emag_syncd.storage.outbox import Message

TEST = "webhook.test"

RUN = (
    "id",
    "sync_type",
    "operation",
    "status",
    "started_at",
    "completed_at",
    "duration_seconds",
    "triggered_by",
    "scheduled_for",
)
STATS = ("total_items", *Counters.__slots__)
CHANGE = ("id", "emag_id", "kind", "changed_at")


def body_of(message: Message) -> str:
    """Return the message's body, as JSON."""
    data = _ended(message.account, message.run) if message.run is not None else _changed(message)
    return _body(message.type, message.created_at, data)


def trial_body() -> str:
    """Return the body of a message that only tries whether a receiver hears it."""
    return _body(TEST, datetime.now(UTC), {"message": "If you can verify this, webhooks work."})


def _body(kind: str, when: datetime, data: Mapping[str, Any]) -> str:
    return msgspec.json.encode({"type": kind, "timestamp": when, "data": data}).decode()


def _ended(account: str, run: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "account": account,
        "run": {name: run[name] for name in RUN},
        "stats": {name: run[name] for name in STATS},
        "errors": run["errors"],
        "warnings": run["warnings"],
    }


def _changed(message: Message) -> dict[str, Any]:
    changes = [
        {**{name: row[name] for name in CHANGE}, "changes": msgspec.Raw(row["changes"])} for row in message.changes
    ]
    return {"account": message.account, "run": {"id": message.run_id}, "changes": changes}
