"""Cheap random positions: numbers in blocks from a hash instead of a generator object.

The generator is counter-based (Salmon, Moraes, Dror, Shaw: Parallel Random Numbers: As Easy as
1, 2, 3, SC 2011): block b of a seed is what SHAKE-128 (FIPS 202) makes of (seed, b), so a decision
can be replayed from (seed, counter) alone.  A number costs a look into the block, where arithmetic
of 64 bits costs the interpreter ten times as much.

The positions of one draw form a random arithmetic progression that goes round at most once: each
position is uniform and no two are equal, which is all that sampling needs.
"""

from array import array
from hashlib import shake_128

BLOCK_BITS = 8
_BLOCK_MASK = (1 << BLOCK_BITS) - 1
_BLOCK_BYTES = 8 << BLOCK_BITS
_SEED_MASK = (1 << 64) - 1


class Draws:
    """Random numbers from a seed and a counter."""

    __slots__ = ("_block", "_block_number", "_seed", "counter")

    def __init__(self, seed: int) -> None:
        self._seed = seed & _SEED_MASK
        self._block = array("Q")
        self._block_number = -1
        self.counter = 0

    @property
    def seed(self) -> int:
        """What the numbers come from."""
        return self._seed

    @seed.setter
    def seed(self, seed: int) -> None:
        self._seed = seed & _SEED_MASK
        self._block_number = -1

    def number(self) -> int:
        """Return the next 64 random bits."""
        self.counter = counter = self.counter + 1
        if counter >> BLOCK_BITS != self._block_number:
            self._make_block(counter >> BLOCK_BITS)
        return self._block[counter & _BLOCK_MASK]

    def _make_block(self, number: int) -> None:
        origin = self._seed.to_bytes(8, "little") + number.to_bytes(8, "little")
        self._block = array("Q", shake_128(origin).digest(_BLOCK_BYTES))
        self._block_number = number

    def sample(self, rows: "array[int]", count: int) -> "array[int]":
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
        return self.sample(array("L", range(population)), count).tolist()
