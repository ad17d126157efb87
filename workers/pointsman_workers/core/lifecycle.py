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


def _leads(*verbs: str) -> dict[JobState, JobState]:
    """Where these verbs lead, one after the other: the state after them, by the state before."""
    after = {state: state for state in JobState}
    for verb in verbs:
        after = {state: MOVES[now, verb] for state, now in after.items() if (now, verb) in MOVES}
    return after


# By verb, so that a move is two look-ups and no call where every job comes by; a KeyError is an
# IllegalMove without its words.
AFTER = {verb: _leads(verb) for _, verb in MOVES}
# A job that is placed is handed to the lane at once: nobody sees it between the two.
AFTER["place"] = _leads("assign", "dispatch")


def moved(state: JobState, verb: str) -> JobState:
    """Return the state after the verb.  Raises IllegalMove for anything the picture lacks."""
    after = AFTER[verb].get(state)
    if after is None:
        raise IllegalMove(f"a job cannot {verb} while {state.name}")
    return after
