"""Every execution of a few small programs on processors that have store buffers (x86-TSO).

The model, after Owens, Sarkar and Sewell ("A better x86 memory model: x86-TSO", 2009): a store goes
into the processor's own buffer; buffers drain into memory one store at a time, oldest first, at any
moment; a load sees the newest store to its cell in the own buffer, else memory; a fence waits until
the own buffer is empty.  Nothing else is ever reordered.

Programs are ordinary functions, so the very code that is shipped is explored, not a copy of it.
A program reaches memory only through its `Processor`; whatever it does between two such acts
follows from what it was answered before.  So its next act is found by running it from the start on
its past answers until it asks for one more, and a state is: memory, buffers, past answers.

Acts that no other processor can notice (a store into the own buffer, a fence that need not wait)
commute with everything that others do, so they are taken at once instead of at every later moment.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple, TypeVar

Act = tuple[str, tuple[int, ...]]
Answers = tuple[tuple[int, ...], ...]
Buffer = tuple[tuple[int, int], ...]
Item = TypeVar("Item")


class _Asks(BaseException):
    """Ends a run at the first act that has no answer yet."""

    def __init__(self, act: Act) -> None:
        self.act = act


class Processor:
    """What a program may do; each call is one act, and others may act between any two."""

    def __init__(self, answers: Answers) -> None:
        self._answers = iter(answers)

    def load(self, *cells: int) -> tuple[int, ...]:
        """Read some cells in one load."""
        return self._ask("load", *cells)

    def store(self, cell: int, value: int) -> None:
        """Write one cell."""
        self._ask("store", cell, value)

    def fence(self) -> None:
        """Wait until all earlier stores are in memory."""
        self._ask("fence")

    def say(self, what: int) -> None:
        """Tell the judge something, at this very moment of the execution."""
        self._ask("say", what)

    def _ask(self, kind: str, *numbers: int) -> tuple[int, ...]:
        answer = next(self._answers, None)
        if answer is None:
            raise _Asks((kind, numbers))
        return answer


Program = Callable[[Processor], int]
Judge = Callable[[int, int], int | None]


class State(NamedTuple):
    """One moment: memory, per processor its answers so far and its buffer; what the judge knows."""

    memory: tuple[int, ...]
    answers: tuple[Answers, ...]
    buffers: tuple[Buffer, ...]
    known: int


class Explored(NamedTuple):
    """How many states were seen, and every end: what the programs returned, and memory then."""

    state_count: int
    ends: set[tuple[tuple[int, ...], tuple[int, ...]]]


class Broken(Exception):
    """Some execution says what the judge does not allow; the state in which it does."""


def explore(
    programs: Sequence[Program],
    memory: Sequence[int],
    judge: Judge,
    known: int = 0,
    state_max: int = 1_000_000,
) -> Explored:
    """Visit every reachable state; raises Broken at the first where the judge objects.

    The judge is told what it knew and what is said, in the order of time, and answers what it now
    knows, or None.
    """
    next_act = lru_cache(maxsize=None)(lambda which, answers: _next_act(programs[which], answers))
    nothing: tuple[tuple[()], ...] = ((),) * len(programs)
    start = State(tuple(memory), nothing, nothing, known)
    seen, waiting = {start}, [start]
    ends = set()
    while waiting:
        state = waiting.pop()
        acts = [next_act(which, answers) for which, answers in enumerate(state.answers)]
        followers = _followers(state, acts, judge)
        if not followers:
            ends.add((_results(programs, state), state.memory))
        new = [follower for follower in followers if follower not in seen]
        seen.update(new)
        waiting.extend(new)
        assert len(seen) <= state_max, "the programs are too large to be explored"
    return Explored(len(seen), ends)


def _results(programs: Sequence[Program], state: State) -> tuple[int, ...]:
    return tuple(
        program(Processor(answers))
        for program, answers in zip(programs, state.answers, strict=True)
    )


def _next_act(program: Program, answers: Answers) -> Act | None:
    try:
        program(Processor(answers))
    except _Asks as asks:
        return asks.act
    return None


def _followers(state: State, acts: list[Act | None], judge: Judge) -> list[State]:
    """Return the states one step away: some buffer drains by one, or some processor acts."""
    for which, act in enumerate(acts):
        if act is None:
            continue
        kind, numbers = act
        if kind == "store":
            added = (*state.buffers[which], (numbers[0], numbers[1]))
            buffers = _replaced(state.buffers, which, added)
            return [_answered(state._replace(buffers=buffers), which, ())]
        if kind == "fence" and not state.buffers[which]:
            return [_answered(state, which, ())]
    followers = [_drained(state, which) for which in range(len(acts)) if state.buffers[which]]
    for which, act in enumerate(acts):
        if act is not None and act[0] != "fence":
            followers.append(_acted(state, which, act, judge))
    return followers


def _drained(state: State, which: int) -> State:
    (cell, value), *rest = state.buffers[which]
    memory = _replaced(state.memory, cell, value)
    return state._replace(memory=memory, buffers=_replaced(state.buffers, which, tuple(rest)))


def _acted(state: State, which: int, act: Act, judge: Judge) -> State:
    kind, numbers = act
    if kind == "load":
        own = dict(state.buffers[which])
        answer = tuple(own.get(cell, state.memory[cell]) for cell in numbers)
        return _answered(state, which, answer)
    known = judge(state.known, numbers[0])
    if known is None:
        raise Broken(f"processor {which} says {numbers[0]} in {state}")
    return _answered(state._replace(known=known), which, ())


def _answered(state: State, which: int, answer: tuple[int, ...]) -> State:
    answers = (*state.answers[which], answer)
    return state._replace(answers=_replaced(state.answers, which, answers))


def _replaced(items: tuple[Item, ...], index: int, item: Item) -> tuple[Item, ...]:
    return (*items[:index], item, *items[index + 1 :])
