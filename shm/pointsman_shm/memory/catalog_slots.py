"""Reading the slots of a catalog so that torn, stale or damaged bytes are never taken for good.

Nothing here waits or raises because of what the bytes say: a slot verifies, or the answer is None.
Every length and place is checked against the layout before it is used.  The sequence word tells
that the writer was here meanwhile; the CRC does not trust the order in which stores arrive.
"""

import struct
from collections.abc import Callable
from typing import NamedTuple
from zlib import crc32

from pointsman_shm.memory.catalog_layout import (
    DIRECTORY_BODY,
    DIRECTORY_CRC,
    DIRECTORY_HEAD_WORDS,
    PLACE_CRC_MASK,
    PLACE_LENGTH_MASK,
    PLACE_LENGTH_SHIFT,
    PLACE_SLOT_SHIFT,
    SEQUENCE,
    SLOT_CRC,
    SLOT_HEAD_SIZE,
    SLOT_LENGTH,
    SLOT_VERSION,
    CatalogLayout,
)
from pointsman_shm.memory.header import BIRTH, OWNER_BOOT

Entry = tuple[int, int]
NEVER_WRITTEN: Entry = (0, 0)
_ENTRY = struct.Struct("=QQ")
_DIRECTORY_HEAD = struct.Struct("=QQQQQQ")


class CatalogDamaged(Exception):
    """Something was published, and no directory of it verifies any more."""


class Directory(NamedTuple):
    """One published version: for each page its own version and its place (slot, length, crc)."""

    version: int
    published_at_ns: int
    entries: list[Entry]


class CatalogMemory(NamedTuple):
    """The catalog's bytes and words, how they are laid out, and which catalog it is."""

    view: memoryview
    words: memoryview
    layout: CatalogLayout
    identity: tuple[int, int]


def map_catalog(view: memoryview, words: memoryview, layout: CatalogLayout) -> CatalogMemory:
    """Return the catalog's memory; its (birth, boot) is noted once and expected ever after."""
    return CatalogMemory(view, words, layout, (words[BIRTH], words[OWNER_BOOT]))


def directory_body(memory: CatalogMemory, directory: Directory) -> bytes:
    """Return the bytes of a directory from its version word on."""
    head = (
        directory.version,
        *memory.identity,
        directory.published_at_ns,
        len(directory.entries),
        0,
    )
    return _DIRECTORY_HEAD.pack(*head) + b"".join(_ENTRY.pack(*e) for e in directory.entries)


def read_directory(memory: CatalogMemory, slot: int) -> Directory | None:
    """Return the directory in a slot, or None unless all of it is one finished version."""
    words, layout = memory.words, memory.layout
    at = layout.directory_at(slot)
    sequence = words[at + SEQUENCE]
    if sequence & 1:
        return None
    start = at + DIRECTORY_BODY
    stop = at + DIRECTORY_HEAD_WORDS + 2 * layout.page_count
    crc = words[at + DIRECTORY_CRC]
    body = bytes(memory.view[8 * start : 8 * stop])
    if words[at + SEQUENCE] != sequence or crc32(body) != crc:
        return None
    version, birth, boot, published_at_ns, page_count, _ = _DIRECTORY_HEAD.unpack_from(body)
    if (birth, boot) != memory.identity or page_count != layout.page_count:
        return None
    if version == 0 or version & 1 != slot:
        return None
    entries = list(_ENTRY.iter_unpack(body[_DIRECTORY_HEAD.size :]))
    return Directory(version, published_at_ns, entries)


def read_page(
    memory: CatalogMemory, page: int, entry: Entry, pause: Callable[[str], None]
) -> bytes | None:
    """Return a copy of the page exactly as the directory entry names it, or None."""
    version, place = entry
    length = place >> PLACE_LENGTH_SHIFT & PLACE_LENGTH_MASK
    crc = place & PLACE_CRC_MASK
    if length > memory.layout.payload_max(page):
        return None
    words = memory.words
    at = memory.layout.slot_at(page, place >> PLACE_SLOT_SHIFT)
    head = at // 8
    sequence = words[head + SEQUENCE]
    found = (words[head + SLOT_VERSION], words[head + SLOT_LENGTH], words[head + SLOT_CRC])
    if sequence & 1 or found != (version, length, crc):
        return None
    start = at + SLOT_HEAD_SIZE
    middle = start + length // 2
    first_half = bytes(memory.view[start:middle])
    pause("catalog-mid-copy")
    payload = first_half + memory.view[middle : start + length]
    if words[head + SEQUENCE] != sequence or crc32(payload) != crc:
        return None
    return payload


def no_pause(point: str) -> None:
    """Do nothing at a named point."""
