"""The offers of one account: made from a seed when they are asked for, so that a million of them fit."""

import json
from array import array
from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

from emag_syncd.sandbox.dice import Dice, seed_of
from emag_syncd.sandbox.filters import NO_FILTERS, Filters, matches, reader
from emag_syncd.sandbox.mutations import mutation
from emag_syncd.sandbox.oddities import PLAIN, UNUSABLE, Oddities, apply
from emag_syncd.sandbox.products import FIRST_ID, ID_STEP, Facts, facts, render

ABSENT: Final = msgspec.UNSET
_FILTERED_KEPT: Final = 32
_CONTACT: Final = [{"name": "Voltora SRL", "address": "Str. Lungă 7, Cluj", "email": "contact@example.ro"}]


class Catalogue:
    """One account's offers, in an order that nothing promises.

    An offer is a function of (seed, id) plus the fields changed since. A place in the order is an offer's id,
    or a negative number for an unusable row. An id can stand twice: that is a duplicate row.
    """

    def __init__(
        self,
        offers: int,
        *,
        seed: object = 0,
        platform: str = "emag-ro",
        oddities: Oddities = PLAIN,
        preencode: int = 0,
    ) -> None:
        """Makes a catalogue; so many rows as `preencode` says are made at once and kept: 200 000 take some 550 MB."""
        self.platform = platform
        self.oddities = oddities
        self.version = 0
        self._seed = seed_of("catalogue", seed)
        self._base = offers
        self._order = array("q", range(FIRST_ID, FIRST_ID + offers * ID_STEP, ID_STEP))
        self._next_id = FIRST_ID + offers * ID_STEP
        self._size = offers
        self._gone: set[int] = set()
        self._new: set[int] = set()
        self._changed: dict[int, dict[str, Any]] = {}
        self._rows: dict[int, bytes] = {}
        self._keep = preencode
        self._selected: dict[Filters, array[int]] = {}
        self._add_extras(Dice("extras", seed))
        for slot in self._order[: self._keep]:
            self._row(slot)

    def __len__(self) -> int:
        return self._size

    def __contains__(self, offer_id: int) -> bool:
        if offer_id in self._gone:
            return False
        place, rest = divmod(offer_id - FIRST_ID, ID_STEP)
        return offer_id in self._new or (rest == 0 and 0 <= place < self._base)

    @property
    def ids(self) -> list[int]:
        """The ids of all offers, in their order of now, each once."""
        return list(self._distinct())

    def get(self, offer_id: int) -> Any:
        """An offer decoded from what a list read serves.

        Raises:
            KeyError: There is no such offer.
        """
        # Not by msgspec: the standard library also takes lone surrogates and 1e400.
        return json.loads(self.row(offer_id))

    def truth(self) -> Iterator[tuple[int, bytes]]:
        """Every offer once, with its JSON exactly as a list read serves it."""
        for offer_id in self._distinct():
            yield offer_id, self._row(offer_id)

    def unusable_rows(self) -> list[bytes]:
        """The rows without a usable id, in their order."""
        return [self._row(slot) for slot in self._order if slot < 0]

    def oddities_of(self, offer_id: int) -> tuple[str, ...]:
        """The names of the oddities that an offer shows."""
        return self.oddities.of(self._seed, offer_id)

    def row(self, offer_id: int, *, alone: bool = False) -> bytes:
        """An offer's JSON as a list read has it, or, `alone`, as a read by id has it.

        Raises:
            KeyError: There is no such offer.
        """
        if offer_id not in self:
            raise KeyError(offer_id)
        return self._build(offer_id, alone=True) if alone else self._row(offer_id)

    def count(self, filters: Filters = NO_FILTERS) -> int:
        """How many offers pass the filters; extra rows only when `Oddities.counted` says so."""
        if wanted := dict(filters).get("id"):
            return len(self._by_id(int(wanted), filters))
        if filters:
            return len(set(self._select(filters)))
        return len(self._order) if self.oddities.counted else self._size

    def page(self, filters: Filters, page: int, size: int) -> list[bytes]:
        """The rows of a page, counted from 1; empty past the end."""
        if wanted := dict(filters).get("id"):
            found = self._by_id(int(wanted), filters) if page == 1 else []
            return [self._build(offer_id, alone=True) for offer_id in found]
        slots = self._select(filters) if filters else self._order
        return [self._row(slot) for slot in slots[(page - 1) * size : page * size]]

    def update(self, offer_id: int, **fields: Any) -> None:
        """Changes fields; they are served as given (`msgspec.Raw` for JSON of your own, `ABSENT` for no key).

        Raises:
            KeyError: There is no such offer.
        """
        if offer_id not in self:
            raise KeyError(offer_id)
        self._changed.setdefault(offer_id, {}).update(fields)
        self._rows.pop(offer_id, None)
        self.version += 1
        # A filtered list stays good while nothing changes that its filters look at.
        for filters in [known for known in self._selected if any(key in fields for key, _ in known)]:
            del self._selected[filters]

    def add(self, offer_id: int | None = None, *, front: bool = False, **fields: Any) -> int:
        """Lists a new offer, or one that was removed, and returns its id.

        Raises:
            ValueError: The id is taken.
        """
        if offer_id is None:
            offer_id = self._next_id
        if offer_id in self or offer_id < 1:
            raise ValueError(f"offer {offer_id} cannot be added")
        self._next_id = max(self._next_id, offer_id + ID_STEP)
        self._gone.discard(offer_id)
        self._new.add(offer_id)
        self._size += 1
        self._order.insert(0 if front else len(self._order), offer_id)
        self._reordered()
        if fields:
            self.update(offer_id, **fields)
        return offer_id

    def remove(self, *offer_ids: int) -> None:
        """Takes offers off, with their duplicate rows.

        Raises:
            KeyError: There is no such offer.
        """
        for offer_id in offer_ids:
            if offer_id not in self:
                raise KeyError(offer_id)
            self._new.discard(offer_id)
            self._gone.add(offer_id)
            self._size -= 1
        leaving = set(offer_ids)
        self._reorder(slot for slot in self._order if slot not in leaving)

    def move_to_front(self, offer_id: int) -> None:
        """Makes an offer the first row of the first page.

        Raises:
            KeyError: There is no such offer.
        """
        if offer_id not in self:
            raise KeyError(offer_id)
        self._order.remove(offer_id)
        self._order.insert(0, offer_id)
        self._reordered()

    def shuffle(self, dice: Dice) -> None:
        """Puts all rows into another order."""
        self._reorder(dice.shuffled(self._order))

    def duplicate(self, offer_id: int) -> None:
        """Adds a second row of an offer, right behind the first."""
        self._order.insert(self._order.index(offer_id) + 1, offer_id)
        self._reordered()

    def add_unusable(self, kind: str, place: int | None = None) -> None:
        """Adds a row without a usable id, at a place from 0, or at the end."""
        slot = -1 - list(UNUSABLE).index(kind)
        self._order.insert(len(self._order) if place is None else place, slot)
        self._reordered()

    def mutate_randomly(self, dice: Dice, number: int) -> list[int]:
        """Changes price, stock, status, validation or name of that many offers drawn; returns their ids."""
        ids = []
        for _ in range(number if self._size else 0):
            while (slot := dice.choice(self._order)) < 0:
                pass
            self.update(slot, **self._mutation(dice, slot))
            ids.append(slot)
        return ids

    def _mutation(self, dice: Dice, offer_id: int) -> dict[str, Any]:
        current = reader(self._facts(offer_id), self._changed.get(offer_id, {}))
        return mutation(dice, current)

    def _distinct(self) -> Iterator[int]:
        """The ids of now; a million are not held unless some stand twice."""
        slots = (slot for slot in self._order[:] if slot > 0)
        return slots if len(self._order) == self._size else iter(dict.fromkeys(slots))

    def _by_id(self, offer_id: int, filters: Filters) -> list[int]:
        return [offer_id] if offer_id in self and self._passes(filters, offer_id) else []

    def _passes(self, filters: Filters, offer_id: int) -> bool:
        rest = tuple(item for item in filters if item[0] != "id")
        return matches(rest, reader(self._facts(offer_id), self._changed.get(offer_id, {})))

    def _select(self, filters: Filters) -> "array[int]":
        if filters not in self._selected:
            if len(self._selected) >= _FILTERED_KEPT:
                self._selected.clear()
            found = (slot for slot in self._order if slot > 0 and self._passes(filters, slot))
            self._selected[filters] = array("q", found)
        return self._selected[filters]

    def _facts(self, offer_id: int) -> Facts:
        return facts(self._seed, offer_id)

    def _row(self, slot: int) -> bytes:
        row = self._rows.get(slot)
        if row is None:
            row = self._build(slot)
            if len(self._rows) < self._keep:
                self._rows[slot] = row
        return row

    def _build(self, slot: int, *, alone: bool = False) -> bytes:
        if slot < 0:
            return list(UNUSABLE.values())[-1 - slot]
        plain = render(self.platform, slot, self._facts(slot))
        changed, odd = self._changed.get(slot), self.oddities_of(slot)
        if not (changed or odd or alone):
            return plain
        offer: dict[str, Any] = msgspec.json.decode(plain)
        for name in odd:
            apply(name, offer)
        offer |= {"manufacturer": _CONTACT, "eu_representative": []} if alone else {}
        offer |= changed or {}
        return msgspec.json.encode({key: value for key, value in offer.items() if value is not ABSENT})

    def _reorder(self, slots: Iterable[int]) -> None:
        self._order = array("q", slots)
        self._reordered()

    def _reordered(self) -> None:
        self._selected.clear()
        self.version += 1

    def _add_extras(self, dice: Dice) -> None:
        kinds = self.oddities.unusable_kinds()
        for number in range(self.oddities.unusable if kinds else 0):
            self.add_unusable(kinds[number % len(kinds)], dice.below(len(self._order) + 1))
        for _ in range(self.oddities.duplicates if self._size else 0):
            while (slot := dice.choice(self._order)) < 0:
                pass
            self.duplicate(slot)
