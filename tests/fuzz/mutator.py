"""Bytes made from bytes: what an own fuzzer feeds when no coverage guides it.

Frames have lengths in front, so a mutation that changes a size would mostly end at the length
check; half of the cases have the two words of every frame set right again.
"""

import struct
from random import Random

from pointsman_wire.framing import LENGTH_BYTES, PREFIX_BYTES

CASE_BYTES_MAX = 8 * 1024
_PREFIX = struct.Struct("<II")
NUMBERS = (0, 1, 4, 7, 8, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1)
# Bytes that mean something to msgpack: containers, long texts, extensions, never used.
TAGS = bytes([0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xC0, 0xC1, 0xC4, 0xC7, 0xCB, 0xCF, 0xD3, 0xDB, 0xDD])


class Mutator:
    """Makes cases from seeds; equal seeds and number give equal cases."""

    def __init__(self, seeds: list[bytes], number: int) -> None:
        assert seeds
        self._seeds = seeds
        self._dice = Random(number)

    def case(self) -> bytes:
        """Return the next case."""
        dice = self._dice
        data = bytearray(dice.choice(self._seeds))
        for _ in range(dice.choice((1, 1, 2, 4, 16))):
            dice.choice(_WAYS)(data, self)
            del data[CASE_BYTES_MAX:]
        return mended(bytes(data)) if dice.random() < 0.5 else bytes(data)

    def place(self, data: bytearray) -> int:
        return self._dice.randrange(len(data)) if data else 0

    def flip(self, data: bytearray) -> None:
        if data:
            data[self.place(data)] ^= 1 << self._dice.randrange(8)

    def overwrite(self, data: bytearray) -> None:
        at = self.place(data)
        data[at : at + 1] = bytes([self._dice.choice((self._dice.randrange(256), *TAGS))])

    def insert(self, data: bytearray) -> None:
        at = self.place(data)
        data[at:at] = self._dice.randbytes(self._dice.choice((1, 2, 8, 64)))

    def delete(self, data: bytearray) -> None:
        at = self.place(data)
        del data[at : at + self._dice.choice((1, 2, 8, 64))]

    def repeat(self, data: bytearray) -> None:
        at, size = self.place(data), self._dice.choice((1, 8, 64, 512))
        data[at:at] = data[at : at + size] * self._dice.choice((1, 2, 8))

    def write_number(self, data: bytearray) -> None:
        at, number = self.place(data), self._dice.choice(NUMBERS)
        size = self._dice.choice((1, 2, 4, 8))
        word = (number & (256**size - 1)).to_bytes(size, self._dice.choice(("little", "big")))
        data[at : at + size] = word

    def splice(self, data: bytearray) -> None:
        other = self._dice.choice(self._seeds)
        start = self._dice.randrange(len(other) + 1)
        data[self.place(data) :] = other[start:]

    def append(self, data: bytearray) -> None:
        data += self._dice.choice(self._seeds)

    def cut(self, data: bytearray) -> None:
        del data[self.place(data) :]


_WAYS = tuple(
    lambda data, mutator, name=name: getattr(mutator, name)(data)
    for name in (
        "flip",
        "overwrite",
        "insert",
        "delete",
        "repeat",
        "write_number",
        "splice",
        "append",
        "cut",
    )
)


def mended(data: bytes) -> bytes:
    """Return one frame that holds what stands behind the first two words of the data."""
    if len(data) <= PREFIX_BYTES:
        return data
    _, header_bytes = _PREFIX.unpack_from(data)
    header_bytes = min(header_bytes, len(data) - PREFIX_BYTES)
    length = len(data) - LENGTH_BYTES
    return _PREFIX.pack(length, header_bytes) + data[PREFIX_BYTES:]
