"""Node rows: every field comes back as it went in, and touches no other."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman_shm.memory.rows import (
    CLASS_MASK,
    CLASS_SHIFT,
    FLAGS_MASK,
    FLAGS_SHIFT,
    FOREIGN_MAX,
    GENERATION_SHIFT,
    SLOTS_MASK,
    SLOTS_MAX,
    STATE_MASK,
    STATE_SHIFT,
    NodeRows,
    NodeState,
    RowFlag,
    pack_load,
    pack_standing,
    unpack_load,
    unpack_standing,
)

MakeMemory = Callable[[int], memoryview]
PERCENT = st.integers(0, 100) | st.just(255)


@given(
    generation=st.integers(0, 0xFFFF),
    class_number=st.integers(0, 4095),
    state=st.sampled_from(NodeState),
    flags=st.integers(0, sum(RowFlag)),
    slots_max=st.integers(0, SLOTS_MAX),
)
def test_a_standing_word_is_taken_apart_into_what_was_packed(
    generation: int, class_number: int, state: NodeState, flags: int, slots_max: int
) -> None:
    word = pack_standing(
        generation=generation,
        class_number=class_number,
        state=state,
        flags=RowFlag(flags),
        slots_max=slots_max,
    )
    assert 0 <= word < 2**64
    assert unpack_standing(word) == (generation, class_number, state, flags, slots_max)
    assert word & SLOTS_MASK == slots_max
    assert word >> FLAGS_SHIFT & FLAGS_MASK == flags
    assert word >> STATE_SHIFT & STATE_MASK == state
    assert word >> CLASS_SHIFT & CLASS_MASK == class_number
    assert word >> GENERATION_SHIFT == generation


def test_a_generation_wraps_and_other_parts_must_fit() -> None:
    def pack(generation: int = 0, class_number: int = 0, slots_max: int = 0) -> int:
        return pack_standing(
            generation=generation,
            class_number=class_number,
            state=NodeState.FREE,
            flags=RowFlag(0),
            slots_max=slots_max,
        )

    assert pack(generation=0x10003) == pack(generation=3)
    for too_much in ({"class_number": 1 << 20}, {"slots_max": SLOTS_MAX + 1}, {"slots_max": -1}):
        with pytest.raises(AssertionError):
            pack(**too_much)


def test_a_state_that_nobody_writes_is_refused() -> None:
    with pytest.raises(ValueError, match="NodeState"):
        unpack_standing(15 << STATE_SHIFT)


@given(PERCENT, PERCENT, PERCENT, PERCENT, st.integers(0, 100_000))
def test_a_load_word_is_taken_apart_into_what_was_packed(
    cpu: int, gpu: int, gpu_memory: int, memory: int, foreign: int
) -> None:
    word = pack_load(cpu=cpu, gpu=gpu, gpu_memory=gpu_memory, memory=memory, foreign=foreign)
    assert 0 <= word < 2**64
    assert unpack_load(word) == (cpu, gpu, gpu_memory, memory, min(foreign, FOREIGN_MAX))


def test_columns_are_apart_and_seen_through_every_mapping(make_memory: MakeMemory) -> None:
    memory = make_memory(NodeRows.size(5))
    rows = NodeRows(memory, max_nodes=5, create=True)
    columns = ("standing", "load", "heartbeat_at_ns", "epoch")
    for number, name in enumerate(columns):
        for row in range(5):
            getattr(rows, name)[row] = 2**63 + 10 * number + row
    reader = NodeRows(memory.toreadonly(), max_nodes=5)
    for number, name in enumerate(columns):
        column = getattr(reader, name)
        assert column.readonly
        assert column.tolist() == [2**63 + 10 * number + row for row in range(5)]


def test_a_row_outside_is_an_error() -> None:
    rows = NodeRows(bytearray(NodeRows.size(5)), max_nodes=5, create=True)
    with pytest.raises(IndexError):
        rows.standing[5] = 1
