"""Half-made and wrong-version structures are two named errors; neither is ever misread (P14)."""

from collections.abc import Callable

import pytest

from pointsman_shm.memory.catalog_layout import CatalogLayout
from pointsman_shm.memory.catalog_reader import CatalogReader
from pointsman_shm.memory.catalog_writer import CatalogWriter
from pointsman_shm.memory.header import (
    DIMENSIONS,
    FORMAT,
    HEADER_SIZE,
    HEADER_WORDS,
    MAGIC,
    SIZE,
    LayoutMismatch,
    OwnerTag,
    SegmentUnready,
    read_owner,
    write_owner,
)
from pointsman_shm.memory.ledger import Ledger
from pointsman_shm.memory.rows import NodeRows
from pointsman_shm.memory.stats import StatsPage
from pointsman_shm.memory.waiting import WaitingWords

MakeMemory = Callable[[int], memoryview]
LAYOUT = CatalogLayout(1)

CREATE: dict[str, tuple[int, Callable[[memoryview], object]]] = {
    "rows": (NodeRows.size(10), lambda b: NodeRows(b, max_nodes=10, create=True)),
    "ledger": (
        Ledger.size(max_nodes=10, worker_count=3),
        lambda b: Ledger(b, max_nodes=10, worker_count=3, create=True),
    ),
    "waiting": (WaitingWords.size(3), lambda b: WaitingWords(b, worker_count=3, create=True)),
    "stats": (StatsPage.size(), lambda b: StatsPage(b, create=True)),
    "catalog": (LAYOUT.size, lambda b: CatalogWriter(b, LAYOUT, create=True)),
}
ATTACH: dict[str, Callable[[memoryview], object]] = {
    "rows": lambda b: NodeRows(b, max_nodes=10),
    "ledger": lambda b: Ledger(b, max_nodes=10, worker_count=3),
    "waiting": lambda b: WaitingWords(b, worker_count=3),
    "stats": StatsPage,
    "catalog": lambda b: CatalogReader(b, LAYOUT),
}


@pytest.fixture(params=ATTACH)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_every_structure_attaches_to_what_its_creator_made_even_read_only(
    kind: str, make_memory: MakeMemory
) -> None:
    size, create = CREATE[kind]
    memory = make_memory(size)
    create(memory)
    ATTACH[kind](memory)
    ATTACH[kind](memory.toreadonly())


def test_a_half_made_structure_is_unready(kind: str, make_memory: MakeMemory) -> None:
    size, create = CREATE[kind]
    memory = make_memory(size)
    with pytest.raises(SegmentUnready):
        ATTACH[kind](memory)
    create(memory)
    memory.cast("Q")[FORMAT] = 0
    with pytest.raises(SegmentUnready):
        ATTACH[kind](memory)


@pytest.mark.parametrize("word", [FORMAT, MAGIC, SIZE, DIMENSIONS])
@pytest.mark.parametrize("bit", [0, 16, 48, 63])
def test_p14_another_layout_is_refused(
    kind: str, make_memory: MakeMemory, word: int, bit: int
) -> None:
    size, create = CREATE[kind]
    memory = make_memory(size)
    create(memory)
    memory.cast("Q")[word] ^= 1 << bit
    with pytest.raises(LayoutMismatch, match="this build wants"):
        ATTACH[kind](memory)


def test_p14_structures_refuse_each_others_bytes(kind: str, make_memory: MakeMemory) -> None:
    size, create = CREATE[kind]
    memory = make_memory(max(size, *(size for size, _ in CREATE.values())))
    create(memory)
    for other in ATTACH.keys() - {kind}:
        with pytest.raises(LayoutMismatch):
            ATTACH[other](memory)


def test_p14_memory_that_is_too_small_is_refused(kind: str, make_memory: MakeMemory) -> None:
    size, create = CREATE[kind]
    memory = make_memory(size)
    create(memory)
    with pytest.raises(LayoutMismatch, match=f"needs {size} bytes"):
        ATTACH[kind](memory[:-8])
    with pytest.raises(LayoutMismatch, match="the memory has 0"):
        ATTACH[kind](memory[:0])


def test_other_dimensions_are_refused() -> None:
    memory = memoryview(bytearray(Ledger.size(max_nodes=10, worker_count=4)))
    Ledger(memory, max_nodes=10, worker_count=3, create=True)
    with pytest.raises(LayoutMismatch, match="dimensions"):
        Ledger(memory, max_nodes=10, worker_count=4)
    with pytest.raises(LayoutMismatch, match="size"):
        Ledger(memory, max_nodes=9, worker_count=3)


def test_the_owner_stands_beside_what_structures_write(kind: str) -> None:
    size, create = CREATE[kind]
    memory = memoryview(bytearray(size))
    words = memory[:HEADER_SIZE].cast("Q")
    owner = OwnerTag(pid=2**22, started_at_ticks=2**50, boot_hash=2**64 - 1)
    write_owner(words, owner)
    create(memory)
    assert read_owner(words) == owner
    ATTACH[kind](memory)


def test_a_structure_may_stand_in_a_part_of_a_segment(kind: str, make_memory: MakeMemory) -> None:
    size, create = CREATE[kind]
    memory = make_memory(size + 8 * HEADER_WORDS)
    create(memory[64:])
    ATTACH[kind](memory[64:])
    assert bytes(memory[:32]) == bytes(32)
