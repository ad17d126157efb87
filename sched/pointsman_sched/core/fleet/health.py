"""The health of a node: a picture, a table, and one function.

                 settle                 ail
   REGISTERING ---------> READY  <------------->  DEGRADED
        |  |                |        settle           |  ^
        |  +-- ail (warm-up over without settling) ---|--+
        |                   |                         |
        +-------------------+-------------------------+---- miss ---> SUSPECT
        ^                                                               |
        +--------------------------- wait ------------------------------+   (heard again, lanes
        |                       also settle, ail                            not yet up)
        |
        +-- wait (undrained) -- DRAINING <-- drain -- any of the four
        +-- welcome (a newer registration of the same node) -- any of the five

   every living state -- end --> OFFLINE -- forget --> FREE

Only READY takes new jobs.  `settle` needs lanes that are up and a good last heartbeat.  SUSPECT:
beats were missed, the control connection broke, or the lane is not read; its jobs go on.
"""

from enum import StrEnum

from pointsman_sched.core.fleet.node import Node
from pointsman_shm.memory.rows import NodeState


class Verb(StrEnum):
    """What happens to a node's health."""

    WELCOME = "welcome"
    SETTLE = "settle"
    AIL = "ail"
    MISS = "miss"
    WAIT = "wait"
    DRAIN = "drain"
    END = "end"
    FORGET = "forget"


S = NodeState
_LIVE = (S.REGISTERING, S.READY, S.DEGRADED, S.SUSPECT, S.DRAINING)

MOVES: dict[tuple[NodeState, Verb], NodeState] = {
    **{(state, Verb.WELCOME): S.REGISTERING for state in _LIVE},
    **{(state, Verb.DRAIN): S.DRAINING for state in _LIVE if state is not S.DRAINING},
    **{(state, Verb.END): S.OFFLINE for state in _LIVE},
    (S.REGISTERING, Verb.SETTLE): S.READY,
    (S.DEGRADED, Verb.SETTLE): S.READY,
    (S.SUSPECT, Verb.SETTLE): S.READY,
    (S.REGISTERING, Verb.AIL): S.DEGRADED,
    (S.READY, Verb.AIL): S.DEGRADED,
    (S.SUSPECT, Verb.AIL): S.DEGRADED,
    (S.REGISTERING, Verb.MISS): S.SUSPECT,
    (S.READY, Verb.MISS): S.SUSPECT,
    (S.DEGRADED, Verb.MISS): S.SUSPECT,
    (S.SUSPECT, Verb.WAIT): S.REGISTERING,
    (S.DRAINING, Verb.WAIT): S.REGISTERING,
    (S.OFFLINE, Verb.FORGET): S.FREE,
}


class IllegalMove(AssertionError):
    """A move that the table does not have: our own fault."""


def move(node: Node, verb: Verb, now_ns: int) -> None:
    """Take a node to its next state; nothing else assigns `node.state`."""
    try:
        node.state = MOVES[node.state, verb]
    except KeyError:
        raise IllegalMove(f"node {node.node_id}: cannot {verb} while {node.state.name}") from None
    node.state_since_ns = now_ns


class BadWindow:
    """When are bad heartbeats too many: so many in a row, or so many of the last so many."""

    def __init__(self, *, in_a_row: int, of_window: int, window: int) -> None:
        self._row_mask = (1 << in_a_row) - 1
        self._of_window = of_window
        self._window_mask = (1 << window) - 1  # if all of it are bad, they are too many

    def push(self, bits: int, *, is_bad: bool) -> int:
        """Return the window after one more heartbeat."""
        return (bits << 1 | is_bad) & self._window_mask

    def is_too_many(self, bits: int) -> bool:
        """Say whether a Ready node with this window is Degraded."""
        in_a_row = bits & self._row_mask == self._row_mask
        return in_a_row or bits.bit_count() >= self._of_window
