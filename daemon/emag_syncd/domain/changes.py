"""What changed between the stored offer and the one that came."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import msgspec

from emag_syncd.domain.offers import COLUMNS, Offer


class ChangeKind(StrEnum):
    """What happened to an offer."""

    CREATED = "created"
    UPDATED = "updated"
    REMOVED = "removed"
    RESTORED = "restored"


class Step(msgspec.Struct, frozen=True, gc=False):
    """From which value to which a column changed: no work for the garbage collector, as there are so many."""

    old: Any
    new: Any


@dataclass(frozen=True, slots=True)
class Change:
    """One entry of the change log.

    ``changes`` has a ``Step`` for each column that changed, and under ``raw`` the top-level keys that
    changed inside the raw object alone.
    """

    emag_id: int
    kind: ChangeKind
    changes: Mapping[str, Any] = field(default_factory=dict)


def creation(offer: Offer) -> Change:
    """Return the change that makes ``offer`` out of nothing."""
    columns = {name: Step(None, value) for name, value in offer.columns.items() if value is not None}
    return Change(offer.emag_id, ChangeKind.CREATED, columns)


def difference(kind: ChangeKind, old: Mapping[str, Any], new: Offer, raw_keys: Iterable[str]) -> Change:
    """Return what leads from the columns ``old`` to ``new``; ``raw_keys`` are the keys that differ in ``raw``."""
    changes: dict[str, Any] = {
        name: Step(old[name], new.columns[name]) for name in COLUMNS if old[name] != new.columns[name]
    }
    inside = [key for key in raw_keys if key not in changes]
    if inside:
        changes["raw"] = inside
    return Change(new.emag_id, kind, changes)


def removal(emag_id: int) -> Change:
    """Return the change that says that the marketplace does not have the offer any more."""
    return Change(emag_id, ChangeKind.REMOVED)
