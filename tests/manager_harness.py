"""A registry core over heap memory on a virtual clock: facts in, commands out, nothing waits."""

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from manager_invariants import Invariants, check_published

from pointsman_sched.core.events import (
    Answer,
    OrderGiven,
    Record,
    Recorded,
    RegistryEntry,
    WorkerSaid,
)
from pointsman_sched.core.federation.settings import FederationSettings
from pointsman_sched.core.fleet.node import Node
from pointsman_sched.core.joining.certified import Authority
from pointsman_sched.core.manager_core import ManagerCore
from pointsman_sched.core.setup import ManagerSetup, SharedMemory, pass_crash_point
from pointsman_shm.config import Config, NodesConfig, PoolsConfig
from pointsman_shm.memory.catalog_layout import CatalogLayout
from pointsman_shm.memory.catalog_reader import CatalogReader
from pointsman_shm.memory.catalog_writer import CatalogWriter
from pointsman_shm.memory.ledger import Ledger, OwnLedger
from pointsman_shm.memory.rows import NodeRows, NodeState, unpack_standing
from pointsman_shm.memory.stats import StatsPage
from pointsman_shm.memory.stats_names import Gauge
from pointsman_shm.memory.waiting import WaitingWords
from pointsman_shm.snapshot.records import (
    CapabilityClass,
    ClassPage,
    MarkRecord,
    MarksPage,
    NodePage,
    NodeRecord,
    PoolsPage,
)
from pointsman_shm.uplink import WorkerHello
from pointsman_wire.control_messages import Heartbeat, LanesReady, Register, Registered, Service
from pointsman_wire.link import Accepted, Close, Closed, Connection, Received, Send
from pointsman_wire.messages import Error, Message
from pointsman_wire.preamble import Preamble, Role, Secured
from pointsman_wire.queries.operating_messages import OrderDone

SECOND = 1_000_000_000
MS = 1_000_000
START_NS = 1_000 * SECOND
WALL_OFFSET_NS = 1_800_000_000 * SECOND
WORKERS = 2
M = TypeVar("M", bound=Message)

NMT = Service(id="nmt-1", kind="nmt")


def registration(node_id: str = "n1", key: str = "", **fields: Any) -> Register:
    """A registration of a small translating node."""
    return msgspec.structs.replace(Register(node_id=node_id, key=key, services=[NMT]), **fields)


def config_with(pools: PoolsConfig | None = None, **nodes: Any) -> Config:
    """A configuration of a small fleet in hash buckets."""
    return Config(
        nodes=NodesConfig(**{"max_nodes": 64, **nodes}),
        pools=pools or PoolsConfig(auto_language_pools=False),
    )


class Harness:
    """Memory that outlives cores, one core at a time, and a clock."""

    def __init__(
        self,
        config: Config | None = None,
        *,
        crash: Callable[[str], None] = pass_crash_point,
        is_checked: bool = True,
        instance: str = "",
        authority: Authority | None = None,
    ) -> None:
        """`instance` names one of a fleet of several; without it this one is on its own.

        With an `authority` there is a TLS port, by which nodes may come.
        """
        self.authority = authority
        self.wall_offset_ns = 0 if authority is None else WALL_OFFSET_NS
        self.config = config or config_with()
        self.instance = instance
        self.crash = crash
        max_nodes = self.config.nodes.max_nodes
        self.layout = CatalogLayout(max_nodes)
        self.catalog_bytes = bytearray(self.layout.size)
        self.rows_bytes = bytearray(NodeRows.size(max_nodes))
        self.ledger_bytes = bytearray(Ledger.size(max_nodes=max_nodes, worker_count=WORKERS))
        self.waiting_bytes = bytearray(WaitingWords.size(worker_count=WORKERS))
        self.stats_bytes = [bytearray(StatsPage.size()) for _ in range(WORKERS + 1)]
        self.worker_stats = [StatsPage(page, create=True) for page in self.stats_bytes[1:]]
        self.now_ns = START_NS
        self.entropy_count = 0
        self.registry: list[RegistryEntry] = []
        self.unrecorded: list[Record] = []
        self.commands: list[object] = []
        self.last_connection = 0
        self.keys: dict[str, str] = {}
        self.invariants = Invariants()
        self.is_checked = is_checked
        self.start(create=True)

    def start(self, *, create: bool = False) -> None:
        """Start a core: over fresh memory, or over what the last one left."""
        if not create and self.is_checked:
            self.invariants.expect_only(
                [c for page in self.read().class_pages for c in page.classes]
            )
        max_nodes = self.config.nodes.max_nodes
        self.unrecorded = []
        self.memory = SharedMemory(
            layout=self.layout,
            catalog=CatalogWriter(self.catalog_bytes, self.layout, create=create, crash=self.crash),
            rows=NodeRows(self.rows_bytes, max_nodes=max_nodes, create=create),
            ledger=Ledger(
                self.ledger_bytes, max_nodes=max_nodes, worker_count=WORKERS, create=create
            ),
            waiting=WaitingWords(self.waiting_bytes, worker_count=WORKERS, create=create),
            stats=StatsPage(self.stats_bytes[0], create=create),
            worker_stats=tuple(self.worker_stats),
        )
        self.core = ManagerCore(
            ManagerSetup(
                config=self.config,
                memory=self.memory,
                started_at_ns=self.now_ns,
                worker_count=WORKERS,
                ticket_key=b"t" * 32,
                entropy=self.entropy,
                instance=self.instance or "default",
                instance_uid=f"uid-{self.instance}" if self.instance else "uid",
                federation=FederationSettings() if self.instance else None,
                registry=tuple(self.registry),
                authority=self.authority,
                wall_clock_offset_ns=self.wall_offset_ns,
                crash=self.crash,
            )
        )

    def entropy(self, size: int) -> bytes:
        self.entropy_count += 1
        return self.entropy_count.to_bytes(size, "big")

    def feed(self, *events: object) -> list[object]:
        """One turn now, over a disk that is so quick that answers leave in the same turn."""
        commands = self.turn(*events)
        if self.unrecorded:
            self.core.state.outbox.recorded(self.sync().number)
            commands += self.core.state.outbox.take()
        self.commands = commands
        return commands

    def turn(self, *events: object) -> list[object]:
        """One turn now; what it records is not on disk until `sync`."""
        commands = self.core.step(self.now_ns, events)
        if self.is_checked:
            self.invariants.check(self.core.state)
        self.unrecorded += [command for command in commands if isinstance(command, Record)]
        return commands

    def sync(self) -> Recorded:
        """Have everything on disk, and return what the core is told of it."""
        records, self.unrecorded = self.unrecorded, []
        for record in records:
            self.registry.extend(record.entries)
        return Recorded(records[-1].number)

    def advance(self, duration_ns: int) -> list[object]:
        """Let time pass as the shell would: a turn at each deadline, and one at the end.

        Minutes pass in turns of half a second, or the beats alone would take longer than the test.
        """
        end_ns = self.now_ns + duration_ns
        coarse_ns = SECOND // 2 if duration_ns > 30 * SECOND else 0
        commands: list[object] = []
        while (due_ns := self.core.next_deadline_ns()) is not None and due_ns < end_ns:
            self.now_ns = min(max(self.now_ns + coarse_ns, due_ns), end_ns)
            commands += self.feed()
        self.now_ns = end_ns
        commands += self.feed()
        return commands

    # ---- what nodes and workers do

    def dial(
        self,
        role: Role = Role.CONTROL,
        peer: str = "10.0.0.1",
        secured: Secured | None = None,
    ) -> Connection:
        self.last_connection += 1
        connection = Connection(self.last_connection)
        self.feed(Accepted(connection, Preamble(role, None, secured=secured), peer))
        return connection

    def say(self, connection: Connection, *messages: Message) -> list[object]:
        return self.feed(Received(connection, [(message, b"") for message in messages]))

    def join(self, message: Register | None = None) -> Connection:
        """Dial and register; the key that the answer brings is kept for the next time."""
        message = message or registration()
        if not message.key and message.node_id in self.keys:
            message = msgspec.structs.replace(message, key=self.keys[message.node_id])
        connection = self.dial()
        self.say(connection, message)
        self.keep_keys()
        return connection

    def keep_keys(self) -> None:
        """Keep the keys that the last turn sent, for the next time that their nodes join."""
        for answer in self.sent(Registered):
            if answer.key:
                self.keys[answer.node_id] = answer.key

    def make_ready(self, message: Register | None = None) -> Connection:
        """Join, lanes up, one good heartbeat."""
        connection = self.join(message)
        self.say(connection, LanesReady(), Heartbeat())
        return connection

    def beat(self, connection: Connection, **fields: Any) -> list[object]:
        return self.say(connection, Heartbeat(**fields))

    def lose(self, connection: Connection) -> list[object]:
        return self.feed(Closed(connection, "reset"))

    def worker_arrives(self, index: int) -> list[object]:
        return self.feed(WorkerSaid(index, WorkerHello(index, 100 + index, 1)))

    def worker_applies(self, version: int) -> None:
        """All workers say that they have this version."""
        for page in self.worker_stats:
            page.gauge(Gauge.APPLIED_VERSION, version)

    def hold(self, worker: int, row: int, count: int) -> None:
        """A worker holds slots of a row."""
        OwnLedger(self.memory.ledger, worker).rewrite(row, count)

    # ---- what came of it

    def sent(self, kind: type[M]) -> list[M]:
        """The messages of one kind that the last turn sent."""
        found = [command.message for command in self.commands if isinstance(command, Send)]
        return [message for message in found if isinstance(message, kind)]

    def refusal(self) -> tuple[str, str]:
        """Code and words of the one error that the last turn sent before it closed."""
        (error,) = self.sent(Error)
        assert any(isinstance(command, Close) for command in self.commands)
        return error.error.code, error.error.message

    def node(self, node_id: str = "n1") -> Node:
        return self.core.state.nodes.by_id[node_id]

    def state(self, node_id: str = "n1") -> NodeState:
        """A node's state, in the registry and in its row alike."""
        node = self.node(node_id)
        shown = unpack_standing(self.memory.rows.standing[node.row])
        assert (shown.state, shown.generation) == (node.state, node.generation)
        return node.state

    def read(self) -> "Published":
        """What a worker that starts now would read."""
        pages = CatalogReader(self.catalog_bytes, self.layout).refresh() or {}
        return Published(self.layout, pages)

    def settle(self) -> None:
        """Let everything be published."""
        while self.core.state.dirty:
            self.advance(20 * MS)
        check_published(self.core.state, self.catalog_bytes)


def large_fleet(count: int, *, per_turn: int = 200) -> Harness:
    """A fleet of Ready nodes, everything published; the invariants are off, they look at all."""
    h = Harness(config_with(max_nodes=count), is_checked=False)
    for start in range(0, count, per_turn):
        connections = [h.dial() for _ in range(per_turn)]
        h.feed(
            *(
                Received(
                    connection,
                    [
                        (registration(f"n{start + offset:06}"), b""),
                        (LanesReady(), b""),
                        (Heartbeat(), b""),
                    ],
                )
                for offset, connection in enumerate(connections)
            )
        )
        h.keep_keys()
        while h.core.state.lobby:
            h.feed()
            h.keep_keys()
    while h.core.state.dirty:
        h.now_ns += 20 * MS
        h.feed()
    return h


class Published:
    """The pages of a catalog, decoded."""

    def __init__(self, layout: CatalogLayout, pages: dict[int, bytes]) -> None:
        self.layout = layout
        self.pages = pages

    @property
    def nodes(self) -> dict[str, NodeRecord]:
        found = [self.pages.get(page, b"\x90") for page in range(self.layout.node_page_count)]
        records = [r for page in found for r in msgspec.msgpack.decode(page, type=NodePage)]
        return {record.node_id: record for record in records}

    @property
    def class_pages(self) -> list[ClassPage]:
        numbers = range(self.layout.node_page_count, self.layout.pools)
        return [
            msgspec.msgpack.decode(self.pages[page], type=ClassPage)
            for page in numbers
            if page in self.pages
        ]

    @property
    def classes(self) -> list[CapabilityClass]:
        return [capability for page in self.class_pages for capability in page.classes]

    @property
    def pools(self) -> PoolsPage:
        return msgspec.msgpack.decode(self.pages[self.layout.pools], type=PoolsPage)

    @property
    def marks(self) -> tuple[MarkRecord, ...]:
        return msgspec.msgpack.decode(self.pages[self.layout.marks], type=MarksPage)


# ---- operators


def order(h: Harness, wish: Message) -> Message:
    """Give an order; return its answer, which comes with the next version of the snapshot."""
    commands = [*h.feed(OrderGiven(7, wish)), *h.advance(20 * MS)]
    [answer] = [c for c in commands if isinstance(c, Answer)]
    assert answer.ticket == 7
    return answer.message


def done(h: Harness, wish: Message) -> OrderDone:
    """Give an order that must be carried out."""
    answer = order(h, wish)
    assert isinstance(answer, OrderDone), answer
    return answer


def refused(h: Harness, wish: Message) -> str:
    """Give an order that must not be; return the code."""
    answer = order(h, wish)
    assert isinstance(answer, Error), answer
    return answer.error.code


def away(h: Harness, node_id: str, *others: Connection) -> None:
    """A node loses its connection and is Offline, while others go on."""
    connection = h.node(node_id).connection
    assert connection is not None
    h.lose(connection)
    for _ in range(20):
        h.advance(1 * SECOND)
        for other in others:
            h.beat(other)
    assert h.state(node_id) is NodeState.OFFLINE
