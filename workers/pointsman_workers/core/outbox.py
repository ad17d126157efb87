"""The commands of one step; acknowledgements are gathered and leave once, cumulative.

Order on a connection: acceptances first (a result never overtakes its acceptance), then what the
step sent.  That a result is safe its node hears with the next assignment, or a few milliseconds
later: a frame of its own would cost a write for every result where there is little to do.
"""

from collections import defaultdict

from pointsman_wire.lane_messages import NodeResultAck
from pointsman_wire.link import Close, Connection, Send
from pointsman_wire.messages import Error, ErrorInfo, Message
from pointsman_wire.session_messages import AcceptedJob, JobAccepted
from pointsman_workers.core.state import Lane, Peer
from pointsman_workers.core.timers import NEVER_NS

ACK_DELAY_NS = 20_000_000
UNTOLD_BYTES_MAX = 256 * 1024  # of results that a node keeps for want of an acknowledgement
RESULT_OVERHEAD_BYTES = 1024


class Outbox:
    """Collects wishes during a step."""

    def __init__(self) -> None:
        self.commands: list[object] = []
        # Acceptances by the client they are for: those of a step leave in one frame.
        self.accepted: defaultdict[Peer, list[AcceptedJob]] = defaultdict(list)
        self._lanes: dict[Lane, None] = {}  # nodes that have given results and not heard of it
        self.acks_at_ns = NEVER_NS  # when they all hear of it

    def send(self, connection: Connection, message: Message, payload: bytes = b"") -> None:
        """Put a frame on a connection."""
        self.commands.append(Send(connection, message, payload))

    def close(self, connection: Connection, reason: str) -> None:
        """End a connection after what was sent to it."""
        self.commands.append(Close(connection, reason))

    def acknowledge(self, lane: Lane, number: int, result_bytes: int, now_ns: int) -> None:
        """Tell a node soon that results up to this number are safe."""
        lane.last_result = number
        if not lane.untold_bytes:
            if not self._lanes:
                self.acks_at_ns = now_ns + ACK_DELAY_NS
            self._lanes[lane] = None
        lane.untold_bytes += result_bytes + RESULT_OVERHEAD_BYTES
        if lane.untold_bytes > UNTOLD_BYTES_MAX:
            self.acks_at_ns = now_ns  # at the step's end, when it is known what is withheld

    def forget(self, lane: Lane) -> None:
        """The lane's connection is gone: its node tells everything anew."""
        self._lanes.pop(lane, None)
        if not self._lanes:
            self.acks_at_ns = NEVER_NS
        lane.untold_bytes = 0

    def acknowledge_now(self, lane: Lane) -> None:
        """Tell the node what it has to keep, with what else is sent to it in this step."""
        self.forget(lane)
        if lane.connection is not None:
            withheld = [*lane.withheld] if lane.withheld else []
            ack = NodeResultAck(number=lane.last_result, withheld=withheld)
            self.commands.append(Send(lane.connection, ack, b""))

    def acknowledge_all(self) -> None:
        """Tell every node that has not heard yet."""
        for lane in tuple(self._lanes):
            self.acknowledge_now(lane)

    def error(
        self,
        connection: Connection,
        error: ErrorInfo,
        session_number: int = 0,
        request_id: str = "",
        ref: int = 0,
    ) -> None:
        """Answer a message that cannot be done."""
        said = Error(error, session_number=session_number, request_id=request_id, ref=ref)
        self.send(connection, said)

    def flush(self, now_ns: int) -> list[object]:
        """Return every command of the step, in order, and start anew."""
        if now_ns >= self.acks_at_ns:
            self.acknowledge_all()
        commands, self.commands = self.commands, []
        if not self.accepted:
            return commands
        first: list[object] = []
        for peer, jobs in self.accepted.items():
            first.append(Send(peer.connection, JobAccepted(jobs=jobs), b""))
        self.accepted.clear()
        return first + commands
