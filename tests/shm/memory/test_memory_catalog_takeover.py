"""A writer may die anywhere: readers keep a whole version, a successor goes on (P1, S3)."""

import inspect
import re
import signal
from collections.abc import Callable

import pytest
from memory_peer import is_version, page_bytes, run_peer

from pointsman_shm.memory import catalog_writer
from pointsman_shm.memory.catalog_layout import DIRECTORY_CRC, VERSION, CatalogLayout
from pointsman_shm.memory.catalog_reader import CatalogReader
from pointsman_shm.memory.catalog_slots import CatalogDamaged
from pointsman_shm.memory.catalog_writer import CatalogWriter
from pointsman_shm.memory.segment import Segment

MakeMemory = Callable[[int], memoryview]
MakeSegment = Callable[[int], Segment]
LAYOUT = CatalogLayout(300)
PAGE_COUNT = 3
POINTS = re.findall(r'\._crash\("([a-z-]+)"\)', inspect.getsource(catalog_writer))


class Died(BaseException):
    """Stands for SIGKILL inside one process: nothing after it runs."""


def pages_of(version: int) -> dict[int, bytes]:
    return {page: page_bytes(page, version) for page in range(PAGE_COUNT)}


def dies_at(point: str, occurrence: int) -> Callable[[str], None]:
    left = occurrence

    def meet(met: str) -> None:
        nonlocal left
        left -= met == point
        if not left:
            raise Died

    return meet


def test_the_points_are_those_of_the_reliability_plan() -> None:
    assert {
        "catalog-before-slot",
        "catalog-mid-payload",
        "catalog-before-crc",
        "catalog-before-directory",
        "catalog-mid-directory",
        "catalog-before-version",
        "catalog-after-version",
    } == set(POINTS)


@pytest.mark.crash
@pytest.mark.parametrize("point", POINTS)
def test_p1_s3_after_a_kill_readers_keep_a_whole_version_and_a_successor_goes_on(
    make_segment: MakeSegment, point: str
) -> None:
    segment = make_segment(LAYOUT.size)
    writer = CatalogWriter(segment.buffer, LAYOUT, create=True)
    writer.publish(pages_of(1), 1)
    reader = CatalogReader(segment.buffer.toreadonly(), LAYOUT)
    assert reader.refresh() == pages_of(1)
    arguments = (segment.name, LAYOUT.max_nodes, PAGE_COUNT, point, 5)
    code, _, complaint = run_peer("crash", *arguments)
    assert code == -signal.SIGKILL, complaint
    expect_whole_and_succeed(segment.buffer, reader)


@pytest.mark.parametrize("point", POINTS)
def test_p1_s3_every_occurrence_of_every_point_is_survived(
    make_memory: MakeMemory, point: str
) -> None:
    memory = make_memory(LAYOUT.size)
    CatalogWriter(memory, LAYOUT, create=True).publish(pages_of(1), 1)
    reader = CatalogReader(memory.toreadonly(), LAYOUT)
    for occurrence in range(1, 9):
        # Each writer is the successor of one that died in the middle of its work.
        writer = CatalogWriter(memory, LAYOUT, crash=dies_at(point, occurrence))
        with pytest.raises(Died):
            publish_for_ever(writer)
        expect_whole_and_succeed(memory, reader)


def publish_for_ever(writer: CatalogWriter) -> None:
    for _ in range(100):
        writer.publish(pages_of(writer.version + 1), 2)
    raise AssertionError("the crash point was never met")


def expect_whole_and_succeed(memory: memoryview, reader: CatalogReader) -> None:
    """Check that old and fresh readers have one version, and go on from the newest whole one."""
    version_before = reader.version
    reader.refresh()
    fresh = CatalogReader(memory.toreadonly(), LAYOUT)
    pages = fresh.refresh()
    assert pages is not None
    assert pages == pages_of(fresh.version)
    assert reader.version == fresh.version >= version_before
    successor = CatalogWriter(memory, LAYOUT)
    assert successor.version in (fresh.version, fresh.version + 1)
    assert successor.pages() == pages_of(successor.version)
    assert successor.is_directory_sound()
    version = successor.version + 1
    assert successor.publish(pages_of(version), 3) == version
    assert reader.refresh() == pages_of(version)
    assert CatalogReader(memory, LAYOUT).refresh() == pages_of(version)


def test_what_a_dead_writer_had_finished_but_for_the_version_word_is_published(
    make_memory: MakeMemory,
) -> None:
    memory = make_memory(LAYOUT.size)
    CatalogWriter(memory, LAYOUT, create=True).publish(pages_of(1), 1)
    writer = CatalogWriter(memory, LAYOUT, crash=dies_at("catalog-before-version", 1))
    with pytest.raises(Died):
        writer.publish(pages_of(2), 7)
    reader = CatalogReader(memory, LAYOUT)
    assert reader.refresh() == pages_of(1)
    successor = CatalogWriter(memory, LAYOUT)
    assert (successor.version, successor.published_at_ns) == (2, 7)
    assert reader.refresh() == pages_of(2)


def test_a_successor_of_a_writer_that_never_published_begins_at_one(
    make_memory: MakeMemory,
) -> None:
    memory = make_memory(LAYOUT.size)
    CatalogWriter(memory, LAYOUT, create=True)
    successor = CatalogWriter(memory, LAYOUT)
    assert successor.pages() == {}
    assert successor.publish({0: b"a"}, 1) == 1


def test_a_version_that_readers_may_have_is_not_used_for_other_content(
    make_memory: MakeMemory,
) -> None:
    memory = make_memory(LAYOUT.size)
    writer = CatalogWriter(memory, LAYOUT, create=True)
    writer.publish(pages_of(1), 1)
    writer.publish(pages_of(2), 2)
    reader = CatalogReader(memory, LAYOUT)
    assert reader.refresh() == pages_of(2)
    memory.cast("Q")[LAYOUT.directory_at(0) + DIRECTORY_CRC] ^= 1
    successor = CatalogWriter(memory, LAYOUT)
    assert successor.version == 1
    assert successor.pages() == pages_of(1)
    assert not successor.is_directory_sound()
    assert successor.publish({}, 3) > 2
    assert reader.refresh() == pages_of(1)


def test_the_older_version_is_continued_when_only_it_is_whole(make_memory: MakeMemory) -> None:
    memory = make_memory(LAYOUT.size)
    writer = CatalogWriter(memory, LAYOUT, create=True)
    writer.publish(pages_of(1), 1)
    writer.publish(pages_of(2), 2)
    memory[LAYOUT.slot_at(0, 1) + 100] ^= 1
    assert CatalogReader(memory, LAYOUT).refresh() is None
    successor = CatalogWriter(memory, LAYOUT)
    assert successor.pages() == pages_of(1)
    version = successor.publish({1: b"new"}, 3)
    assert version > 2
    assert CatalogReader(memory, LAYOUT).refresh() == pages_of(1) | {1: b"new"}
    assert CatalogWriter(memory, LAYOUT).version == version


def test_nothing_whole_to_take_over_is_an_error_of_its_own(make_memory: MakeMemory) -> None:
    memory = make_memory(LAYOUT.size)
    CatalogWriter(memory, LAYOUT, create=True).publish(pages_of(1), 1)
    for slot in (0, 1):
        memory.cast("Q")[LAYOUT.directory_at(slot) + DIRECTORY_CRC] ^= 1
    with pytest.raises(CatalogDamaged):
        CatalogWriter(memory, LAYOUT)
    memory.cast("Q")[VERSION] = 0
    assert CatalogWriter(memory, LAYOUT).pages() == {}


def test_is_version_tells_a_mixture_from_a_version() -> None:
    assert is_version(pages_of(7), 7, dense=True)
    assert not is_version(pages_of(7) | {1: page_bytes(1, 6)}, 7, dense=True)
