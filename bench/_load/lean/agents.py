"""Many nodes in one process, as lean as can be: raw frames over epoll, timers in buckets.

python -m _load.lean.agents ADDRESS PREFIX COUNT PER_SECOND SOURCE [SRC-TGT]

Each node keeps a control connection and a lane to every worker.  It dials, waits (full jitter) and
gives up as the SDK's agent does, beats with one and the same frame, and answers every job with its
own payload.  A tenth of what the SDK's agent costs is left, so that the machine is the server's.
SOURCE begins the addresses to dial from (127.0.1), as each has ports of its own.  They translate
from SRC into TGT (en-es).  Orders, a line each:

  mark    forget what was counted; answers "marked"
  count   answers how many nodes have registered and were called ready since the mark
  told    answers, as JSON, what happened since the mark: retries by cause, the longest stall
  lanes   answers how many lanes are up
  anew N  from now on N nodes a second register anew, in turn; answers "anew"
"""

import itertools
import json
import random
import resource
import socket
import sys
import time
from collections import Counter
from collections.abc import Sequence

from _load.lean.raw_connection import BUCKET_S, Crowd, RawConnection
from _load.lean.waits import CONTROL_FIRST_S, DIAL_S, LANE_FIRST_S, RENEWAL_S, Backoff
from pointsman_wire.control_messages import (
    Heartbeat,
    HeartbeatAck,
    LanesReady,
    NodeStateChanged,
    Register,
    Registered,
    Service,
    ToNode,
    Translation,
)
from pointsman_wire.framing import HeaderDecoder, encode_frame
from pointsman_wire.lane_messages import (
    Assign,
    AssignAck,
    LaneAccepted,
    LaneOpen,
    LanePing,
    LanePong,
    LaneReport,
    LaneToNode,
    NodeResult,
)
from pointsman_wire.messages import Error, Message
from pointsman_wire.preamble import Role, encode_preamble

STOOD_S = 5.0

BEAT = encode_frame(Heartbeat(cpu_percent=5.0))
READY = encode_frame(LanesReady())
REPORT = encode_frame(LaneReport())
SETTLE_S = 120.0

_decode_control = HeaderDecoder[Message](ToNode).decode
_decode_lane = HeaderDecoder[Message](LaneToNode).decode


class Agent:
    """One node's control connection; its lanes are of the registration that stands."""

    __slots__ = (
        "_backoff",
        "_heard_at_s",
        "_host_at_s",
        "_interval_s",
        "_is_of_before",
        "_lanes",
        "_offline_intervals",
        "_place",
        "_register",
        "_since_s",
        "_wire",
        "crowd",
        "is_ready",
        "is_registered",
    )

    def __init__(self, crowd: Crowd, node_id: str, pair: tuple[str, str]) -> None:
        self.crowd = crowd
        self.is_ready = self.is_registered = False
        self._is_of_before = False  # its registration is of before the mark
        self._backoff = Backoff(CONTROL_FIRST_S)
        self._interval_s = 1.0
        self._offline_intervals = 5
        self._heard_at_s = self._since_s = 0.0
        self._host_at_s = 0.0  # when the server's host last let this node connect
        self._lanes: list[Lane] = []
        self._place = (-1, -1)  # row and generation
        self._wire: RawConnection | None = None
        self._register = Register(
            node_id=node_id,
            services=[Service(id="nmt", kind="nmt")],
            nmt=Translation(pairs=[pair]),
        )

    def dial(self) -> None:
        """Connect, and say who this node is."""
        hello = encode_preamble(Role.CONTROL) + encode_frame(self._register)
        self.is_registered = False
        wire = self._wire = RawConnection(self.crowd, hello, self._told, self._lost)
        wire.limit(DIAL_S, self._backoff.patience_s(), lambda: self._give_up(wire))

    def lanes_changed(self) -> None:
        """When all lanes stand, jobs may come."""
        if self._wire is not None and self._lanes and all(lane.is_settled for lane in self._lanes):
            self._wire.send(READY + BEAT)

    @property
    def lanes_up(self) -> int:
        """How many of its lanes stand."""
        return sum(lane.is_up for lane in self._lanes)

    def say_again(self) -> None:
        """Register on the connection that stands, as a node does whose services have changed."""
        if self._wire is not None and self.is_registered:
            self._wire.send(encode_frame(self._register))

    def register_anew(self, why: str) -> None:
        """A worker does not believe who this is."""
        if self._wire is not None:
            self._wire.lose(why)

    def _give_up(self, wire: RawConnection) -> None:
        if self._wire is wire and not self.is_registered:
            self._backoff.given_up()
            wire.lose("no answer")

    def _lost(self, why: str, asked_ms: int | None = None) -> None:
        if self.is_registered and time.monotonic() - self._since_s >= STOOD_S:
            self._backoff.reset()
        now_s = time.monotonic()
        if self._wire is not None and self._wire.is_connected:
            self._host_at_s = now_s
        elif now_s - self._host_at_s > self._offline_intervals * self._interval_s:
            for lane in self._lanes:  # the lease is over: the server must think this node dead
                lane.lapse()
        self._wire = None
        self.is_registered = False
        self.crowd.told[f"control: {why}"] += 1
        self.crowd.later(self._backoff.next_s(asked_ms), self.dial)

    def _told(self, wire: RawConnection, header: bytes, _payload: bytes) -> None:
        message = _decode_control(header)
        if isinstance(message, HeartbeatAck):
            self._heard_at_s = time.monotonic()
            if message.heartbeat_interval_s:
                self._interval_s = message.heartbeat_interval_s
            self._called(message.state)
        elif isinstance(message, NodeStateChanged):
            self._called(message.state)
        elif isinstance(message, Registered):
            self._stand(wire, message)
        elif isinstance(message, Error):
            self.crowd.told[f"control error: {message.error.code}"] += 1
            if not self.is_registered:
                wire.lose(message.error.code, message.error.retry_after_ms)

    def forget(self) -> None:
        """It has to register anew before it is called ready again."""
        self.is_ready = False
        self._is_of_before = True

    def _called(self, state: str) -> None:
        self.is_ready |= state.lower() == "ready" and not self._is_of_before

    def _stand(self, wire: RawConnection, message: Registered) -> None:
        now_s = time.monotonic()
        self.is_registered = True
        self._is_of_before = False
        self._backoff.answered()
        self._since_s = self._heard_at_s = now_s
        self._interval_s = message.heartbeat_interval_s
        self._offline_intervals = message.offline_intervals
        if message.key:
            self._register = Register(
                node_id=message.node_id,
                key=message.key,
                services=self._register.services,
                nmt=self._register.nmt,
            )
        if message.lanes_stay and (message.row, message.generation) == self._place:
            for lane in self._lanes:
                lane.follow(message)
        else:
            for lane in self._lanes:
                lane.end()
            self._lanes = [Lane(self, index, message) for index in range(message.worker_count)]
            for lane in self._lanes:
                lane.dial()
        self._place = (message.row, message.generation)
        self.crowd.later(self._interval_s * random.random(), lambda: self._beat(wire))

    def _beat(self, wire: RawConnection) -> None:
        if self._wire is not wire:
            return
        silence_s = time.monotonic() - self._heard_at_s
        if silence_s > (self._offline_intervals - 1) * self._interval_s:
            wire.lose("the server is silent")
            return
        wire.send(BEAT)
        self.crowd.later(self._interval_s, lambda: self._beat(wire))


def opening_of(registered: Registered) -> bytes:
    """Return the frame with which a lane of this registration opens."""
    return encode_frame(
        LaneOpen(
            node_id=registered.node_id,
            row=registered.row,
            generation=registered.generation,
            epoch=registered.epoch,
            ticket=registered.lane_ticket,
        )
    )


class Lane:
    """One lane of one registration."""

    __slots__ = (
        "_agent",
        "_backoff",
        "_epoch",
        "_index",
        "_last_result",
        "_opening",
        "_wire",
        "is_settled",
        "is_up",
    )

    def __init__(self, agent: Agent, index: int, registered: Registered) -> None:
        self.is_up = False
        self.is_settled = False  # up, and of the newest registration
        self._agent = agent
        self._index = index
        self._backoff = Backoff(LANE_FIRST_S)
        self._epoch = self._last_result = 0
        self._wire: RawConnection | None = None
        self._opening = opening_of(registered)

    def follow(self, registered: Registered) -> None:
        """Show the newer ticket on the connection that stands, or dial with it."""
        self._opening = opening_of(registered)
        wire = self._wire
        if wire is not None and self.is_up:
            self.is_settled = False
            wire.send(self._opening)
            self._agent.crowd.later(RENEWAL_S, lambda: self._give_up(wire))
        elif wire is not None:
            wire.lose("registered anew")

    def dial(self) -> None:
        """Connect, and show the ticket."""
        if not self._opening:
            return
        self._last_result = 0
        hello = encode_preamble(Role.LANE, self._index) + self._opening
        wire = self._wire = RawConnection(self._agent.crowd, hello, self._told, self._lost)
        wire.limit(DIAL_S, self._backoff.patience_s(), lambda: self._give_up(wire))

    def end(self) -> None:
        """Close it: the node has registered anew."""
        wire, self._wire, self._opening = self._wire, None, b""
        if wire is not None:
            wire.close()

    def lapse(self) -> None:
        """The node must be thought dead: what lies unread here is dropped."""
        if self._wire is not None:
            self._wire.lose("the lease is over")

    def _give_up(self, wire: RawConnection) -> None:
        if self._wire is wire and not self.is_settled:
            self._backoff.given_up()
            wire.lose("no answer")

    def _lost(self, why: str, asked_ms: int | None = None) -> None:
        self._wire = None
        self.is_up = self.is_settled = False
        crowd = self._agent.crowd
        crowd.told[f"lane: {why}"] += 1
        crowd.later(self._backoff.next_s(asked_ms), self.dial)

    def _told(self, wire: RawConnection, header: bytes, payload: bytes) -> None:
        message = _decode_lane(header)
        if isinstance(message, Assign):
            self._last_result += 1
            result = NodeResult(
                number=self._last_result,
                job_id=message.job_id,
                epoch=self._epoch,
                dispatch=message.dispatch,
                duration_us=1,
            )
            wire.send(encode_frame(AssignAck(number=message.number)))
            wire.send(encode_frame(result, payload))
        elif isinstance(message, LanePing):
            wire.send(
                encode_frame(LanePong(number=message.number, last_read=message.last_assigned))
            )
        elif isinstance(message, LaneAccepted):
            self._epoch = message.epoch
            if not self.is_up:
                wire.send(REPORT)
            self.is_up = self.is_settled = True
            self._backoff.answered()
            self._agent.lanes_changed()
        elif isinstance(message, Error):
            self._refused(wire, message)

    def _refused(self, wire: RawConnection, message: Error) -> None:
        self._agent.crowd.told[f"lane error: {message.error.code}"] += 1
        if self.is_up:
            return
        wire.lose(message.error.code, message.error.retry_after_ms)
        if not message.error.retryable:
            self._agent.register_anew("a worker refused the lane")


def obey(crowd: Crowd, agents: list[Agent], line: str) -> str:
    """Carry out one order and return the answer."""
    if line == "mark":
        for agent in agents:
            agent.forget()
        crowd.told = Counter()
        crowd.stall_max_s = 0.0
        return "marked"
    if line == "lanes":
        return str(sum(agent.lanes_up for agent in agents))
    if line.startswith("anew "):
        register_in_turn(crowd, agents, float(line.removeprefix("anew ")))
        return "anew"
    if line == "told":
        return json.dumps({**crowd.told, "stall_max_ms": round(crowd.stall_max_s * 1e3)})
    return str(sum(agent.is_ready for agent in agents))


def register_in_turn(crowd: Crowd, agents: list[Agent], per_s: float) -> None:
    """Let one node after the other say again who it is, on the connection that stands."""
    waiting = itertools.cycle(agents)

    def one() -> None:
        next(waiting).say_again()
        crowd.later(1 / per_s - BUCKET_S / 2, one)

    crowd.later(1 / per_s, one)


def begin(crowd: Crowd, agents: list[Agent], per_second: float) -> None:
    """Let all join, so many a second, and say so when they have."""
    for number, agent in enumerate(agents):
        crowd.later(number / per_second, agent.dial)
    until_s = time.monotonic() + SETTLE_S + len(agents) / per_second
    while not all(agent.is_ready for agent in agents):
        crowd.turn()
        if time.monotonic() > until_s:
            back = obey(crowd, agents, "count")
            sys.exit(f"{back} of {len(agents)} nodes are ready: {obey(crowd, agents, 'told')}")
    print("ready", flush=True)


def main(words: Sequence[str]) -> None:
    """Let all join, say so, and obey."""
    address, prefix, count, per_second, source, *rest = words
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    host, _, port = address.rpartition(":")
    src, _, tgt = (rest[0] if rest else "en-es").partition("-")
    crowd = Crowd((socket.gethostbyname(host), int(port)), source)
    agents = [Agent(crowd, f"{prefix}-{number}", (src, tgt)) for number in range(int(count))]
    begin(crowd, agents, float(per_second))
    crowd.serve(lambda line: obey(crowd, agents, line))


if __name__ == "__main__":
    main(sys.argv[1:])
