"""Cheap random positions: one multiplication chain a decision instead of a generator object.

The counter-based generator is splitmix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom
Number Generators, OOPSLA 2014): number k of a seed is mix(seed + k * GOLDEN), so a decision can
be replayed from (seed, k) alone.  The positions of one draw form a random arithmetic progression
that goes round at most once: each position is uniform and no two are equal, which is all that
sampling needs.
"""

from array import array
from typing import TypeVar

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15


Rows = TypeVar("Rows", "array[int]", "list[int]")


class Draws:
    """Random numbers from a seed and a counter."""

    __slots__ = ("counter", "seed")

    def __init__(self, seed: int) -> None:
        self.seed = seed & _MASK
        self.counter = 0

    def number(self) -> int:
        """Return the next 64 random bits."""
        self.counter += 1
        z = self.seed + self.counter * _GOLDEN & _MASK
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & _MASK
        z = (z ^ z >> 27) * 0x94D049BB133111EB & _MASK
        return z ^ z >> 31

    def sample(self, rows: Rows, count: int) -> Rows:
        """Return `count` different ones of at least one row, or all of them, turned round."""
        number = self.number()
        population = len(rows)
        start = number % population
        if population <= count:
            return rows[start:] + rows[:start]
        step = 1 + (number >> 32) % (population // count)
        end = start + count * step
        sample = rows[start:end:step]
        missing = count - len(sample)
        if not missing:
            return sample
        return sample + rows[end - missing * step - population : end - population : step]

    def positions(self, population: int, count: int) -> list[int]:
        """Return the positions that `sample` would take from so many rows."""
        return self.sample([*range(population)], count)
