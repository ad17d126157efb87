"""Several instances over one pretended Redis, each with one worker, nodes and clients by hand.

Time is one number for all.  What a worker asks of Redis is answered within the same call, unless
its instance is cut off, deaf (what it asks is done, and no answer comes), held (nothing is answered
until `let_go`) or dead.  What one says to another arrives at once.
"""

from collections.abc import Callable

from redis_model.model import Model
from worker_harness import SECOND_NS, Client, Host, Node, WorkerHarness

from pointsman_shm.config import Config
from pointsman_shm.memory.stats_names import Counter
from pointsman_shm.snapshot.records import InstanceRecord
from pointsman_wire.coordination.requests import (
    Answer,
    Bound,
    Lookup,
    Owner,
    Request,
    RequestKey,
    failed,
)
from pointsman_wire.lane_messages import Assign
from pointsman_workers.core.events import (
    Coordinate,
    Coordinated,
    InstanceSaid,
    SendInstance,
)
from pointsman_workers.core.setup import SharingSettings

MILLISECOND_NS = 1_000_000
LEASE_S = 45.0
SESSION = "s-1"


class Member(WorkerHarness):
    """The worker of one instance."""

    def __init__(self, fleet: "Fleet", name: str, host: Host, **setup: object) -> None:
        self.fleet = fleet
        self.name = name
        self.is_cut = self.is_deaf = self.is_held = self.is_dead = False
        self.asked: list[Request] = []
        self.unanswered: list[Coordinate] = []
        self._to_route: list[object] = []
        super().__init__(
            host,
            now_ns=fleet.now_ns,
            instance=name,
            sharing=SharingSettings(lease_s=LEASE_S, is_local=fleet.is_local),
            **setup,  # type: ignore[arg-type]
        )

    def feed(self, *events: object) -> list[object]:
        """One step, and what comes of it in the fleet."""
        commands = super().feed(*events)
        self._to_route += commands
        self.fleet.route()
        return commands

    def take_routed(self) -> list[object]:
        """Commands that were not carried out yet."""
        routed, self._to_route = self._to_route, []
        return routed

    def ask(self, requests: list[Request]) -> list[Answer]:
        """What Redis says to this instance."""
        self.asked += requests
        if self.is_cut:
            return [failed(request, "down", "cut off") for request in requests]
        answers = self.fleet.model.answer(requests, self.fleet.redis_ms())
        if self.is_deaf:
            return [failed(request, "unknown", "no answer in time") for request in requests]
        return answers

    def count_of(self, kind: type[Request]) -> int:
        """How many requests of a kind were made so far."""
        return sum(isinstance(request, kind) for request in self.asked)

    def let_go(self) -> None:
        """Answer what was held."""
        self.is_held = False
        unanswered, self.unanswered = self.unanswered, []
        for command in unanswered:
            self.feed(Coordinated(self.ask(command.requests)))

    def kill(self) -> None:
        """The instance is gone: nothing of it is heard any more."""
        self.is_dead = True


class Fleet:
    """Instances by name, and their Redis."""

    def __init__(
        self,
        *names: str,
        slots: int = 4,
        is_local: bool = False,
        config: Config | None = None,
        **setup: object,
    ) -> None:
        self.now_ns = 1_000 * SECOND_NS
        self.is_local = is_local
        self.model = Model()
        self.clock_jump_ms = 0
        self.members: dict[str, Member] = {}
        self.setup = setup
        self.config = config or Config()
        self.slots = slots
        self._is_routing = False
        # Each decides whether a message between instances is lost on its way.
        self.loses: Callable[[str, SendInstance], bool] = lambda name, command: False
        for name in names:
            self.add(name)
        self.advance(1.0)

    def bound(self, request_id: str = "r-1") -> Bound:
        """What is stored of a request's key."""
        key = RequestKey("", SESSION, request_id)
        looks = Lookup(number=0, key=key, owner=Owner("who-looks", "0", 0))
        (answer,) = self.model.answer([looks], self.redis_ms())
        assert isinstance(answer, Bound), answer
        return answer

    def redis_ms(self) -> int:
        """What the clock of Redis says."""
        return self.now_ns // MILLISECOND_NS + self.clock_jump_ms

    def add(self, name: str, *, epoch: int = 1, **setup: object) -> Member:
        """Start an instance with one node, in row 3, or start it again in another life."""
        host = Host(self.config)
        host.node(3, slots=self.slots)
        host.publish(self.now_ns)
        return self.start(name, host, epoch=epoch, **setup)

    def start(self, name: str, host: Host, *, epoch: int = 1, **setup: object) -> Member:
        """Start a worker on what memory its host has."""
        member = Member(self, name, host, epoch=epoch, **(self.setup | setup))
        self.members[name] = member
        member.feed()
        self.tell_members()
        return member

    def restart(self, name: str, **setup: object) -> Member:
        """The worker dies and is replaced at once."""
        before = self.members[name]
        before.kill()
        return self.start(name, before.host, epoch=before.epoch + 1, **setup)

    def __getitem__(self, name: str) -> Member:
        return self.members[name]

    def living(self) -> list[Member]:
        """Instances that run."""
        return [member for member in self.members.values() if not member.is_dead]

    def tell_members(self) -> None:
        """Presence: everybody knows who lives."""
        for member in self.living():
            member.host.instances = tuple(
                InstanceRecord(other.name, f"uid-{other.name}", 1, not other.is_dead)
                for other in self.members.values()
                if other is not member
            )
            member.host.publish(self.now_ns)

    def route(self) -> None:
        """Carry out what workers wish of the fleet, until nobody wishes anything more."""
        if self._is_routing:
            return
        self._is_routing = True
        try:
            is_quiet = False
            while not is_quiet:
                counts = [self._route(member) for member in self.living()]
                is_quiet = not sum(counts)
        finally:
            self._is_routing = False

    def _route(self, member: Member) -> int:
        commands = member.take_routed()
        for command in commands:
            if isinstance(command, Coordinate) and member.is_held:
                member.unanswered.append(command)
            elif isinstance(command, Coordinate):
                member.feed(Coordinated(member.ask(command.requests)))
            elif isinstance(command, SendInstance):
                self._send(member, command)
        return len(commands)

    def _send(self, member: Member, command: SendInstance) -> None:
        target = self.members.get(command.instance)
        is_lost = member.is_cut or self.loses(member.name, command)
        if target is None or target.is_dead or target.is_cut or is_lost:
            return
        target.feed(InstanceSaid(member.name, 0, command.message, command.payload))

    def advance(self, seconds: float, *, step_s: float = 0.1) -> None:
        """Let time pass for everybody, a tick at a time."""
        left_ns = int(seconds * SECOND_NS)
        step_ns = int(step_s * SECOND_NS)
        while left_ns > 0:
            self.now_ns += min(step_ns, left_ns)
            left_ns -= step_ns
            for host in {id(member.host): member.host for member in self.living()}.values():
                host.writer.beat(self.now_ns)
            for member in self.living():
                if member.now_ns < self.now_ns:
                    member.advance((self.now_ns - member.now_ns) / SECOND_NS)


def opened(member: Member) -> tuple[Node, Client]:
    """A node and a client of an instance, the client with the one session."""
    return member.open_lane(3), member.open_session(SESSION)


def started(member: Member, node: Node, client: Client, request_id: str = "r-1") -> Assign:
    """A job that runs on the node, for longer than its usual timeout."""
    client.submit(request_id, timeout_s=3600.0)
    job = node.assignment()
    node.acknowledge(job.number)
    return job


def awaited(fleet: Fleet, node: Node, within_s: float) -> Assign:
    """The job that the node gets in that time, and acknowledges."""
    for _ in range(int(within_s)):
        fleet.advance(1.0)
        for job in node.assignments():
            node.acknowledge(job.number)
            return job
    raise AssertionError(f"no job within {within_s} s")


def taken_over_while_cut(fleet: Fleet) -> tuple[Client, Node, Assign]:
    """A job of "a" that "b" runs anew while "a" is cut off and its own node ends it.

    Returns the client of "a", and the node of "b" with its dispatch.
    """
    a, b = fleet["a"], fleet["b"]
    node_a, client_a = opened(a)
    job = started(a, node_a, client_a)
    a.is_cut = True
    node_b, client_b = opened(b)
    client_b.submit("r-1", timeout_s=3600.0)
    again = awaited(fleet, node_b, LEASE_S + 10)
    node_a.end(job, b"of the first")
    return client_a, node_b, again


def count(member: WorkerHarness, counter: Counter) -> int:
    """What a worker has counted."""
    return member.core.shard.setup.memory.stats.read().counters[counter.name.lower()]
