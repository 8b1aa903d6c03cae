"""The odd values of a run, one entry a column however many there are."""

from collections.abc import Iterable

from emag_syncd.domain.offers import Offer


class Warnings:
    """Counts the values that did not fit their column, with an example of each."""

    def __init__(self) -> None:
        """Begin with none."""
        self._entries: dict[str, dict[str, object]] = {}

    def add(self, offers: Iterable[Offer]) -> bool:
        """Count the odd values of ``offers``; whether there were any."""
        found = False
        for offer in offers:
            for odd in offer.odd:
                found = True
                entry = self._entries.setdefault(
                    odd.column,
                    {"column": odd.column, "count": 0, "example": odd.value, "emag_id": offer.emag_id},
                )
                entry["count"] = int(str(entry["count"])) + 1
        return found

    def entries(self) -> list[dict[str, object]]:
        """Return the warnings as the ``warnings`` column keeps them."""
        return [
            {
                **entry,
                "warning": f"{entry['column']}: {entry['count']} that do not fit the column, such as"
                f" {entry['example']}; kept in raw",
            }
            for entry in self._entries.values()
        ]
