"""A node's core on a virtual clock, with the server's side played by hand."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec

from pointsman.node_core.agent import AgentCore
from pointsman.node_core.events import (
    AgentLimits,
    AgentSetup,
    JobEnded,
    StartJob,
    StopJob,
)
from pointsman_wire.control_messages import Heartbeat, HeartbeatAck, Register, Registered, Service
from pointsman_wire.lane_messages import Assign, LaneAccepted, LaneOpen
from pointsman_wire.link import (
    Close,
    Closed,
    Connection,
    Dial,
    DialFailed,
    Dialled,
    Received,
    Send,
)
from pointsman_wire.messages import Message
from pointsman_wire.preamble import Role

S = 1_000_000_000
UID = "uid-1"
T = TypeVar("T")


def half(count: int) -> bytes:
    """Entropy that always draws the middle."""
    return b"\x00" * (count - 1) + b"\x80"


class AgentHarness:
    """Feeds the core, keeps every command, and knows which connection is which."""

    def __init__(
        self,
        *,
        max_concurrency: int = 2,
        epochs: dict[tuple[str, int], int] | None = None,
        limits: AgentLimits | None = None,
        entropy: Callable[[int], bytes] = half,
    ) -> None:
        register = Register(
            node_id="n1",
            services=[Service(id="nmt", kind="nmt")],
            max_concurrency=max_concurrency,
        )
        setup = AgentSetup(
            register=register,
            entropy=entropy,
            epochs=epochs or {},
            limits=limits or AgentLimits(),
        )
        self.core = AgentCore(setup)
        self.now_ns = 1000 * S
        self.control = Connection(0)
        self.lanes: dict[int, Connection] = {}
        self.numbers: dict[Connection, int] = {}
        self._connections = 0
        self.heartbeats = 0  # the number of the last one

    # ---- stepping

    def feed(self, *events: object) -> list[Any]:
        """Step once at the present time."""
        commands = self.core.step(self.now_ns, events)
        for heartbeat in sent(commands, Heartbeat):
            self.heartbeats = heartbeat.number
        self.core.check_invariants()
        return commands

    def advance(self, seconds: float) -> list[Any]:
        """Let time pass, stepping at every deadline on the way; return all commands."""
        until_ns = self.now_ns + int(seconds * S)
        commands: list[Any] = []
        while (due := self.core.next_deadline_ns()) is not None and due <= until_ns:
            self.now_ns = max(self.now_ns, due)
            commands += self.feed()
        self.now_ns = until_ns
        return commands

    def new_connection(self) -> Connection:
        self._connections += 1
        self.numbers[Connection(self._connections)] = 0
        return Connection(self._connections)

    # ---- the server's side

    def say(self, connection: Connection, *messages: Message) -> list[Any]:
        """Let the peer of a connection send messages, all in one read."""
        return self.feed(Received(connection, [(message, b"") for message in messages]))

    def dial(self, commands: Sequence[Any]) -> list[Any]:
        """Answer every Dial among the commands; return what the core does then."""
        answers: list[Any] = []
        for command in of(commands, Dial):
            connection = self.new_connection()
            if command.preamble.role is Role.CONTROL:
                self.control = connection
            else:
                assert command.preamble.key is not None
                self.lanes[command.preamble.key] = connection
            answers += self.feed(Dialled(connection, command.purpose))
        return answers

    def refuse_dials(self, commands: Sequence[Any]) -> list[Any]:
        """Let every Dial among the commands fail."""
        failed = [DialFailed(dial.purpose, "refused") for dial in of(commands, Dial)]
        return self.feed(*failed)

    def register(
        self, *, worker_count: int = 1, epoch: int = 1, uid: str = UID, **other: Any
    ) -> list[Any]:
        """Let the manager answer the registration, and every lane be dialled."""
        registered = Registered(
            node_id="n1",
            row=3,
            generation=1,
            epoch=epoch,
            worker_count=worker_count,
            lane_ticket=b"t",
            instance_uid=uid,
            heartbeat_interval_s=1.0,
        )
        commands = self.say(self.control, msgspec.structs.replace(registered, **other))
        return commands + self.dial(commands)

    def come_back(self, *, epoch: int, **other: Any) -> list[Any]:
        """Lose the control connection, and let the next manager answer the registration."""
        self.lose(self.control)
        commands = self.advance(0.5)
        self.dial(commands)
        other = {"lanes_stay": True, "worker_count": len(self.lanes), **other}
        return self.register(epoch=epoch, **other)

    def accept_lane(self, shard: int = 0, *, epoch: int = 5, uid: str = UID) -> list[Any]:
        """Let a worker accept its lane."""
        accepted = LaneAccepted(instance_uid=uid, shard=shard, epoch=epoch)
        return self.say(self.lanes[shard], accepted)

    def join(self, *, worker_count: int = 1, epoch: int = 5) -> None:
        """Bring the node from nothing to ready."""
        self.dial(self.feed())
        self.register(worker_count=worker_count)
        for shard in range(worker_count):
            self.accept_lane(shard, epoch=epoch)

    def assign(self, job_id: str, dispatch: int = 1, *, shard: int = 0, **more: Any) -> list[Any]:
        """Let a worker assign a job under the lane's next number."""
        return self.feed(self.assignment(job_id, dispatch, shard=shard, **more))

    def assignment(
        self, job_id: str, dispatch: int = 1, *, shard: int = 0, **more: Any
    ) -> Received:
        """Return the event of an assignment, to be fed together with others."""
        lane = self.lanes[shard]
        self.numbers[lane] += 1
        assign = Assign(number=self.numbers[lane], job_id=job_id, dispatch=dispatch, **more)
        return Received(lane, [(assign, b"body")])

    def beat(self) -> list[Any]:
        """Let the manager answer the last heartbeat."""
        return self.say(self.control, HeartbeatAck(number=self.heartbeats, state="ready"))

    def advance_answered(self, seconds: float) -> None:
        """Let time pass with every heartbeat answered."""
        for _ in range(int(seconds * 2)):
            self.advance(0.5)
            self.beat()

    def lose(self, connection: Connection) -> list[Any]:
        """Let a connection break."""
        return self.feed(Closed(connection, "reset"))

    def end(
        self, run: int, status: str = "completed", payload: bytes = b"out", **said: Any
    ) -> list[Any]:
        """Let a handler end."""
        return self.feed(JobEnded(run=run, status=status, payload=payload, **said))


def of(commands: Sequence[Any], kind: type[T]) -> list[T]:
    """Return the commands of one type."""
    return [command for command in commands if type(command) is kind]


def sent(commands: Sequence[Any], kind: type[T]) -> list[T]:
    """Return the messages of one type that are sent."""
    return [send.message for send in of(commands, Send) if type(send.message) is kind]


def started(commands: Sequence[Any]) -> list[str]:
    """Return the ids of the jobs that are started."""
    return [start.assign.job_id for start in of(commands, StartJob)]


def stopped(commands: Sequence[Any]) -> list[int]:
    """Return the runs that are asked to stop."""
    return [stop.run for stop in of(commands, StopJob)]


def closed(commands: Sequence[Any]) -> list[Connection]:
    """Return the connections that are closed."""
    return [close.connection for close in of(commands, Close)]


def first_frames(commands: Sequence[Any]) -> list[LaneOpen]:
    """Return the lane_open messages that are sent."""
    return sent(commands, LaneOpen)
