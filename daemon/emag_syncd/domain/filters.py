"""The filters that the marketplace knows, and the values it documents for each. It ignores all others in silence."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class _Numbers:
    """A filter by a whole number within any of the ``ranges``."""

    ranges: Sequence[range]

    def takes(self, value: Any) -> bool:
        return type(value) is int and any(value in one for one in self.ranges)

    def schema(self) -> dict[str, Any]:
        return {"type": "integer", "anyOf": [{"minimum": one[0], "maximum": one[-1]} for one in self.ranges]}

    def __str__(self) -> str:
        return "a whole number from " + " or ".join(f"{one[0]} to {one[-1]}" for one in self.ranges)


@dataclass(frozen=True, slots=True)
class _Text:
    """A filter by a text of at most ``longest`` characters."""

    longest: int

    def takes(self, value: Any) -> bool:
        return isinstance(value, str) and 0 < len(value) <= self.longest and value.isprintable()

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "minLength": 1, "maxLength": self.longest}

    def __str__(self) -> str:
        return f"a text of 1 to {self.longest} characters"


FILTERS: Mapping[str, _Numbers | _Text] = {
    "id": _Numbers([range(1, 2**32)]),
    "status": _Numbers([range(2)]),
    "part_number": _Text(255),
    "part_number_key": _Text(255),
    "general_stock": _Numbers([range(2**31)]),
    "estimated_stock": _Numbers([range(2**31)]),
    "offer_validation_status": _Numbers([range(1, 3)]),
    "validation_status": _Numbers([range(1, 7), range(8, 13)]),
    "translation_validation_status": _Numbers([range(1, 7), range(8, 18)]),
}


def schema() -> dict[str, Any]:
    """Return the filters as JSON Schema."""
    properties = {name: rule.schema() for name, rule in FILTERS.items()}
    return {"type": "object", "properties": properties, "additionalProperties": False}


def problems(filters: Mapping[str, Any]) -> list[str]:
    """Return a line for each filter that the marketplace does not know, or not with this value."""
    found = []
    for name, value in filters.items():
        rule = FILTERS.get(name)
        if rule is None:
            found.append(f"{name!r} is no filter of the marketplace; those are {', '.join(FILTERS)}")
        elif not rule.takes(value):
            found.append(f"{name} must be {rule}")
    return found
