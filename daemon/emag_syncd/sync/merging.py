"""Makes of the pages that came what has to be written: nothing, for an offer that did not change."""

import asyncio
from collections.abc import Container, Iterable, Sequence

from emag_syncd.domain.batches import Batch, SeenPage
from emag_syncd.domain.canonical import canonical, parse, top_level_differences
from emag_syncd.domain.changes import ChangeKind, creation, difference, removal
from emag_syncd.domain.offers import Item, Offer
from emag_syncd.domain.runs import Counters
from emag_syncd.marketplace.decoding import decode
from emag_syncd.storage.mirror import Known, Mirror
from emag_syncd.sync.reading import Fetched
from emag_syncd.sync.warnings import Warnings

DECODED_AT_ONCE = 5
"""How many offers are decoded before the event loop gets its turn: less than a millisecond's worth.

What is longer keeps PostgreSQL waiting, which is told what to do next between two turns.
"""


class Merger:
    """Compares what came with the mirror of one account."""

    def __init__(self, mirror: Mirror, account: str) -> None:
        """Compare with the offers of ``account`` in ``mirror``."""
        self._mirror = mirror
        self._account = account
        self._warnings = Warnings()

    async def of_pages(self, fetched: Sequence[Fetched]) -> Batch:
        """Return what these pages change. Raises DatabaseError."""
        items = {item.emag_id: item for got in fetched for item in got.page.items}
        batch = await self._compare(items)
        batch.pages = [
            SeenPage(got.job.span.start, got.job.span.end, [item.emag_id for item in got.page.items]) for got in fetched
        ]
        batch.rejects = [(got.job.number, reject) for got in fetched for reject in got.page.rejects]
        batch.counters.failed_items = len(batch.rejects)
        batch.counters.processed_items = len(items) + len(batch.rejects)
        batch.counters.pages_processed = len(fetched)
        return batch

    async def of_offers(self, items: Sequence[Item], *, seen: bool) -> Batch:
        """Return what offers read by their id change; with ``seen`` they count as seen by the scan."""
        batch = await self._compare({item.emag_id: item for item in items})
        if seen:
            # A page of no extent: it says what was seen, and nothing of positions.
            batch.pages = [SeenPage(0, 0, [item.emag_id for item in items])]
        batch.counters.processed_items = len(items)
        return batch

    def of_removals(self, ids: Sequence[int]) -> Batch:
        """Return what marks the offers ``ids`` as removed."""
        return Batch(
            removals=list(ids),
            changes=[removal(emag_id) for emag_id in ids],
            counters=Counters(removed_items=len(ids)),
        )

    async def _compare(self, items: dict[int, Item]) -> Batch:
        known = await self._mirror.known(self._account, list(items))
        differing = [item for item in items.values() if _may_differ(item, known.get(item.emag_id))]
        offers = await _decoded(differing, known)
        batch = Batch()
        kinds = {
            offer.emag_id: kind for offer in offers if (kind := _kind(offer, known.get(offer.emag_id))) is not None
        }
        batch.writes = [offer for offer in offers if offer.emag_id in kinds]
        await self._describe(batch, kinds)
        created = sum(kind is ChangeKind.CREATED for kind in kinds.values())
        batch.counters.created_items = created
        batch.counters.updated_items = len(kinds) - created
        batch.counters.unchanged_items = len(items) - len(kinds)
        # Last, when nothing can fail any more: what is tried again must not be counted twice.
        if self._warnings.add(offers):
            batch.warnings = self._warnings.entries()
        return batch

    async def _describe(self, batch: Batch, kinds: dict[int, ChangeKind]) -> None:
        """Add to ``batch`` the change of each offer that it writes."""
        before = [emag_id for emag_id, kind in kinds.items() if kind is not ChangeKind.CREATED]
        stored = await self._mirror.stored(self._account, before) if before else {}
        for offer in batch.writes:
            old = stored.get(offer.emag_id)
            if old is None:
                batch.changes.append(creation(offer))
                continue
            raw_keys = top_level_differences(canonical(_object(old["raw"])), offer.form)
            batch.changes.append(difference(kinds[offer.emag_id], dict(old), offer, raw_keys))


def _may_differ(item: Item, known: Known | None) -> bool:
    return known is None or known.removed or known.raw_hash != item.raw_hash


def _kind(offer: Offer, known: Known | None) -> ChangeKind | None:
    if known is None:
        return ChangeKind.CREATED
    if known.removed:
        return ChangeKind.RESTORED
    return ChangeKind.UPDATED if known.content_hash != offer.content_hash else None


def _object(raw: bytes | None) -> dict[str, object]:
    decoded = parse(raw) if raw else None
    return decoded if isinstance(decoded, dict) else {}


async def _decoded(items: Iterable[Item], known: Container[int]) -> list[Offer]:
    offers: list[Offer] = []
    for number, item in enumerate(items, start=1):
        offers.append(decode(item, keep_form=item.emag_id in known))
        if number % DECODED_AT_ONCE == 0:
            await asyncio.sleep(0)
    return offers
