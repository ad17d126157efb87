"""Heartbeats of a fleet at the manager's driver, connections and core, without sockets.

    python -m _counting.beats NODES=SECONDS...

Every node beats once a second, and a loop finds ten whenever it wakes; they wait for each other as
in the process (patience.py).  Whatever falls due beside them (the manager's own beats, nodes looked
at) is in it.  The nodes are played by this very process, outside of what is counted: see turns.py,
which marks it in the same way.
"""

import asyncio
import sys
from functools import partial
from operator import call, length_hint

from _shared.fleet import Fleet

from _counting.turns import Wire, turned_by_hand
from pointsman_sched.manager.garbage import GarbageKeeper
from pointsman_sched.manager.process import WAITING_MAX
from pointsman_shm.config import NodesConfig
from pointsman_shm.memory.stats_names import Timing
from pointsman_wire.control_messages import Heartbeat, ToManager
from pointsman_wire.framing import encode_frame
from pointsman_wire.limits import FRAME_BYTES_MAX
from pointsman_wire.link import Accepted, Connection
from pointsman_wire.preamble import Preamble, Role
from pointsman_wire.sockets import driver as drivers
from pointsman_wire.sockets.bounds import ConnectionLimits, DriverSettings
from pointsman_wire.sockets.connections import FrameConnection
from pointsman_wire.sockets.hosting import State
from pointsman_wire.sockets.reading import MessageReader

BEATS_A_WAKING = 10
SECOND_NS = 1_000_000_000
# So long that nodes are looked at as often as they are ever after.
WARM_S = 4


class BeatingFleet(Fleet):
    """A fleet whose nodes beat as often as they are told to."""

    @property
    def nodes_config(self) -> NodesConfig:
        """What the configuration says of nodes: the default interval."""
        return NodesConfig(max_nodes=self.node_count)


class Beats:
    """The manager, and the connections of its nodes."""

    def __init__(self, node_count: int) -> None:
        self._fleet = BeatingFleet(node_count, has_equal_nodes=True)
        self._fleet.join_all()
        self._now_ns = self._fleet.now_ns
        drivers.__dict__["monotonic_ns"] = lambda: self._now_ns
        settings = DriverSettings(waiting_max=WAITING_MAX)
        driver = self._driver = turned_by_hand(
            drivers.Driver(self._fleet.core, unions={}, execute=_nothing, settings=settings)
        )
        stats = self._fleet.core.state.stats
        driver.may_wait = self._fleet.core.may_wait
        driver.observe_turn = partial(stats.observe, Timing.TURN)
        driver.observe_wait = partial(stats.observe, Timing.MANAGEMENT_WAIT)
        reader = MessageReader(ToManager)
        self._wires = [Wire() for _ in range(node_count)]
        self._nodes = [
            self._connect(Connection(number + 1), wire, reader)
            for number, wire in enumerate(self._wires)
        ]
        self._beats = 0
        self._answered = 0
        self._asleep_ns = SECOND_NS * BEATS_A_WAKING // node_count

    def _connect(self, number: Connection, wire: Wire, reader: MessageReader) -> FrameConnection:
        opening = Accepted(number, Preamble(Role.CONTROL, None))
        connection = FrameConnection(self._driver, opening, reader, ConnectionLimits())
        connection._transport = wire
        connection._state = State.OPEN
        connection._is_stranger = connection._is_careful = False
        connection._decoder.frame_bytes_max = FRAME_BYTES_MAX
        self._driver._connections[number] = connection
        return connection

    def wake(self) -> None:
        """Some nodes have beaten: the manager reads them, and has a turn if that is due."""
        self._now_ns += self._asleep_ns
        for _ in range(BEATS_A_WAKING):
            at = self._beats % len(self._nodes)
            self._beats += 1
            beat = Heartbeat(
                number=self._beats // len(self._nodes),
                cpu_percent=float(self._beats % 50),
                memory_percent=40.5,
                running=self._beats % 3,
            )
            call(self._nodes[at].data_received, encode_frame(beat))
        if self._now_ns >= self._driver._timer_at_ns:
            call(self._driver._fire)
        if self._driver._is_scheduled:
            call(self._driver._turn)
        self._answered += sum(bool(wire.take()) for wire in self._wires if wire.written)

    def unanswered(self) -> int:
        """How many heartbeats wait for a turn."""
        return self._beats - self._answered


def _nothing(command: object) -> None:
    """What is wished beside answers has nobody to do it."""


async def main(wanted: dict[int, int]) -> None:
    """Let each fleet beat for so long; say how many heartbeats were counted."""
    for node_count, seconds in wanted.items():
        beats = Beats(node_count)
        GarbageKeeper().settle()
        wakings = node_count // BEATS_A_WAKING
        for _ in range(WARM_S * wakings):
            beats.wake()
        length_hint(())
        for _ in range(seconds * wakings):
            beats.wake()
        length_hint(())
        assert beats.unanswered() <= WAITING_MAX, "every heartbeat is answered"
        print(seconds * wakings * BEATS_A_WAKING)


if __name__ == "__main__":
    pairs = [word.partition("=") for word in sys.argv[1:]]
    asyncio.run(main({int(nodes): int(seconds) for nodes, _, seconds in pairs}))
