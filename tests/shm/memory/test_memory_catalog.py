"""The catalog: what a reader is handed is one published version, whatever the writer does."""

from collections.abc import Callable

import pytest

from pointsman_shm.memory.catalog_layout import (
    DIRECTORIES,
    VERSION,
    CatalogLayout,
)
from pointsman_shm.memory.catalog_reader import TRIES_MAX, CatalogReader
from pointsman_shm.memory.catalog_writer import (
    CatalogWriter,
    PageTooLarge,
    VersionsExhausted,
)
from pointsman_shm.memory.header import BIRTH

MakeMemory = Callable[[int], memoryview]
LAYOUT = CatalogLayout(600)


@pytest.fixture
def memory(make_memory: MakeMemory) -> memoryview:
    return make_memory(LAYOUT.size)


def fresh(memory: memoryview) -> CatalogReader:
    return CatalogReader(memory.toreadonly(), LAYOUT)


# ---- layout


@pytest.mark.parametrize("max_nodes", [1, 256, 257, 10_000, 100_000])
def test_slots_lie_behind_the_directories_without_overlap_up_to_the_end(max_nodes: int) -> None:
    layout = CatalogLayout(max_nodes)
    end = 8 * layout.directory_at(2)
    assert layout.directory_at(0) == DIRECTORIES
    for page in range(layout.page_count):
        for slot in (0, 1):
            start = layout.slot_at(page, slot)
            assert start >= end
            assert start % 64 == 0
            end = start + layout.slot_size(page)
    assert end == layout.size


def test_rows_classes_and_single_pages_have_pages_of_their_own() -> None:
    pages = [LAYOUT.node_page(0), LAYOUT.node_page(256), LAYOUT.node_page(599)]
    pages += [LAYOUT.class_page(0), LAYOUT.class_page(64), LAYOUT.class_page(4095)]
    pages += [LAYOUT.pools, LAYOUT.config, LAYOUT.marks, LAYOUT.policy]
    assert pages == [0, 1, 2, 3, 4, 66, 67, 68, 69, 70]
    assert LAYOUT.page_count == 71
    assert LAYOUT.slot_size(LAYOUT.pools) == 2 << 20
    with pytest.raises(AssertionError):
        LAYOUT.slot_size(71)


def test_a_full_node_page_of_the_largest_records_fits() -> None:
    assert LAYOUT.payload_max(0) >= 256 * 496 + 16


def test_the_default_fleet_fits_the_shared_memory_of_a_container() -> None:
    assert CatalogLayout(10_000).size < 48 << 20


# ---- writing and reading


def test_before_the_first_publish_there_is_nothing(memory: memoryview) -> None:
    writer = CatalogWriter(memory, LAYOUT, create=True)
    reader = fresh(memory)
    assert reader.refresh() is None
    assert (reader.version_word(), reader.version, writer.version) == (0, 0, 0)
    assert writer.pages() == {}
    assert writer.is_directory_sound()


def test_a_reader_gets_only_what_changed_since_it_last_looked(memory: memoryview) -> None:
    writer = CatalogWriter(memory, LAYOUT, create=True)
    reader = fresh(memory)
    assert writer.publish({0: b"a", 5: b"b" * 1000, LAYOUT.pools: b""}, 111) == 1
    assert reader.refresh() == {0: b"a", 5: b"b" * 1000, LAYOUT.pools: b""}
    assert (reader.version, reader.published_at_ns, reader.version_word()) == (1, 111, 1)
    assert reader.refresh() is None
    writer.publish({5: b"c"}, 222)
    writer.publish({6: b"d"}, 333)
    assert reader.refresh() == {5: b"c", 6: b"d"}
    assert (reader.version, reader.published_at_ns) == (3, 333)
    assert fresh(memory).refresh() == {0: b"a", 5: b"c", 6: b"d", LAYOUT.pools: b""}
    assert reader.retry_count == 0


def test_every_page_takes_its_full_size_and_touches_no_other(memory: memoryview) -> None:
    writer = CatalogWriter(memory, LAYOUT, create=True)
    for round_byte in b"\x01\x02\x03":
        wanted = {
            page: bytes([round_byte, page]) * (LAYOUT.payload_max(page) // 2)
            for page in range(LAYOUT.page_count)
        }
        writer.publish(wanted, 1)
    assert fresh(memory).refresh() == wanted
    assert writer.pages() == wanted


def test_a_page_that_is_too_large_changes_nothing(memory: memoryview) -> None:
    writer = CatalogWriter(memory, LAYOUT, create=True)
    writer.publish({0: b"a", 1: b"b"}, 1)
    before = bytes(memory)
    with pytest.raises(PageTooLarge, match="page 1 has 131009 bytes, its slot holds 131008"):
        writer.publish({0: b"x", 1: bytes(131_009)}, 2)
    assert bytes(memory) == before


def test_the_beat_is_a_sign_of_life_of_its_own(memory: memoryview) -> None:
    writer = CatalogWriter(memory, LAYOUT, create=True)
    reader = fresh(memory)
    writer.beat(500)
    assert (reader.beat_at_ns(), reader.refresh()) == (500, None)
    writer.publish({}, 600)
    assert (reader.beat_at_ns(), reader.refresh()) == (600, {})
    assert reader.published_at_ns == 600


def test_i6_a_reader_does_not_act_on_a_version_that_goes_backwards(memory: memoryview) -> None:
    writer = CatalogWriter(memory, LAYOUT, create=True)
    reader = fresh(memory)
    writer.publish({0: b"old"}, 1)
    writer.publish({0: b"new"}, 2)
    assert reader.refresh() == {0: b"new"}
    memory.cast("Q")[VERSION] = 1
    assert reader.refresh() is None
    assert reader.version == 2
    assert not writer.is_directory_sound()


# ---- S2: a reader that is paused in mid copy


def test_s2_a_page_overtaken_in_mid_copy_is_read_again(memory: memoryview) -> None:
    writer = CatalogWriter(memory, LAYOUT, create=True)
    writer.publish({0: b"one" * 50, 1: b"still"}, 1)
    pauses = 0

    def pause(point: str) -> None:
        nonlocal pauses
        pauses += 1
        if pauses == 1:
            for text in (b"two", b"three", b"four"):
                writer.publish({0: text * 50}, 2)

    reader = CatalogReader(memory, LAYOUT, pause=pause)
    assert reader.refresh() == {0: b"four" * 50, 1: b"still"}
    assert (reader.version, reader.retry_count) == (4, 1)


def test_s2_copies_stay_in_the_draft_while_the_writer_goes_on(memory: memoryview) -> None:
    writer = CatalogWriter(memory, LAYOUT, create=True)
    writer.publish(dict.fromkeys(range(20), b"first"), 1)
    copied = 0

    def pause(point: str) -> None:
        nonlocal copied
        copied += 1
        if copied == 15:
            writer.publish({3: b"second"}, 2)
            writer.publish({14: b"third"}, 3)
            writer.publish({14: b"fourth"}, 4)

    reader = CatalogReader(memory, LAYOUT, pause=pause)
    pages = reader.refresh()
    assert pages == dict.fromkeys(range(20), b"first") | {3: b"second", 14: b"fourth"}
    # 14 good copies and the overtaken one; then what the newest directory names differently.
    assert copied == 15 + 2 + 5


def test_s2_a_reader_that_never_catches_up_stops_after_its_tries_and_keeps_what_it_has(
    memory: memoryview,
) -> None:
    writer = CatalogWriter(memory, LAYOUT, create=True)
    writer.publish({0: b"good"}, 1)
    is_restless = False

    def pause(point: str) -> None:
        if is_restless:
            writer.publish({0: b"x" * (writer.version % 99)}, 2)
            writer.publish({0: b"y" * (writer.version % 99)}, 2)

    reader = CatalogReader(memory, LAYOUT, pause=pause)
    assert reader.refresh() == {0: b"good"}
    writer.publish({0: b"better"}, 2)
    is_restless = True
    assert reader.refresh() is None
    assert (reader.version, reader.retry_count) == (1, TRIES_MAX)
    is_restless = False
    assert reader.refresh() == {0: b"y" * ((writer.version - 1) % 99)}
    assert reader.version == writer.version


# ---- S5: versions are 64 bits, never used again, and of one catalog


def near_the_end(memory: memoryview) -> CatalogWriter:
    writer = CatalogWriter(memory, LAYOUT, create=True)
    writer._next_version = 2**64 - 3
    return writer


def test_s5_versions_near_the_end_work_and_never_begin_again(memory: memoryview) -> None:
    writer = near_the_end(memory)
    reader = fresh(memory)
    for version in (2**64 - 3, 2**64 - 2, 2**64 - 1):
        content = version.to_bytes(8, "big")
        assert writer.publish({0: content}, 5) == version
        assert reader.refresh() == {0: content}
        assert reader.version == version
    with pytest.raises(VersionsExhausted):
        writer.publish({0: b"too many"}, 6)
    successor = CatalogWriter(memory, LAYOUT)
    with pytest.raises(VersionsExhausted):
        successor.publish({0: b"too many"}, 6)
    assert reader.refresh() is None
    assert fresh(memory).refresh() == {0: b"\xff" * 8}


def test_s5_sequence_numbers_wrap(memory: memoryview) -> None:
    writer = CatalogWriter(memory, LAYOUT, create=True)
    words = memory.cast("Q")
    for slot in (0, 1):
        words[LAYOUT.slot_at(0, slot) // 8] = 2**64 - 2
        words[LAYOUT.directory_at(slot)] = 2**64 - 2
    reader = fresh(memory)
    for version in range(1, 6):
        writer.publish({0: b"v%d" % version}, version)
        assert reader.refresh() == {0: b"v%d" % version}


def test_s5_a_directory_of_another_catalog_is_never_taken(memory: memoryview) -> None:
    writer = CatalogWriter(memory, LAYOUT, create=True)
    writer.publish({0: b"ours"}, 1)
    before = bytes(memory)
    other = bytearray(LAYOUT.size)
    memoryview(other)[:64].cast("Q")[BIRTH] = 77
    foreign = CatalogWriter(other, LAYOUT, create=True)
    for _ in range(3):
        foreign.publish({0: b"theirs"}, 1)
    reader = fresh(memory)
    assert reader.identity != fresh(memoryview(other)).identity
    # The other catalog's bytes appear under us, all but the header.
    memory[64:] = other[64:]
    assert reader.refresh() is None
    memory[:] = before
    assert reader.refresh() == {0: b"ours"}
