"""The stable hash: the same node and tenant land in the same pool on every host, for ever.

FNV-1a, 64 bit (Fowler, Noll, Vo), over the UTF-8 key followed by the seed as 8 little-endian bytes.
"""

OFFSET_BASIS = 0xCBF29CE484222325
PRIME = 0x100000001B3
MASK = 0xFFFFFFFFFFFFFFFF


def fnv1a_64(key: str, seed: int) -> int:
    """Hash `key` under `seed` (0 .. 2**64 - 1) to 64 bits.

    A lone surrogate, which UTF-8 cannot carry, is hashed as its three-byte form.
    """
    digest = OFFSET_BASIS
    for byte in key.encode("utf-8", "surrogatepass") + seed.to_bytes(8, "little"):
        digest = (digest ^ byte) * PRIME & MASK
    return digest


def stable_index(key: str, seed: int, count: int) -> int:
    """Pick one of `count` places (count >= 1) for `key`."""
    return fnv1a_64(key, seed) % count
