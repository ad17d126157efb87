"""The life of a job, and nothing else.

      assign            dispatch              start
    -------> ASSIGNED ------------> DISPATCHED ------> RUNNING
    |                                   |                 |
    PENDING <---------------------------+-----------------+   requeue (failover)
    |                                   |                 |
    +--- any state that is not terminal, by: complete, complete_no_text, fail, cancel, expire
         -> COMPLETED | COMPLETED_NO_TEXT | FAILED | CANCELLED | EXPIRED, which never change

A node starts what it accepts, so the acknowledgement of an assignment is both at once: what
the shared machine calls ACCEPTED and RUNNING is one move here.  A result may overtake the
acknowledgement and implies it; a job may complete from DISPATCHED.
"""

from enum import IntEnum
from sys import intern


class JobState(IntEnum):
    """Where a job stands; values from COMPLETED on are terminal."""

    PENDING = 0  # waits for a slot
    ASSIGNED = 1  # a slot is reserved
    DISPATCHED = 2  # handed to the node's lane
    RUNNING = 3  # the node acknowledged: it has started
    COMPLETED = 4
    COMPLETED_NO_TEXT = 5
    FAILED = 6
    CANCELLED = 7
    EXPIRED = 8


FIRST_TERMINAL = JobState.COMPLETED
# Interned: the encoder leaves out a default that is the same object.
STATUS = {state: intern(state.name.lower()) for state in JobState}

_ENDS = {
    "complete": JobState.COMPLETED,
    "complete_no_text": JobState.COMPLETED_NO_TEXT,
    "fail": JobState.FAILED,
    "cancel": JobState.CANCELLED,
    "expire": JobState.EXPIRED,
}
_OPEN = (JobState.PENDING, JobState.ASSIGNED, JobState.DISPATCHED, JobState.RUNNING)

MOVES: dict[tuple[JobState, str], JobState] = {
    (JobState.PENDING, "assign"): JobState.ASSIGNED,
    (JobState.ASSIGNED, "dispatch"): JobState.DISPATCHED,
    (JobState.DISPATCHED, "start"): JobState.RUNNING,
    (JobState.DISPATCHED, "requeue"): JobState.PENDING,
    (JobState.RUNNING, "requeue"): JobState.PENDING,
    (JobState.PENDING, "adopt"): JobState.RUNNING,  # a node reported it as running
    # Another instance ran it, and says how it ended.
    (JobState.PENDING, "hear_complete"): JobState.COMPLETED,
    (JobState.PENDING, "hear_complete_no_text"): JobState.COMPLETED_NO_TEXT,
    **{
        (state, verb): end
        for state in _OPEN
        for verb, end in _ENDS.items()
        if not (state in (JobState.PENDING, JobState.ASSIGNED) and verb.startswith("complete"))
    },
}


class IllegalMove(AssertionError):
    """Our own bug: a job was asked to do what its state forbids."""


class Leads(dict[JobState, JobState]):
    """Where a verb leads: the state after it, by the state before.  Elsewhere: IllegalMove."""

    def __init__(self, verb: str, *moves: str) -> None:
        super().__init__()
        self._verb = verb
        for before in JobState:
            after: JobState | None = before
            for move in moves or (verb,):
                after = None if after is None else MOVES.get((after, move))
            if after is not None:
                self[before] = after

    def __missing__(self, state: JobState) -> JobState:
        """The picture has no such move."""
        raise IllegalMove(f"a job cannot {self._verb} while {state.name}")


# By verb, so that a move is two look-ups and no call where every job comes by.
AFTER = {verb: Leads(verb) for _, verb in MOVES}
# A job that is placed is handed to the lane at once: nobody sees it between the two.
AFTER["place"] = Leads("place", "assign", "dispatch")


def moved(state: JobState, verb: str) -> JobState:
    """Return the state after the verb.  Raises IllegalMove for anything the picture lacks."""
    return AFTER[verb][state]
