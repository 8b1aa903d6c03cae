"""How many of the pages that wait are merged at once."""

import asyncio
from collections.abc import Mapping
from contextlib import aclosing
from typing import Any, cast

from emag_syncd.domain.offers import Item, Page
from emag_syncd.domain.scans import PageSizer, Span, Worklist
from emag_syncd.marketplace.client import Client
from emag_syncd.sync.reading import PageReader


class Prompt:
    """A marketplace whose pages are there as soon as they are asked for."""

    async def read_page(self, _filters: Mapping[str, Any], number: int, size: int) -> Page:
        """Return a page of offers that no other has."""
        return Page(tuple(Item(number * size + place, b"{}", b"") for place in range(size)))


async def test_pages_that_bring_nothing_new_share_a_commit() -> None:
    """What has to be decoded comes in small batches; what is known, in large ones."""
    reader = PageReader(
        cast("Client", Prompt()),
        {},
        PageSizer(10),
        stop=asyncio.get_running_loop().create_future(),
        backoff=lambda _rounds, _error: 0.0,
        ceiling=60,
        max_attempts=1,
    )
    unchanged = iter([False, True, True, False, True])
    sizes: list[int] = []
    async with aclosing(reader.pages(Worklist([Span(0, 590)]))) as pages:
        async for fetched in pages:
            sizes.append(len(fetched))
            reader.merged(unchanged=next(unchanged, True))
            reader.written(len(fetched))
    assert sizes == [2, 2, 12, 12, 2, 12, 12, 5]
