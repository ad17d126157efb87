"""Several instances, each a worker core on its own memory, joined by inbox streams in memory.

A second worker of an instance shares its memory, hears its rings, and has no stream of its own.

The clock is one.  What an instance sends is framed, kept in the receiver's stream and read from
there at once, or as long after it was sent as a story says; a story may cut an instance off from
its stream, stop it for a while, or kill it and start its next life.
"""

from collections import deque

from msgspec.structs import replace
from redis_model.model import Model
from worker_harness import SECOND_NS, Client, Host, Node, WorkerHarness, shared_config

from pointsman_shm.memory.rows import RowFlag
from pointsman_shm.snapshot.records import CapabilityClass, InstanceRecord
from pointsman_wire.coordination.instance_messages import BetweenInstances
from pointsman_wire.coordination.requests import Answer, failed
from pointsman_wire.framing import FrameDecoder, HeaderDecoder, encode_frame
from pointsman_wire.lane_messages import Assign, AssignAck
from pointsman_wire.link import Connection, LoopWasLate, Send
from pointsman_wire.messages import Message
from pointsman_workers.core.events import (
    BellRang,
    Coordinate,
    Coordinated,
    InstanceSaid,
    RingWorker,
    SendInstance,
)
from pointsman_workers.core.setup import SharingSettings

MILLISECOND_NS = 1_000_000
STEP_NS = 10 * MILLISECOND_NS
Letter = tuple[str, int, bytes]  # from which instance and worker, and the frame

_decode = HeaderDecoder[Message](BetweenInstances).decode


class Instance(WorkerHarness):
    """A worker of one instance, mostly the only one."""

    def __init__(
        self, name: str, host: Host, model: Model, *, now_ns: int, **setup: object
    ) -> None:
        self.unread: dict[Connection, int] = {}  # by lane: the last assignment
        self.name = name
        self.model = model
        self.is_stopped = False  # SIGSTOP: nothing runs, and everything is there afterwards
        self.is_cut = False  # nothing reaches its stream or comes from it
        self.is_without_redis = False  # nothing that it asks of Redis is answered
        self.told: list[SendInstance] = []  # everything that it has sent to others
        super().__init__(
            host,
            now_ns=now_ns,
            instance=name,
            **({"sharing": SharingSettings()} | setup),  # type: ignore[arg-type]
        )

    def feed(self, *events: object) -> list[object]:
        """One step; what is for other instances is kept apart."""
        commands = super().feed(*events)
        for command in commands:
            # 0 is nobody, for whom shells have no connection.
            assert not isinstance(command, Send) or command.connection >= 0, command
        self.told += [c for c in commands if isinstance(c, SendInstance)]
        for command in commands:
            if isinstance(command, Send) and isinstance(command.message, Assign):
                self.unread[command.connection] = command.message.number
            elif isinstance(command, Coordinate):
                self.feed(Coordinated(self._answers(command)))
        return commands

    def _answers(self, command: Coordinate) -> list[Answer]:
        if self.is_without_redis:
            return [failed(request, "down", "cut off") for request in command.requests]
        return self.model.answer(command.requests, self.now_ns // MILLISECOND_NS)

    def read(self) -> None:
        """Its nodes read what was assigned to them, while time passes."""
        unread, self.unread = self.unread, {}
        for connection, number in unread.items():
            self.receive(connection, AssignAck(number=number))


class Several:
    """All of them, by name."""

    def __init__(self, *names: str, workers: int = 1, **config: object) -> None:
        self.now_ns = SECOND_NS
        self.model = Model()
        self.hosts = {name: Host(shared_config(**config), worker_count=workers) for name in names}
        self.seconds: dict[str, Instance] = {}
        self._rings_seen: dict[int, int] = {}  # by id of a worker: its commands that were read
        self.streams: dict[str, deque[Letter]] = {name: deque(maxlen=10_000) for name in names}
        self.way_ns = 0  # how long what is sent takes to the stream
        self._on_way: deque[tuple[int, str, Letter]] = deque(maxlen=10_000)  # there at, whither
        for name in names:
            self.introduce(name)
        self.all: dict[str, Instance] = {}
        for name in names:
            self.start(name)
        self.run(0.05)

    def __getitem__(self, name: str) -> Instance:
        return self.all[name]

    def introduce(self, name: str, *dead: str) -> None:
        """Tell the host of an instance of all others, and who of them is dead."""
        self.hosts[name].instances = tuple(
            InstanceRecord(other, f"uid-{other}", 1, other not in dead)
            for other in self.hosts
            if other != name
        )

    def publish(self) -> None:
        """Every manager publishes."""
        for host in self.hosts.values():
            host.publish(self.now_ns)

    def start(self, name: str, *, epoch: int = 1, **setup: object) -> Instance:
        """An instance, or its next life."""
        self.hosts[name].publish(self.now_ns)
        self.all[name] = instance = Instance(
            name, self.hosts[name], self.model, now_ns=self.now_ns, epoch=epoch, **setup
        )
        instance.feed()
        return instance

    def second(self, name: str, **setup: object) -> Instance:
        """Start the second worker of an instance."""
        self.seconds[name] = worker = Instance(
            name, self.hosts[name], self.model, now_ns=self.now_ns, worker_index=1, **setup
        )
        worker.feed()
        return worker

    def everybody(self) -> list[Instance]:
        """Every worker that lives."""
        return [*self.all.values(), *self.seconds.values()]

    def _ring(self) -> None:
        """Workers of one instance hear each other's rings."""
        for name, second in self.seconds.items():
            first = self.all.get(name)
            if first is None:
                continue
            for ring in self._new_rings(first):
                second.feed(ring)
            for ring in self._new_rings(second):
                first.feed(ring)

    def _new_rings(self, ringer: Instance) -> list[BellRang]:
        seen = self._rings_seen.get(id(ringer), 0)
        self._rings_seen[id(ringer)] = len(ringer.commands)
        rings = [c for c in ringer.commands[seen:] if isinstance(c, RingWorker)]
        return [BellRang(ring.worker_index, ring.class_number) for ring in rings]

    def kill(self, name: str) -> None:
        """An instance is gone, and with it what it had not sent."""
        del self.all[name]

    def node(
        self, row: int, home: str, capability: CapabilityClass | None = None, *, slots: int = 1
    ) -> None:
        """A node connects to its home; all others are told of it."""
        for name, host in self.hosts.items():
            host.node(row, capability, slots=slots)
            if name != home:
                host.records[row] = replace(host.records[row], instance=home)
                host.stand(row, flags=RowFlag.PUBLIC | RowFlag.REMOTE)
        self.publish()
        for instance in self.everybody():
            instance.feed()
        for worker in self.everybody():
            if worker.name == home:
                worker.open_lane(row)
        self.run(0.2)

    def carry(self) -> None:
        """Bring what was sent into the streams, and what is in them to its readers."""
        for _ in range(20):
            self._ring()
            for instance in self.all.values():
                self._send(instance)
            while self._on_way and self._on_way[0][0] <= self.now_ns:
                _, name, letter = self._on_way.popleft()
                self.streams[name].append(letter)
            if not sum(self._read(instance) for instance in tuple(self.all.values())):
                return

    def _send(self, instance: Instance) -> None:
        if instance.is_cut:
            return
        told, instance.told = instance.told, []
        for command in told:
            letter = (instance.name, 0, encode_frame(command.message, command.payload))
            if self.way_ns or self._on_way:  # no letter overtakes another
                there_ns = max(
                    self.now_ns + self.way_ns, self._on_way[-1][0] if self._on_way else 0
                )
                self._on_way.append((there_ns, command.instance, letter))
            else:
                self.streams[command.instance].append(letter)

    def _read(self, instance: Instance) -> bool:
        stream = self.streams[instance.name]
        if instance.is_cut or instance.is_stopped or not stream:
            return False
        letters = [*stream]
        stream.clear()
        instance.feed(*[_read(letter) for letter in letters])
        return True

    def run(self, seconds: float) -> None:
        """Let time pass for everybody who is not stopped."""
        end_ns = self.now_ns + int(seconds * SECOND_NS)
        while self.now_ns < end_ns:
            self.now_ns = min(self.now_ns + STEP_NS, end_ns)
            for instance in self.everybody():
                if not instance.is_stopped:
                    instance.advance((self.now_ns - instance.now_ns) / SECOND_NS)
                    instance.now_ns = self.now_ns
                    instance.read()
            self.carry()

    def stop(self, name: str, seconds: float) -> None:
        """An instance does not run for a while, then finds that its loop was late."""
        instance = self[name]
        instance.is_stopped = True
        self.run(seconds)
        instance.is_stopped = False
        instance.now_ns = self.now_ns
        letters = [*self.streams[name]]
        self.streams[name].clear()
        instance.feed(LoopWasLate(int(seconds * SECOND_NS)), *[_read(letter) for letter in letters])
        self.carry()

    def connection(self, name: str, row: int) -> Connection:
        """The connection of a node's lane at its home."""
        connection = self[name].core.shard.lanes[row].connection
        assert connection is not None
        return connection


def two(slots: int = 1) -> Several:
    """Home A has a node in row 3; B has none, and sessions."""
    instances = Several("A", "B")
    instances.node(3, "A", slots=slots)
    return instances


def guest(instances: Several, request_id: str = "b-1") -> tuple[Client, Node, Assign]:
    """A job of B that has begun at the node of A: its client, the node, what the node was told."""
    client = instances["B"].open_session()
    client.submit(request_id)
    instances.carry()
    node = instances["A"].node(3)
    job = node.assignment()
    node.acknowledge(job.number)
    return client, node, job


def _read(letter: Letter) -> InstanceSaid:
    name, shard, frame = letter
    ((header, payload),) = FrameDecoder().feed(frame)
    return InstanceSaid(name, shard, _decode(header), payload)
