"""Chance that can be repeated: the same seed gives the same marketplace on every Python."""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Final, TypeVar

T = TypeVar("T")

WORD: Final = 2**64 - 1


def mix(value: int) -> int:
    """Spreads a number over 64 bits (the finaliser of SplitMix64)."""
    value = (value + 0x9E3779B97F4A7C15) & WORD
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & WORD
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & WORD
    return value ^ (value >> 31)


def seed_of(*parts: object) -> int:
    """One 64-bit seed out of whatever names a thing."""
    return int.from_bytes(blake2b(repr(parts).encode(), digest_size=8).digest(), "big")


class Dice:
    """A stream of draws from a seed."""

    def __init__(self, *parts: object) -> None:
        self._state = seed_of(*parts)

    def draw(self) -> int:
        """The next 64 bits."""
        self._state = (self._state + 1) & WORD
        return mix(self._state)

    def below(self, bound: int) -> int:
        """A whole number from 0 to `bound` - 1."""
        return self.draw() % bound

    def uniform(self, low: float, high: float) -> float:
        """A number between the two."""
        return low + (high - low) * (self.draw() / WORD)

    def chance(self, probability: float) -> bool:
        """True that often."""
        return self.draw() < probability * WORD

    def choice(self, options: Sequence[T]) -> T:
        """One of the options."""
        return options[self.below(len(options))]

    def shuffled(self, options: Sequence[T]) -> list[T]:
        """The options in another order."""
        keyed = sorted((self.draw(), index) for index in range(len(options)))
        return [options[index] for _, index in keyed]
