"""The proof that the ledger never exceeds capacity: every execution of its own code (I4).

The shipped `reserve` and `release` run on the store-buffer model.  The same search must find an
over-commitment when the fence is taken away or put in the wrong place: a machine running the
unfenced code shows none in millions of rounds, so only the model can tell.
"""

from collections.abc import Callable, Iterable

import pytest
from store_buffer_model import Broken, Explored, Processor, Program, explore

from pointsman_shm.memory.ledger import Ledger, OwnLedger, Reserve
from pointsman_shm.memory.rows import NodeState, RowFlag, pack_standing

GIVES_BACK = 10
CLEAR = 11
JUDGED_CLEAR = -1
OTHER_STANDING = 1
Fence = Callable[[Processor], None]


def standing_of(slots_max: int) -> int:
    return pack_standing(
        generation=7,
        class_number=1,
        state=NodeState.READY,
        flags=RowFlag.PUBLIC,
        slots_max=slots_max,
    )


class ModelRow:
    """Row 0 of a ledger whose cells are those of the model; the cell behind them is the standing.

    `one_load` reads all cells of the row at once, as the shipped code does up to stride 4; else
    they are read one by one, as it does, in steps, beyond.
    """

    def __init__(self, worker_count: int, slots_max: int, *, one_load: bool = True) -> None:
        size = Ledger.size(max_nodes=1, worker_count=worker_count)
        sizes = {"max_nodes": 1, "worker_count": worker_count}
        self.ledger = Ledger(bytearray(size), **sizes, create=True)
        self.worker_count = worker_count
        self.slots_max = slots_max
        self.word = standing_of(slots_max)
        self.one_load = one_load

    def held(self, processor: Processor) -> int:
        cells = range(self.worker_count)
        if self.one_load:
            return sum(processor.load(*cells))
        return sum(processor.load(cell)[0] for cell in cells)

    def hand(self, processor: Processor, worker: int, fence: Fence) -> OwnLedger:
        """Return the shipped hand of a worker with the model's memory under it."""
        hand = OwnLedger(self.ledger, worker, fence=lambda: fence(processor))
        hand._column = StoredColumn(processor, worker)  # type: ignore[assignment]
        hand._held = lambda row: self.held(processor)
        return hand


class StoredColumn:
    """A worker's cells, of which there is one."""

    def __init__(self, processor: Processor, cell: int) -> None:
        self._processor = processor
        self._cell = cell

    def __setitem__(self, row: int, value: int) -> None:
        assert row == 0
        self._processor.store(self._cell, value)


class StandingColumn:
    def __init__(self, processor: Processor, cell: int) -> None:
        self._processor = processor
        self._cell = cell

    def __getitem__(self, row: int) -> int:
        return self._processor.load(self._cell)[0]


def full_fence(processor: Processor) -> None:
    processor.fence()


def no_fence(processor: Processor) -> None:
    """Leave the store where it is."""


def worker(
    row: ModelRow, index: int, *, fence: Fence = full_fence, retry_max: int = 2, holds: int = 0
) -> Program:
    """Give back what it holds, reserve, and give that back too; say each as it happens.

    Returns the outcome.
    """

    def program(processor: Processor) -> int:
        hand = row.hand(processor, index, fence)
        hand._retries = min(hand._retries, retry_max)
        hand.counts[0] = holds
        for _ in range(holds):
            processor.say(GIVES_BACK)
            hand.release(0)
        column = StandingColumn(processor, row.worker_count)
        outcome = hand.reserve(0, column, row.word)  # type: ignore[arg-type]
        if outcome is Reserve.OK:
            processor.say(outcome)
            processor.say(GIVES_BACK)
            hand.release(0)
        assert hand.own(0) == 0
        return outcome

    return program


def manager(row: ModelRow, *, fence: Fence = full_fence) -> Program:
    """Take the row away and say so if no worker holds anything of it: then it may be used again."""

    def program(processor: Processor) -> int:
        processor.store(row.worker_count, OTHER_STANDING)
        fence(processor)
        is_clear = row.held(processor) == 0
        if is_clear:
            processor.say(CLEAR)
        return is_clear

    return program


def keeps_capacity(slots_max: int) -> Callable[[int, int], int | None]:
    """Return the judge: never more holders than slots, and none of a row that was clear."""

    def judge(holding: int, said: int) -> int | None:
        if holding == JUDGED_CLEAR:
            return None
        if said == CLEAR:
            return JUDGED_CLEAR if holding == 0 else None
        holding += {Reserve.OK: 1, GIVES_BACK: -1}[said]
        return holding if 0 <= holding <= slots_max else None

    return judge


def run(row: ModelRow, programs: Iterable[Program], held: Iterable[int] = ()) -> Explored:
    cells = [*held, *[0] * row.worker_count][: row.worker_count]
    judge = keeps_capacity(row.slots_max)
    explored = explore(list(programs), [*cells, row.word], judge, known=sum(cells))
    for _, memory in explored.ends:
        assert memory[: row.worker_count] == (0,) * row.worker_count, "a slot was left behind"
    return explored


def outcomes(explored: Explored) -> set[tuple[int, ...]]:
    """Return what the programs were told, in their order, over all executions."""
    return {results for results, _ in explored.ends}


@pytest.mark.parametrize("one_load", [True, False], ids=["one load", "a load per cell"])
def test_i4_two_workers_and_one_slot(one_load: bool) -> None:
    row = ModelRow(2, 1, one_load=one_load)
    told = outcomes(run(row, [worker(row, 0), worker(row, 1)]))
    ok, full, backed_off = Reserve.OK, Reserve.FULL, Reserve.BACKED_OFF
    assert {(ok, full), (full, ok), (ok, ok), (ok, backed_off), (backed_off, backed_off)} <= told
    # Full is said only when somebody has the slot: never because of a back-off.
    assert not any(full in pair and ok not in pair for pair in told)


def test_i4_two_workers_that_give_back_while_they_take() -> None:
    row = ModelRow(2, 2)
    programs = [worker(row, 0, holds=1), worker(row, 1, holds=1)]
    told = outcomes(run(row, programs, held=[1, 1]))
    assert (Reserve.OK, Reserve.OK) in told


def test_i4_two_workers_with_all_the_tries_that_are_shipped() -> None:
    row = ModelRow(2, 1)
    assert row.hand(Processor(()), 0, full_fence)._retries > 2
    run(row, [worker(row, index, retry_max=99) for index in range(2)])


@pytest.mark.parametrize("slots_max", [1, 2])
def test_i4_three_workers(slots_max: int) -> None:
    row = ModelRow(3, slots_max)
    told = outcomes(run(row, [worker(row, index, retry_max=1) for index in range(3)]))
    assert any(Reserve.BACKED_OFF in told_once for told_once in told)


def test_i4_without_the_fence_capacity_is_exceeded() -> None:
    row = ModelRow(2, 1)
    with pytest.raises(Broken):
        run(row, [worker(row, index, fence=no_fence) for index in range(2)])


def test_i4_one_fence_of_two_is_not_enough() -> None:
    row = ModelRow(2, 1)
    with pytest.raises(Broken):
        run(row, [worker(row, 0), worker(row, 1, fence=no_fence)])


def test_i4_a_second_look_is_needed_even_with_the_fence() -> None:
    row = ModelRow(2, 1)

    def careless(index: int) -> Program:
        def program(processor: Processor) -> int:
            hand = row.hand(processor, index, full_fence)
            first = hand._held(0)
            hand._held = lambda row: first
            column = StandingColumn(processor, row.worker_count)
            outcome = hand.reserve(0, column, row.word)  # type: ignore[arg-type]
            if outcome is Reserve.OK:
                processor.say(outcome)
            return outcome

        return program

    with pytest.raises(Broken):
        run(row, [careless(0), careless(1)])


def test_a_row_that_was_clear_gets_no_holder_of_its_old_life() -> None:
    row = ModelRow(2, 2)
    told = outcomes(run(row, [worker(row, 0), worker(row, 1), manager(row)]))
    assert (Reserve.CHANGED, Reserve.CHANGED, True) in told
    assert (Reserve.CHANGED, Reserve.OK, False) in told
    assert (Reserve.OK, Reserve.OK, True) in told


def test_the_manager_needs_its_fence_between_taking_a_row_away_and_counting() -> None:
    row = ModelRow(2, 2)
    with pytest.raises(Broken):
        run(row, [worker(row, 0), manager(row, fence=no_fence)])


def test_the_model_lets_both_stores_wait_while_both_processors_look() -> None:
    def program(mine: int, other: int) -> Program:
        def act(processor: Processor) -> int:
            processor.store(mine, 1)
            return processor.load(other)[0]

        return act

    explored = explore([program(0, 1), program(1, 0)], [0, 0], no_judge)
    assert outcomes(explored) == {(0, 0), (0, 1), (1, 0), (1, 1)}


def test_the_model_never_lets_one_processors_stores_be_seen_out_of_order() -> None:
    def writer(processor: Processor) -> int:
        processor.store(0, 1)
        processor.store(1, 1)
        return 0

    def reader(processor: Processor) -> int:
        later = processor.load(1)[0]
        return 10 * later + processor.load(0)[0]

    explored = explore([writer, reader], [0, 0], no_judge)
    assert outcomes(explored) == {(0, 0), (0, 1), (0, 11)}


def test_the_model_shows_a_processor_its_own_stores_at_once() -> None:
    def program(processor: Processor) -> int:
        processor.store(0, 5)
        processor.store(0, 6)
        return processor.load(0)[0]

    assert explore([program], [0], no_judge).ends == {((6,), (6,))}


def test_the_model_shows_what_a_fence_forbids() -> None:
    def program(mine: int, other: int) -> Program:
        def act(processor: Processor) -> int:
            processor.store(mine, 1)
            processor.fence()
            return processor.load(other)[0]

        return act

    explored = explore([program(0, 1), program(1, 0)], [0, 0], no_judge)
    assert outcomes(explored) == {(0, 1), (1, 0), (1, 1)}


def no_judge(known: int, said: int) -> int:
    return known
