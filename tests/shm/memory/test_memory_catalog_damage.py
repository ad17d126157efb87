"""Bytes flipped by a stranger are never acted upon, never crash, and can be mended (S4, U3)."""

import os
import random
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pointsman_shm.memory.catalog_layout import (
    DIRECTORY_BODY,
    DIRECTORY_CRC,
    PLACE_LENGTH_SHIFT,
    PLACE_SLOT_SHIFT,
    SEQUENCE,
    SLOT_CRC,
    SLOT_HEAD_SIZE,
    SLOT_LENGTH,
    SLOT_VERSION,
    SMALL_SLOT_SIZE,
    VERSION,
    CatalogLayout,
)
from pointsman_shm.memory.catalog_reader import CatalogReader
from pointsman_shm.memory.catalog_slots import (
    CatalogDamaged,
    Directory,
    directory_body,
    map_catalog,
    read_directory,
)
from pointsman_shm.memory.catalog_writer import CatalogWriter
from pointsman_shm.memory.header import WORD_MAX, LayoutMismatch, SegmentUnready

LAYOUT = CatalogLayout(300)
PAGES = (0, 1, 2, LAYOUT.pools, LAYOUT.config)
VERSION_COUNT = 5
EXAMPLES = int(os.environ.get("POINTSMAN_TEST_DAMAGE_EXAMPLES", "400"))


def content(page: int, version: int) -> bytes:
    return random.Random(page * 1000 + version).randbytes(50 + 17 * page + version)


def published() -> dict[int, dict[int, bytes]]:
    """Return every version's pages: each publish changes every page but one."""
    versions: dict[int, dict[int, bytes]] = {0: {}}
    for version in range(1, VERSION_COUNT + 1):
        changed = {p: content(p, version) for n, p in enumerate(PAGES) if (version + n) % 3}
        versions[version] = versions[version - 1] | changed
    return versions


VERSIONS = published()


def regions() -> list[range]:
    """Return the byte ranges that mean something: header, words, directories, slots in use."""
    found = [range(8 * LAYOUT.directory_at(2))]
    for page in PAGES:
        for slot in (0, 1):
            start = LAYOUT.slot_at(page, slot)
            found.append(range(start, start + 64 + len(content(page, VERSION_COUNT))))
    return found


REGIONS = regions()
FLIP = st.tuples(
    st.sampled_from(REGIONS).flatmap(lambda r: st.integers(r.start, r.stop - 1)),
    st.integers(1, 255),
)
FLIPS = st.lists(FLIP, min_size=1, max_size=64)


class Scene:
    """A catalog of five versions with a reader one version behind, and then flipped bytes."""

    def __init__(self, flips: list[tuple[int, int]]) -> None:
        self.memory = bytearray(LAYOUT.size)
        self.writer = CatalogWriter(self.memory, LAYOUT, create=True)
        for version in range(1, VERSION_COUNT + 1):
            self.behind = CatalogReader(self.memory, LAYOUT)
            self.behind.refresh()
            pages = VERSIONS[version]
            changed = {p: c for p, c in pages.items() if VERSIONS[version - 1].get(p) != c}
            self.writer.publish(changed, version)
        for at, mask in flips:
            self.memory[at] ^= mask


def attach(memory: bytearray) -> CatalogReader | None:
    """Return a fresh reader, or None when the header says that this is no catalog of ours."""
    try:
        return CatalogReader(memory, LAYOUT)
    except (LayoutMismatch, SegmentUnready):
        return None


def expect_a_version(reader: CatalogReader, before: dict[int, bytes]) -> None:
    version_before = reader.version
    for _ in range(3):
        changed = reader.refresh()
        if changed is None:
            assert reader.version == version_before
            continue
        assert before | changed == VERSIONS[reader.version]
        version_before, before = reader.version, before | changed


@given(FLIPS)
@settings(max_examples=EXAMPLES, deadline=None)
def test_s4_readers_take_a_published_version_or_nothing(flips: list[tuple[int, int]]) -> None:
    scene = Scene(flips)
    expect_a_version(scene.behind, VERSIONS[VERSION_COUNT - 1])
    reader = attach(scene.memory)
    if reader is not None:
        expect_a_version(reader, {})


@given(FLIPS)
@settings(max_examples=EXAMPLES // 4, deadline=None)
def test_s4_a_living_writer_finds_the_damage_and_mends_it(flips: list[tuple[int, int]]) -> None:
    scene = Scene(flips)
    writer = scene.writer
    damaged = writer.damaged_pages()
    if not damaged and writer.is_directory_sound():
        assert CatalogReader(scene.memory, LAYOUT).refresh() == VERSIONS[VERSION_COUNT]
        return
    assert writer.pages() == {
        page: text for page, text in VERSIONS[VERSION_COUNT].items() if page not in damaged
    }
    writer.publish({page: VERSIONS[VERSION_COUNT][page] for page in damaged}, 9)
    assert not writer.damaged_pages()
    assert writer.is_directory_sound()
    assert CatalogReader(scene.memory, LAYOUT).refresh() == VERSIONS[VERSION_COUNT]
    changed = scene.behind.refresh()
    assert changed is not None
    assert VERSIONS[VERSION_COUNT - 1] | changed == VERSIONS[VERSION_COUNT]


@given(FLIPS)
@settings(max_examples=EXAMPLES // 4, deadline=None)
def test_s4_a_successor_takes_over_whole_pages_or_nothing(flips: list[tuple[int, int]]) -> None:
    scene = Scene(flips)
    try:
        successor = CatalogWriter(scene.memory, LAYOUT)
    except (LayoutMismatch, SegmentUnready, CatalogDamaged):
        return
    whole = VERSIONS.get(successor.version)
    assert whole is not None
    recovered = successor.pages()
    assert recovered == {
        page: text for page, text in whole.items() if page not in successor.damaged_pages()
    }
    version_before = successor.version
    assert successor.publish(whole, 9) > version_before
    assert CatalogReader(scene.memory, LAYOUT).refresh() == whole


def test_s4_random_bytes_all_over_are_no_catalog() -> None:
    noise = bytearray(random.Random(4).randbytes(LAYOUT.size))
    assert attach(noise) is None
    CatalogWriter(noise, LAYOUT, create=True)
    reader = CatalogReader(noise, LAYOUT)
    assert reader.refresh() is None
    assert reader.retry_count > 0


PLACES = st.one_of(
    st.integers(0, WORD_MAX),
    st.builds(
        lambda slot, length, crc: slot << PLACE_SLOT_SHIFT | length << PLACE_LENGTH_SHIFT | crc,
        st.integers(0, 1),
        st.sampled_from([0, 1, SMALL_SLOT_SIZE - 64, SMALL_SLOT_SIZE - 63, 2**31 - 1]),
        st.integers(0, 2**32 - 1),
    ),
)


@given(st.dictionaries(st.sampled_from(PAGES), st.tuples(st.integers(0, WORD_MAX), PLACES)))
@settings(max_examples=EXAMPLES // 4, deadline=None)
def test_u3_s4_a_whole_directory_that_names_what_is_nowhere_leads_nowhere(
    entries: dict[int, tuple[int, int]],
) -> None:
    """Its checksum is right: who wrote it could, and lied."""
    scene = Scene([])
    scene.behind.refresh()
    publish_directory(scene.memory, VERSION_COUNT + 1, entries)
    assert scene.behind.refresh() is None or not entries


@pytest.mark.parametrize("page", [0, LAYOUT.policy])
@pytest.mark.parametrize("too_long", [0, 1, 5_000_000])
def test_u3_s4_a_page_that_is_longer_than_its_slot_is_not_read(page: int, too_long: int) -> None:
    """All that says so agrees; of what lies behind its slot other pages are made."""
    scene = Scene([])
    view = memoryview(scene.memory)
    scene.behind.refresh()
    length, version = LAYOUT.payload_max(page) + too_long, VERSION_COUNT + 1
    at = LAYOUT.slot_at(page, 1)
    crc = crc32(view[at + SLOT_HEAD_SIZE : at + SLOT_HEAD_SIZE + length])
    head = view.cast("Q")[at // 8 :]
    head[SEQUENCE], head[SLOT_VERSION], head[SLOT_LENGTH], head[SLOT_CRC] = 2, version, length, crc
    place = 1 << PLACE_SLOT_SHIFT | length << PLACE_LENGTH_SHIFT | crc
    publish_directory(scene.memory, version, {page: (version, place)})
    changed = scene.behind.refresh()
    assert (changed is None) is (too_long > 0)


def publish_directory(memory: bytearray, version: int, entries: dict[int, tuple[int, int]]) -> None:
    """Do what a writer does for a version with these entries, whatever they say."""
    words = memoryview(memory).cast("Q")
    catalog = map_catalog(memoryview(memory), words, LAYOUT)
    published = read_directory(catalog, (version - 1) & 1)
    assert published is not None
    found = [entries.get(page, entry) for page, entry in enumerate(published.entries)]
    body = directory_body(catalog, Directory(version, 1, found))
    head = LAYOUT.directory_at(version & 1)
    start = 8 * (head + DIRECTORY_BODY)
    memory[start : start + len(body)] = body
    words[head + DIRECTORY_CRC] = crc32(body)
    words[VERSION] = version
