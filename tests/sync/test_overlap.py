"""Batches that are written at once: two at most, committed in order, and none after one that failed."""

import asyncio
from functools import partial

import pytest

from emag_syncd.storage.mirror import Turn
from emag_syncd.sync.overlap import WRITES_AT_ONCE, Overlap
from emag_syncd.sync.reading import StoppedError


class Writes:
    """Writes that note what they do, and commit when they are allowed to."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.ended: list[int] = []
        self.allowed: dict[int, asyncio.Event] = {}
        self.failing: set[int] = set()

    async def write(self, number: int, turn: Turn) -> None:
        self.begun.append(number)
        await turn()
        await self.allowed.setdefault(number, asyncio.Event()).wait()
        if number in self.failing:
            raise OSError(number)
        self.ended.append(number)

    async def follow(self, overlap: Overlap, *numbers: int) -> None:
        for number in numbers:
            await overlap.follow(partial(self.write, number), {number})

    def allow(self, *numbers: int) -> None:
        for number in numbers:
            self.allowed.setdefault(number, asyncio.Event()).set()


async def written(writes: Writes, *numbers: int, beside: Exception | None = None) -> None:
    """Write ``numbers``, with an error beside them."""
    async with Overlap() as overlap:
        await writes.follow(overlap, *numbers)
        if beside is not None:
            await turns()
            raise beside


async def turns() -> None:
    """Let everything go on that can."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_two_at_once_in_order() -> None:
    """The next is begun beside one that is under way, not beside two; whatever may commit first, the first does."""
    writes = Writes()
    async with Overlap() as overlap:
        await writes.follow(overlap, *range(WRITES_AT_ONCE))
        third = asyncio.create_task(writes.follow(overlap, 2))
        writes.allow(1)
        await turns()
        assert (writes.begun, writes.ended, third.done()) == ([0, 1], [], False)
        writes.allow(0)
        await third
        await turns()
        assert (writes.begun, writes.ended) == ([0, 1, 2], [0, 1])
        writes.allow(2)
    assert writes.ended == [0, 1, 2]


async def test_what_is_being_written_is_known() -> None:
    """Until it is settled, and of all that is under way."""
    writes = Writes()
    async with Overlap() as overlap:
        await writes.follow(overlap, 0, 1)
        assert overlap.has([5, 0])
        assert overlap.has([1])
        assert not overlap.has([5])
        writes.allow(0, 1)
        await overlap.settle()
        assert not overlap.has([0, 1])


async def test_none_commits_after_one_that_failed() -> None:
    """The error is the first one's, and what came after it is cancelled."""
    writes = Writes()
    writes.failing = {0}
    writes.allow(0, 1)
    with pytest.raises(OSError, match="0"):
        await written(writes, 0, 1, 2)
    assert (writes.begun, writes.ended) == ([0, 1], [])


async def test_an_error_beside_them_cancels_all() -> None:
    """They are over when the block is left."""
    writes = Writes()
    with pytest.raises(ValueError, match="beside"):
        await written(writes, 0, 1, beside=ValueError("beside"))
    writes.allow(0, 1)
    await turns()
    assert writes.ended == []


@pytest.mark.parametrize("failing", [set(), {0}, {1}])
async def test_the_wish_to_stop_lets_them_finish(failing: set[int]) -> None:
    """What is under way is committed; where it fails, that is what is heard of."""
    writes = Writes()
    writes.failing = failing
    writes.allow(0, 1)
    with pytest.raises(OSError if failing else StoppedError):
        await written(writes, 0, 1, beside=StoppedError())
    assert writes.ended == [number for number in (0, 1) if number < min(failing, default=2)]
