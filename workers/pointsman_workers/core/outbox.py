"""The commands of one step; acknowledgements are gathered and leave once, cumulative.

Order on a connection: acceptances first (a result never overtakes its acceptance), then what the
step sent, then acknowledgements to nodes (a result is acknowledged after it was handed on).
"""

from pointsman_wire.lane_messages import NodeResultAck
from pointsman_wire.link import Close, Connection, Send
from pointsman_wire.messages import Error, ErrorInfo, Message
from pointsman_wire.session_messages import AcceptedJob, JobAccepted
from pointsman_workers.core.state import Lane, Peer


class Outbox:
    """Collects wishes during a step."""

    def __init__(self) -> None:
        self.commands: list[object] = []
        self._peers: list[Peer] = []
        self._lanes: list[Lane] = []

    def send(self, connection: Connection, message: Message, payload: bytes = b"") -> None:
        """Put a frame on a connection."""
        self.commands.append(Send(connection, message, payload))

    def close(self, connection: Connection, reason: str) -> None:
        """End a connection after what was sent to it."""
        self.commands.append(Close(connection, reason))

    def accept(self, peer: Peer, accepted: AcceptedJob) -> None:
        """Tell a client that its job is accepted, in the one such frame of this step."""
        if not peer.accepted:
            self._peers.append(peer)
        peer.accepted.append(accepted)

    def acknowledge(self, lane: Lane, number: int) -> None:
        """Tell a node at the end of the step that results up to this number are safe."""
        lane.last_result = number
        self.acknowledge_again(lane)

    def acknowledge_again(self, lane: Lane) -> None:
        """What is withheld on the lane has changed: tell the node at the end of the step."""
        if not lane.is_ack_due:
            lane.is_ack_due = True
            self._lanes.append(lane)

    def error(
        self,
        connection: Connection,
        error: ErrorInfo,
        session_number: int = 0,
        request_id: str = "",
    ) -> None:
        """Answer a message that cannot be done."""
        self.send(connection, Error(error, session_number=session_number, request_id=request_id))

    def flush(self) -> list[object]:
        """Return every command of the step, in order, and start anew."""
        first: list[object] = []
        for peer in self._peers:
            first.append(Send(peer.connection, JobAccepted(jobs=peer.accepted)))
            peer.accepted = []
        commands = first + self.commands if first else self.commands
        for lane in self._lanes:
            lane.is_ack_due = False
            if lane.connection is not None:
                ack = NodeResultAck(number=lane.last_result, withheld=[*lane.withheld])
                commands.append(Send(lane.connection, ack))
        self.commands, self._peers, self._lanes = [], [], []
        return commands
