"""The ledger: what one worker holds, the others count, and no sequence of acts exceeds capacity."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman_shm.memory.ledger import Ledger, OwnLedger, Reserve, lock_fence, stride_of
from pointsman_shm.memory.rows import (
    SLOTS_MAX,
    NodeRows,
    NodeState,
    RowFlag,
    pack_standing,
)

MakeMemory = Callable[[int], memoryview]
NODES = 6


def ready(slots_max: int, generation: int = 1) -> int:
    return pack_standing(
        generation=generation,
        class_number=3,
        state=NodeState.READY,
        flags=RowFlag.PUBLIC,
        slots_max=slots_max,
    )


class Host:
    """Rows and a ledger in the given memory, with one hand per worker."""

    def __init__(self, make: MakeMemory, worker_count: int, slots_max: int = 2) -> None:
        rows = NodeRows(make(NodeRows.size(NODES)), max_nodes=NODES, create=True)
        self.standing = rows.standing
        for row in range(NODES):
            self.standing[row] = ready(slots_max)
        self.memory = make(Ledger.size(max_nodes=NODES, worker_count=worker_count))
        self.ledger = Ledger(self.memory, max_nodes=NODES, worker_count=worker_count, create=True)
        self.hands = [OwnLedger(self.ledger, index) for index in range(worker_count)]

    def reserve(self, worker: int, row: int) -> Reserve:
        return self.hands[worker].reserve(row, self.standing, self.standing[row])


def heap(size: int) -> memoryview:
    return memoryview(bytearray(size))


@pytest.mark.parametrize("worker_count", [1, 2, 3, 4, 5, 8, 9, 16, 17, 64])
def test_held_is_the_sum_over_all_workers_of_the_row_alone(
    make_memory: MakeMemory, worker_count: int
) -> None:
    host = Host(make_memory, worker_count)
    for row in range(NODES):
        for worker, hand in enumerate(host.hands):
            hand.rewrite(row, 7 * row + worker)
    reader = Ledger(host.memory.toreadonly(), max_nodes=NODES, worker_count=worker_count)
    for row in range(NODES):
        assert reader.held(row) == sum(7 * row + worker for worker in range(worker_count))
        assert [hand.own(row) for hand in host.hands] == [7 * row + w for w in range(worker_count)]


@pytest.mark.parametrize("worker_count", [2, 3, 8, 16])
def test_held_is_exact_up_to_the_largest_capacity(worker_count: int) -> None:
    host = Host(heap, worker_count, slots_max=SLOTS_MAX)
    host.hands[0].rewrite(2, SLOTS_MAX - 1)
    assert host.reserve(1, 2) is Reserve.OK
    assert host.ledger.held(2) == SLOTS_MAX
    assert host.reserve(1, 2) is Reserve.FULL


def test_strides_are_powers_of_two() -> None:
    assert [stride_of(n) for n in (1, 2, 3, 4, 5, 8, 9)] == [1, 2, 4, 4, 8, 8, 16]


def test_slots_are_taken_until_the_row_is_full_and_come_back(make_memory: MakeMemory) -> None:
    host = Host(make_memory, worker_count=3, slots_max=2)
    assert host.reserve(0, 4) is Reserve.OK
    assert host.reserve(2, 4) is Reserve.OK
    assert host.reserve(1, 4) is Reserve.FULL
    assert host.reserve(0, 4) is Reserve.FULL
    assert host.hands[2].release(4)
    assert host.reserve(1, 4) is Reserve.OK
    assert (host.ledger.held(4), [hand.own(4) for hand in host.hands]) == (2, [1, 1, 0])
    assert [host.ledger.held(row) for row in range(NODES)] == [0, 0, 0, 0, 2, 0]


def test_a_row_without_slots_is_full() -> None:
    host = Host(heap, worker_count=2, slots_max=0)
    assert host.reserve(0, 0) is Reserve.FULL


def test_a_row_used_again_under_a_slow_worker_is_changed() -> None:
    host = Host(heap, worker_count=2)
    judged = host.standing[1]
    host.standing[1] = 0
    host.standing[1] = ready(slots_max=2, generation=2)
    for hand in host.hands:
        assert hand.reserve(1, host.standing, judged) is Reserve.CHANGED
    assert host.ledger.held(1) == 0
    assert host.reserve(0, 1) is Reserve.OK


@pytest.mark.parametrize("worker", [0, 1])
def test_a_row_that_changes_between_the_two_looks_is_changed(worker: int) -> None:
    host = Host(heap, worker_count=2)

    def manager_acts() -> None:
        host.standing[3] = ready(slots_max=2, generation=9)
        lock_fence()

    hand = OwnLedger(host.ledger, worker, fence=manager_acts)
    assert hand.reserve(3, host.standing, host.standing[3]) is Reserve.CHANGED
    assert (host.ledger.held(3), hand.own(3)) == (0, 0)


def racing(host: Host, worker: int, rival: int, stays: int) -> tuple[OwnLedger, list[int]]:
    """Return a hand that, at each fence, finds that a rival took one slot, for so many fences."""
    seen: list[int] = []

    def rival_acts() -> None:
        seen.append(host.ledger.held(0))
        host.hands[rival].rewrite(0, 1 if len(seen) <= stays else 0)

    return OwnLedger(host.ledger, worker, fence=rival_acts), seen


def test_who_sees_too_much_takes_its_one_back_and_does_not_say_full() -> None:
    host = Host(heap, worker_count=2, slots_max=1)
    hand, seen = racing(host, worker=1, rival=0, stays=1)
    assert hand.reserve(0, host.standing, host.standing[0]) is Reserve.BACKED_OFF
    assert (hand.own(0), host.ledger.held(0), len(seen)) == (0, 1, 1)


def test_the_lower_index_tries_again_at_once_and_gets_what_the_other_left() -> None:
    host = Host(heap, worker_count=2, slots_max=2)
    host.hands[1].rewrite(0, 1)

    def rival_acts() -> None:
        fences.append(None)
        host.hands[1].rewrite(0, 2 if len(fences) == 1 else 1)

    fences: list[None] = []
    hand = OwnLedger(host.ledger, 0, fence=rival_acts)
    # The rival goes back while we try again: our look sees it gone only after some tries.
    looks = 0
    held = hand._held

    def look(row: int) -> int:
        nonlocal looks
        looks += 1
        if looks == 4:
            host.hands[1].rewrite(0, 1)
        return held(row)

    hand._held = look
    assert hand.reserve(0, host.standing, host.standing[0]) is Reserve.OK
    assert (hand.own(0), host.ledger.held(0)) == (1, 2)


def test_trying_again_is_bounded_and_never_ends_in_full() -> None:
    host = Host(heap, worker_count=64, slots_max=1)
    hand, seen = racing(host, worker=0, rival=5, stays=10_000)
    assert hand.reserve(0, host.standing, host.standing[0]) is Reserve.BACKED_OFF
    assert hand.own(0) == 0
    assert len(seen) < 40


def test_a_release_below_zero_is_counted_and_changes_nothing() -> None:
    host = Host(heap, worker_count=2)
    assert not host.hands[0].release(3)
    assert host.reserve(0, 3) is Reserve.OK
    assert host.hands[0].release(3)
    assert not host.hands[0].release(3)
    assert (host.hands[0].underflow_count, host.ledger.held(3)) == (2, 0)


def test_mend_rewrites_the_cells_that_are_not_the_truth(make_memory: MakeMemory) -> None:
    host = Host(make_memory, worker_count=3)
    assert host.reserve(1, 0) is Reserve.OK
    assert host.hands[1].mend() == 0
    for row in (0, 2, NODES - 1):
        host.ledger.cells[row * 4 + 1] = 77
    host.ledger.cells[2 * 4] = 5
    assert host.hands[1].mend() == 3
    assert [host.ledger.held(row) for row in range(NODES)] == [1, 0, 5, 0, 0, 0]
    assert host.hands[0].mend() == 1
    assert host.ledger.held(2) == 0


def test_a_large_ledger_is_mended_to_its_last_row() -> None:
    size = Ledger.size(max_nodes=1000, worker_count=2)
    ledger = Ledger(heap(size), max_nodes=1000, worker_count=2, create=True)
    hand = OwnLedger(ledger, 1)
    ledger.cells[999 * 2 + 1] = 3
    assert (hand.mend(), ledger.held(999), hand.mend()) == (1, 0, 0)


def test_a_cell_that_somebody_else_has_written_is_settled_as_well(make_memory: MakeMemory) -> None:
    host = Host(make_memory, worker_count=2, slots_max=3)
    ledger = Ledger(host.memory, max_nodes=NODES, worker_count=2)
    successor = OwnLedger(ledger, 1)
    ledger.cells[1] = 3
    assert successor.settle({}) == 1
    assert ledger.held(0) == 0


def test_a_successor_begins_with_what_the_cells_say_and_settles_each_once(
    make_memory: MakeMemory,
) -> None:
    host = Host(make_memory, worker_count=2, slots_max=3)
    for row in (0, 0, 1, 2):
        assert host.reserve(1, row) is Reserve.OK
    ledger = Ledger(host.memory, max_nodes=NODES, worker_count=2)
    successor = OwnLedger(ledger, 1)
    assert list(successor.counts) == [2, 1, 1, 0, 0, 0]
    # Before the take-over is settled, nothing that may still run is given away.
    assert successor.reserve(0, host.standing, host.standing[0]) is Reserve.OK
    assert successor.reserve(0, host.standing, host.standing[0]) is Reserve.FULL
    stored: list[tuple[int, int]] = []
    column = successor._column

    class Stores:
        def __getitem__(self, row: int) -> int:
            held: int = column[row]
            return held

        def __setitem__(self, row: int, value: int) -> None:
            stored.append((row, value))
            column[row] = value

    successor._column = Stores()  # type: ignore[assignment]
    assert successor.settle({0: 1, 1: 1, 4: 2}) == 3
    successor._column = column
    assert stored == [(0, 1), (2, 0), (4, 2)]
    assert list(successor.counts) == [1, 1, 0, 0, 2, 0]
    assert successor.mend() == 0
    assert [ledger.held(row) for row in range(NODES)] == [1, 1, 0, 0, 2, 0]


ACTS = st.lists(
    st.tuples(st.sampled_from("rf"), st.integers(0, 4), st.integers(0, NODES - 1)), max_size=200
)


@given(ACTS, st.integers(0, 4))
def test_any_sequence_of_acts_keeps_cells_equal_to_counts_and_below_capacity(
    acts: list[tuple[str, int, int]], slots_max: int
) -> None:
    host = Host(heap, worker_count=5, slots_max=slots_max)
    model = [[0] * NODES for _ in range(5)]
    for act, worker, row in acts:
        total = sum(counts[row] for counts in model)
        if act == "r":
            expected = Reserve.OK if total < slots_max else Reserve.FULL
            assert host.reserve(worker, row) is expected
            model[worker][row] += expected is Reserve.OK
        else:
            assert host.hands[worker].release(row) == (model[worker][row] > 0)
            model[worker][row] -= model[worker][row] > 0
        assert host.ledger.held(row) == sum(counts[row] for counts in model) <= slots_max
    assert [list(hand.counts) for hand in host.hands] == model
    assert [hand.mend() for hand in host.hands] == [0] * 5


def test_a_worker_that_does_not_exist_is_our_own_mistake() -> None:
    host = Host(heap, worker_count=2)
    with pytest.raises(AssertionError):
        OwnLedger(host.ledger, 2)
