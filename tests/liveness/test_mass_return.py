"""Ten thousand nodes come back to a new manager, as events into the real core: what it costs.

Counted in work, not in time: registrations, pages and fsyncs of each turn are the same on any
machine, however busy.
"""

from collections.abc import Iterator

import pytest
from manager_harness import MS, SECOND, Harness, large_fleet, registration

from pointsman_sched.core.events import Record, TellWorkers
from pointsman_sched.core.joining.lobby import REGISTRATIONS_PER_TURN, UNRECORDED_MAX
from pointsman_shm.memory.rows import NodeState
from pointsman_shm.memory.stats_names import Counter
from pointsman_wire.control_messages import Heartbeat, LanesReady, Registered
from pointsman_wire.link import Accepted, Connection, Received, Send
from pointsman_wire.preamble import Preamble, Role

COUNT = 10_000
PORT_PER_SECOND = 500
BATCH = 50  # accepted in a tenth of a second
CONTROL = Preamble(Role.CONTROL, None)


class Return:
    """The fleet comes back as fast as the port accepts, over a disk that takes a whole batch."""

    def __init__(self, h: Harness) -> None:
        self.h = h
        self.registered_max = self.records = self.publishes = 0
        self.answered: list[Connection] = []

    def turn(self, *events: object) -> None:
        """One turn, and what it cost."""
        before = self._registered()
        for command in self.h.turn(*events):
            self.records += isinstance(command, Record)
            self.publishes += isinstance(command, TellWorkers)
            if isinstance(command, Send) and isinstance(command.message, Registered):
                self.answered.append(command.connection)
        self.registered_max = max(self.registered_max, self._registered() - before)

    def _registered(self) -> int:
        return self.h.memory.stats.read().counters[Counter.REGISTRATIONS.name.lower()]

    def come(self, numbers: range) -> None:
        """These dial and register; the disk takes it, and they say that they are ready."""
        comers = list(self._dialled(numbers))
        self.turn(*(Received(c, [(registration(name, key), b"")]) for c, name, key in comers))
        while self.h.core.state.lobby or self.h.unrecorded:
            assert self.h.core.state.outbox.held_count <= UNRECORDED_MAX
            self.turn(self.h.sync())
        answered, self.answered = self.answered, []
        assert sorted(answered) == [connection for connection, _, _ in comers]
        for connection in answered:
            self.turn(Received(connection, [(LanesReady(), b""), (Heartbeat(), b"")]))

    def _dialled(self, numbers: range) -> Iterator[tuple[Connection, str, str]]:
        for number in numbers:
            self.h.last_connection += 1
            connection = Connection(self.h.last_connection)
            self.turn(Accepted(connection, CONTROL, "127.0.0.1"))
            name = f"n{number:06}"
            yield connection, name, self.h.keys[name]


@pytest.mark.slow
def test_n9_ten_thousand_nodes_come_back_in_small_turns_and_nobody_dies_of_it() -> None:
    """No page is published for them, no turn takes more than its share, one fsync a turn."""
    h = large_fleet(COUNT)
    nodes = h.core.state.nodes.by_id
    rows = {name: (node.row, node.generation) for name, node in nodes.items()}
    h.now_ns += SECOND
    h.start()
    h.advance(SECOND)
    back = Return(h)
    for first in range(0, COUNT, BATCH):
        back.come(range(first, first + BATCH))
        h.now_ns += BATCH * SECOND // PORT_PER_SECOND - 10 * MS
        back.turn()
        h.now_ns += 10 * MS

    nodes = h.core.state.nodes.by_id
    assert {name: (node.row, node.generation) for name, node in nodes.items()} == rows
    assert all(node.connection is not None for node in nodes.values())
    # The first ones have not beaten since: they may be doubted by now, and are not dead.
    assert {node.state for node in nodes.values()} <= {NodeState.READY, NodeState.SUSPECT}
    assert back.registered_max == REGISTRATIONS_PER_TURN
    batches = COUNT // BATCH
    turns = -(-BATCH // REGISTRATIONS_PER_TURN)
    assert back.records == turns * batches, "a batch is as many turns as it has shares"
    assert back.publishes <= 2 * batches, "the pools' counts, and no page of a node"
    assert not h.core.state.homecoming.awaited_count
