"""Registrations beyond the share of a turn wait here, in order, with all that followed them.

When a manager restarts, the whole fleet registers within seconds.  Each costs 0.1 to 0.2 ms, so a
turn takes a bounded number and the rest has its turn right after: heartbeats, orders and deaths
come in between.  The lobby is bounded: who comes when it is full is told to come back.

Each registration is answered when it is on disk.  While too many wait for that, nobody enters: a
disk that is slow makes the fleet come back slowly, and the manager does its other work meanwhile.
"""

from collections.abc import Iterator, Sequence

from pointsman_wire.link import Connection, Frame

REGISTRATIONS_PER_TURN = 16
CONNECTIONS_MAX = 1_024
UNRECORDED_MAX = 256
# A node says little before it is answered; who says more is not waiting.
FRAMES_MAX = 64


class Lobby:
    """By connection, in order of arrival: when it came and what it has said since."""

    def __init__(self) -> None:
        self.waiting: dict[Connection, tuple[int, list[Frame]]] = {}
        self._budget = REGISTRATIONS_PER_TURN

    def __len__(self) -> int:
        return len(self.waiting)

    def begin_turn(self, unrecorded: int) -> None:
        """Allow a turn's share of registrations again, of which so many are not on disk."""
        self._budget = max(0, min(REGISTRATIONS_PER_TURN, UNRECORDED_MAX - unrecorded))

    def is_due(self, unrecorded: int) -> bool:
        """Is there somebody who could enter in a turn that came now?"""
        return bool(self.waiting) and unrecorded < UNRECORDED_MAX

    def may_enter(self) -> bool:
        """Spend one of the turn's registrations, if any is left."""
        if self._budget <= 0:
            return False
        self._budget -= 1
        return True

    def has(self, connection: Connection) -> bool:
        """Does this connection wait?"""
        return connection in self.waiting

    def wait(self, now_ns: int, connection: Connection, frames: Sequence[Frame]) -> bool:
        """Let these frames wait; False when there are too many."""
        known = self.waiting.get(connection)
        if known is None:
            if len(self.waiting) >= CONNECTIONS_MAX:
                return False
            known = self.waiting[connection] = (now_ns, [])
        known[1].extend(frames)
        return len(known[1]) <= FRAMES_MAX

    def leave(self, connection: Connection) -> None:
        """Forget what a connection has said, if it waits."""
        self.waiting.pop(connection, None)

    def admit(self) -> Iterator[tuple[int, Connection, list[Frame]]]:
        """Take out, in order, who has come to the turn: (since when, connection, frames)."""
        while self.waiting and self._budget > 0:
            connection = next(iter(self.waiting))
            since_ns, frames = self.waiting.pop(connection)
            yield since_ns, connection, frames
