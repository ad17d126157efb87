"""Chance from a seed: one independent stream for each name, so that parts do not disturb others."""

from collections.abc import Sequence
from random import Random
from typing import TypeVar

T = TypeVar("T")

MS = 1_000_000
S = 1_000_000_000


class Dice:
    """One stream of random numbers; equal (seed, name) give equal streams, on every machine."""

    def __init__(self, seed: int, name: str) -> None:
        self._random = Random(f"{seed}/{name}")
        self.fraction = self._random.random  # evenly from 0 to just below 1

    def chance(self, probability: float) -> bool:
        """Return True with this probability."""
        return self.fraction() < probability

    def between(self, low: int, high: int) -> int:
        """Return a whole number from low to high, both included."""
        return low + int(self.fraction() * (high - low + 1))

    def skewed(self, low: int, high: int, power: int = 4) -> int:
        """Return a number from low to high; the higher the power, the likelier small ones."""
        return low + int((high - low) * self.fraction() ** power)

    def pick(self, choices: Sequence[T]) -> T:
        """Return one of the choices."""
        return choices[int(self.fraction() * len(choices))]

    def entropy(self, size: int) -> bytes:
        """Return random bytes: what cores make their ids and waits from."""
        return self._random.randbytes(size)
