"""Cheap random positions: one multiplication chain a decision instead of a generator object.

The counter-based generator is splitmix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom
Number Generators, OOPSLA 2014): number k of a seed is mix(seed + k * GOLDEN), so a decision can
be replayed from (seed, k) alone.  The positions of one draw form a random arithmetic progression
that goes round at most once: each position is uniform and no two are equal, which is all that
sampling needs.
"""

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15


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

    def positions(self, population: int, sample: int) -> list[int]:
        """Return `sample` different positions below `population`, or all of them, shuffled."""
        number = self.number()
        start = number % population
        if population <= sample:
            return [*range(start, population), *range(start)]
        step = 1 + (number >> 32) % (population // sample)
        end = start + sample * step
        if end - step < population:
            return [*range(start, end, step)]
        before = [*range(start, population, step)]
        return [*before, *range(before[-1] + step - population, end - population, step)]
