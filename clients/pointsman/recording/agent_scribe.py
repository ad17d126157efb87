"""What a node adds to a history: the assignments it read, what it started, how it ended."""

from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

from pointsman.node_core.events import JobEnded, StartJob, StateChanged, StopJob
from pointsman.recording.facts import Fact
from pointsman_wire.control_messages import Register, Registered
from pointsman_wire.lane_messages import Assign, JobRefused, LaneAccepted
from pointsman_wire.link import Closed, Connection, Received, Send

Turn = list[Fact]
UNCONFIRMED_MAX = 4_096  # as many lone jobs as a node can have


class Place(NamedTuple):
    """The worker at the other end of a lane."""

    uid: str
    shard: int
    epoch: int


class AgentScribe:
    """Looks at every turn of one life of a node's core; bounded by what the node itself holds."""

    def __init__(self, who: str, capacity: int) -> None:
        self._who = who
        self._capacity = capacity
        self._is_begun = False
        self._node = ""
        self._key = ""
        self._now_ns = 0
        self._lanes: dict[Connection, Place] = {}
        self._epochs: dict[tuple[str, int], int] = {}
        # Assignments of this turn, and what runs: run -> what its facts have in common.
        self._read: dict[tuple[str, int], dict[str, Any]] = {}
        # Those of earlier turns that start once their worker confirms them; the oldest may not.
        self._unconfirmed: dict[tuple[str, int], dict[str, Any]] = {}
        self._running: dict[int, dict[str, Any]] = {}
        self._happened: dict[type, Callable[[Turn, Any], None]] = {
            Received: self._received,
            Closed: lambda turn, event: self._lanes.pop(event.connection, None) and None,
            JobEnded: self._ended,
        }
        self._wished: dict[type, Callable[[Turn, Any], None]] = {
            StartJob: self._started,
            StopJob: self._stopping,
            Send: self._sent,
            StateChanged: self._state_changed,
        }

    def turn(self, now_ns: int, events: Sequence[Any], commands: Sequence[Any]) -> Turn:
        """Return what one turn adds."""
        self._now_ns = now_ns
        self._read = {}
        turn = Turn()
        if not self._is_begun:
            self._is_begun = True
            turn.append(self._fact("begin", number=self._capacity))
        for event in events:
            if (note := self._happened.get(type(event))) is not None:
                note(turn, event)
        for command in commands:
            if (note := self._wished.get(type(command))) is not None:
                note(turn, command)
        return turn

    def _fact(self, what: str, **more: Any) -> Fact:
        return Fact(
            at_ns=self._now_ns, by="agent", who=self._who, what=what, node=self._node, **more
        )

    # ---- what it is told

    def _received(self, turn: Turn, event: Received) -> None:
        for message, _ in event.frames:
            if type(message) is Assign:
                self._assigned(turn, event.connection, message)
            elif type(message) is LaneAccepted:
                self._accepted(turn, event.connection, message)
            elif type(message) is Registered:
                self._registered(turn, message)

    def _registered(self, turn: Turn, message: Registered) -> None:
        self._node = message.node_id
        self._key = fingerprint(message.key) if message.key else self._key
        turn.append(self._fact("registered", kind=self._key))

    def _accepted(self, turn: Turn, connection: Connection, lane: LaneAccepted) -> None:
        place = Place(lane.instance_uid, lane.shard, lane.epoch)
        self._lanes[connection] = place
        highest = self._epochs.get(place[:2], 0)
        if place.epoch < highest:
            turn.append(self._fact("fenced", **place._asdict(), number=highest))
        self._epochs[place[:2]] = max(place.epoch, highest)

    def _assigned(self, turn: Turn, connection: Connection, assign: Assign) -> None:
        place = self._lanes.get(connection)
        if place is None:
            return  # it came before its lane stood: the node does not take it
        about = {
            **place._asdict(),
            "dispatch": assign.dispatch,
            "attempt": assign.attempt,
            "job_id": assign.job_id,
            "tenant": assign.tenant,
            "session": assign.session_id,
            "request": assign.request_id,
        }
        self._read[assign.job_id, assign.dispatch] = about
        if assign.silence_ms:
            self._unconfirmed[assign.job_id, assign.dispatch] = about
            if len(self._unconfirmed) > UNCONFIRMED_MAX:
                del self._unconfirmed[next(iter(self._unconfirmed))]
        turn.append(self._fact("read", **about))

    def _ended(self, turn: Turn, event: JobEnded) -> None:
        about = self._running.pop(event.run, None)
        if about is not None:
            turn.append(self._fact("ended", **about, status=event.status, words=event.code))

    # ---- what it wishes

    def _started(self, turn: Turn, command: StartJob) -> None:
        assign = command.assign
        key = (assign.job_id, assign.dispatch)
        about = self._unconfirmed.pop(key, None) or self._read[key]
        self._running[command.run] = about
        turn.append(self._fact("started", **about))

    def _stopping(self, turn: Turn, command: StopJob) -> None:
        if (about := self._running.get(command.run)) is not None:
            turn.append(self._fact("stopping", **about, words=command.reason))

    def _sent(self, turn: Turn, command: Send) -> None:
        message = command.message
        if type(message) is JobRefused:
            about = self._read.get((message.job_id, message.dispatch), {"job_id": message.job_id})
            turn.append(self._fact("refused", **about, status=message.code, words=message.message))
        elif type(message) is Register:
            self._node = message.node_id or self._node
            self._key = fingerprint(message.key) if message.key else self._key

    def _state_changed(self, turn: Turn, command: StateChanged) -> None:
        turn.append(self._fact("state", status=command.state, words=command.reason))


def fingerprint(key: str) -> str:
    """Return what tells keys apart without telling them."""
    return blake2b(key.encode(), digest_size=6).hexdigest()
