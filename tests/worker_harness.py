"""A worker core on heap memory, a pretended manager beside it, and nodes and clients by hand.

Time is a number that `advance` moves.  `feed` gives the core events and returns its commands;
what it sends is kept by connection, so a story reads: the client submits, the node gets.
"""

from collections.abc import Iterable
from itertools import count
from mmap import mmap
from random import Random
from typing import TypeVar

from fleet_samples import speech_class
from host_pages import HostPages
from msgspec.structs import replace

from pointsman_shm.config import Config
from pointsman_shm.config_live import tenant_places
from pointsman_shm.memory.catalog_layout import CatalogLayout
from pointsman_shm.memory.catalog_reader import CatalogReader
from pointsman_shm.memory.catalog_writer import CatalogWriter
from pointsman_shm.memory.ledger import Ledger, OwnLedger
from pointsman_shm.memory.rows import NodeRows, NodeState, RowFlag, pack_load, pack_standing
from pointsman_shm.memory.stats import StatsPage
from pointsman_shm.memory.waiting import WaitingWords
from pointsman_shm.rules.pool_planner import PoolPlanner
from pointsman_shm.snapshot.records import (
    CapabilityClass,
    InstanceRecord,
    MarkRecord,
    NodeRecord,
    OrdersRecord,
)
from pointsman_wire.lane_messages import (
    Assign,
    AssignAck,
    JobFence,
    LaneOpen,
    LanePing,
    LanePong,
    LaneReport,
    NodeResult,
    NodeResultAck,
)
from pointsman_wire.link import Accepted, Close, Closed, Connection, Received, Send
from pointsman_wire.messages import Message
from pointsman_wire.preamble import Preamble, Role, Secured
from pointsman_wire.session_messages import Cancel, SessionInit, SessionInitAck, Submit
from pointsman_wire.tickets import lane_ticket
from pointsman_workers.core.core import WorkerCore
from pointsman_workers.core.events import WriteJournal
from pointsman_workers.core.outbox import ACK_DELAY_NS
from pointsman_workers.core.setup import WorkerMemory, WorkerSetup
from pointsman_workers.journal.entries import AnyEntry

SECOND_NS = 1_000_000_000
TICKET_KEY = b"k" * 32
CERTIFIED = Secured(name="node", key_digest=b"d" * 32)
M = TypeVar("M", bound=Message)


def shared_config(**sections: object) -> Config:
    """A small configuration; pass whole sections to change them."""
    return Config(**sections)  # type: ignore[arg-type]


class Host:
    """The shared memory of one host and what its manager would write into it."""

    def __init__(self, config: Config, *, worker_count: int = 1, max_nodes: int = 64) -> None:
        self.config = config
        self.places = tenant_places(config.tenants.listed)
        self.worker_count = worker_count
        self.max_nodes = max_nodes
        self.layout = CatalogLayout(max_nodes)
        # Mapped, so that pages of the catalog that nobody touches cost nothing.
        self.catalog_bytes = memoryview(mmap(-1, self.layout.size))
        self.rows_bytes = bytearray(NodeRows.size(max_nodes))
        self.ledger_bytes = bytearray(Ledger.size(max_nodes=max_nodes, worker_count=worker_count))
        self.waiting_bytes = bytearray(WaitingWords.size(worker_count))
        self.writer = CatalogWriter(self.catalog_bytes, self.layout, create=True)
        self.rows = NodeRows(self.rows_bytes, max_nodes=max_nodes, create=True)
        self.ledger = Ledger(
            self.ledger_bytes, max_nodes=max_nodes, worker_count=worker_count, create=True
        )
        WaitingWords(self.waiting_bytes, worker_count=worker_count, create=True)
        self.planner = PoolPlanner(config.pools)
        self.records: dict[int, NodeRecord] = {}
        self.classes: list[CapabilityClass] = []
        self.marks: list[MarkRecord] = []
        self.instances: tuple[InstanceRecord, ...] = ()  # the others
        self.orders = OrdersRecord()

    def memory(self, worker_index: int) -> WorkerMemory:
        """What one worker maps."""
        ledger = Ledger(self.ledger_bytes, max_nodes=self.max_nodes, worker_count=self.worker_count)
        return WorkerMemory(
            layout=self.layout,
            catalog=CatalogReader(self.catalog_bytes, self.layout),
            rows=NodeRows(memoryview(self.rows_bytes).toreadonly(), max_nodes=self.max_nodes),
            ledger=ledger,
            own_ledger=OwnLedger(ledger, worker_index),
            waiting=WaitingWords(self.waiting_bytes, worker_count=self.worker_count),
            stats=StatsPage(bytearray(StatsPage.size()), create=True),
        )

    def node(
        self,
        row: int,
        capability: CapabilityClass | None = None,
        *,
        slots: int = 1,
        state: NodeState = NodeState.READY,
        generation: int = 1,
    ) -> NodeRecord:
        """Put a node into a row, or change it; it is seen after the next publish."""
        capability = capability or speech_class("en", "es")
        if capability not in self.classes:
            self.classes.append(capability)
        number = self.classes.index(capability)
        node_id = f"node-{row}"
        moves = self.planner.add(node_id, number, capability, is_ready=state is NodeState.READY)
        record = NodeRecord(row, generation, 1, number, node_id, moves.pop(node_id), slots)
        self.records[row] = record
        self.rows.epoch[row] = record.epoch
        if state is NodeState.OFFLINE:
            moves |= {**self.planner.remove(node_id), node_id: ()}
        for moved_id, pools in moves.items():
            moved = int(moved_id.removeprefix("node-"))
            self.records[moved] = replace(self.records[moved], pools=pools)
        self.stand(row, state=state)
        return self.records[row]

    def stand(
        self, row: int, *, state: NodeState = NodeState.READY, flags: RowFlag = RowFlag.PUBLIC
    ) -> None:
        """Write the standing word of a row."""
        record = self.records[row]
        self.rows.standing[row] = pack_standing(
            generation=record.generation,
            class_number=record.class_number,
            state=state,
            flags=flags,
            slots_max=record.slots_max,
        )

    def burden(self, row: int, *, foreign: int) -> None:
        """Say that a node runs jobs of others."""
        self.rows.load[row] = pack_load(cpu=10, gpu=255, gpu_memory=255, memory=10, foreign=foreign)

    def publish(self, now_ns: int) -> None:
        """Publish everything."""
        self.places = tenant_places(self.config.tenants.listed, self.places)
        content = HostPages(
            self.config, self.planner, self.records, self.classes, self.marks, self.instances
        )._replace(places=self.places, orders=self.orders)
        self.writer.publish(content.encode(self.layout), now_ns)


class WorkerHarness:
    """One worker of a host."""

    def __init__(
        self,
        host: Host,
        *,
        worker_index: int = 0,
        epoch: int = 1,
        now_ns: int = SECOND_NS,
        instance: str = "test",
        **journal: object,
    ) -> None:
        self.host = host
        self.now_ns = now_ns
        self.epoch = epoch
        self.sent: dict[Connection, list[tuple[Message, bytes]]] = {}
        self.commands: list[object] = []
        self.closed: list[Connection] = []
        # Nodes answer pings while time passes, unless a story is about those that do not.
        self.answers_pings = True
        self._pongs: list[Received] = []
        self._connections = count(100 * worker_index + 1)
        # No life draws an id of another.
        random = Random(f"{instance} {1_000 * (epoch - 1) + worker_index}")
        setup = WorkerSetup(
            config=host.config,
            memory=host.memory(worker_index),
            worker_index=worker_index,
            worker_count=host.worker_count,
            instance=instance,
            instance_uid=f"uid-{instance}" if instance != "test" else "uid",
            epoch=epoch,
            ticket_key=TICKET_KEY,
            entropy=random.randbytes,
            stopwatch=lambda: 0,
            **journal,  # type: ignore[arg-type]
        )
        self.core = WorkerCore(setup)

    def feed(self, *events: object) -> list[object]:
        """One step."""
        commands = self.core.step(self.now_ns, events)
        self.commands += commands
        for command in commands:
            if isinstance(command, Send) and isinstance(command.message, LanePing):
                self._pinged(command.connection, command.message)
            elif isinstance(command, Send):
                self.sent.setdefault(command.connection, []).append(
                    (command.message, command.payload)
                )
            elif isinstance(command, Close):
                self.closed.append(command.connection)
        return commands

    def advance(self, seconds: float) -> None:
        """Let time pass, stepping whenever the core wants to."""
        end_ns = self.now_ns + int(seconds * SECOND_NS)
        while (due_ns := self.core.next_deadline_ns()) <= end_ns:
            self.now_ns = max(self.now_ns, due_ns)
            self.feed()
            if self._pongs:
                pongs, self._pongs = self._pongs, []
                self.feed(*pongs)
        self.now_ns = end_ns

    def _pinged(self, connection: Connection, ping: LanePing) -> None:
        if self.answers_pings:
            self._pongs.append(Received(connection, [(LanePong(number=ping.number), b"")]))
        else:
            self.sent.setdefault(connection, []).append((ping, b""))

    def entries(self) -> list[AnyEntry]:
        """Everything that was written to the journal, in order."""
        writes = [command for command in self.commands if isinstance(command, WriteJournal)]
        return [entry for write in writes for entry in write.entries]

    def take(self, connection: Connection, kind: type[M]) -> list[M]:
        """All messages of a type that were sent on a connection, removed from the record."""
        kept, found = [], []
        for message, payload in self.sent.get(connection, []):
            if isinstance(message, kind):
                found.append(message)
            else:
                kept.append((message, payload))
        self.sent[connection] = kept
        return found

    def one(self, connection: Connection, kind: type[M]) -> M:
        """The only message of a type that was sent on a connection."""
        found = self.take(connection, kind)
        assert len(found) == 1, (kind, found, self.sent.get(connection))
        return found[0]

    def receive(self, connection: Connection, message: Message, payload: bytes = b"") -> None:
        """The worker reads one frame."""
        self.feed(Received(connection, [(message, payload)]))

    def dial(self, role: Role, secured: Secured | None = None) -> Connection:
        """Somebody dials in."""
        connection = Connection(next(self._connections))
        self.feed(Accepted(connection, Preamble(role, None, secured=secured)))
        return connection

    def open_session(self, session_id: str = "", **init: object) -> "Client":
        """A client dials in and opens a session."""
        connection = self.dial(Role.SESSION)
        message = SessionInit(session_id=session_id, **init)  # type: ignore[arg-type]
        self.receive(connection, message)
        return Client(self, connection, self.one(connection, SessionInitAck))

    def open_lane(
        self,
        row: int,
        *,
        running: list[JobFence] | None = None,
        epoch: int = 1,
        report: LaneReport | None = None,
    ) -> "Node":
        """A node opens its lane and reports."""
        record = self.host.records[row]
        needs_key = self.host.config.auth.loopback == "required"
        connection = self.dial(Role.LANE, CERTIFIED if needs_key else None)
        place = (record.node_id, row, record.generation, epoch)
        proof = CERTIFIED.key_digest if needs_key else b""
        ticket = lane_ticket(TICKET_KEY, place, proof)
        name, generation = record.node_id, record.generation
        opening = LaneOpen(node_id=name, row=row, generation=generation, epoch=epoch, ticket=ticket)
        self.receive(connection, opening)
        self.receive(connection, report or LaneReport(running=running or []))
        return Node(self, connection, row)

    def node(self, row: int) -> "Node":
        """The node whose lane is open for a row; it has given no result so far."""
        connection = self.core.shard.lanes[row].connection
        assert connection is not None
        return Node(self, connection, row)

    def held(self, row: int) -> int:
        """Slots of a row that the ledger counts, over all workers."""
        return self.host.ledger.held(row)


class Client:
    """A client's connection with one session."""

    def __init__(self, harness: WorkerHarness, connection: Connection, ack: SessionInitAck) -> None:
        self.harness = harness
        self.connection = connection
        self.ack = ack

    def submit(self, request_id: str, payload: bytes = b"hello", **fields: object) -> None:
        """Submit one job, by default a translation from English to Spanish."""
        wanted = {"services": ["nmt"], "src_lang": "en", "tgt_lang": "es", **fields}
        submit = Submit(request_id=request_id, **wanted)  # type: ignore[arg-type]
        self.harness.receive(self.connection, submit, payload)

    def all(self, kind: type[M]) -> list[M]:
        """What the client got of a type."""
        return self.harness.take(self.connection, kind)

    def one(self, kind: type[M]) -> M:
        """The one message of a type that the client got."""
        return self.harness.one(self.connection, kind)

    def cancel(self, request_id: str) -> None:
        """Ask for an end of a job."""
        message = Cancel(session_number=self.ack.session_number, request_id=request_id)
        self.harness.receive(self.connection, message)

    def hang_up(self) -> None:
        """The connection breaks."""
        self.harness.feed(Closed(self.connection))


class Node:
    """A node's lane."""

    def __init__(self, harness: WorkerHarness, connection: Connection, row: int) -> None:
        self.harness = harness
        self.connection = connection
        self.row = row
        self._results = count(1)

    def assignments(self) -> list[Assign]:
        """Jobs that arrived since the last look."""
        return self.harness.take(self.connection, Assign)

    def assignment(self) -> Assign:
        """The one job that arrived."""
        return self.harness.one(self.connection, Assign)

    def acknowledge(self, number: int) -> None:
        """Say that assignments up to this number have started."""
        self.harness.receive(self.connection, AssignAck(number=number))

    def end(self, job: Assign, payload: bytes = b"hola", **fields: object) -> None:
        """Give a result."""
        result = self._result(job.job_id, job.dispatch, **fields)
        self.harness.receive(self.connection, result, payload)

    def end_together(self, jobs: Iterable[Assign]) -> None:
        """Give results that the worker reads in one step."""
        results = [(self._result(job.job_id, job.dispatch), b"hola") for job in jobs]
        self.harness.feed(Received(self.connection, [*results]))

    def end_fence(self, fence: JobFence, payload: bytes) -> None:
        """Give the result of a dispatch, of this worker or of its predecessor."""
        result = self._result(fence.job_id, fence.dispatch, epoch=fence.epoch)
        self.harness.receive(self.connection, result, payload)

    def _result(self, job_id: str, dispatch: int, **fields: object) -> NodeResult:
        fields = {"epoch": self.harness.epoch, **fields}
        number = next(self._results)
        return NodeResult(number=number, job_id=job_id, dispatch=dispatch, **fields)  # type: ignore[arg-type]

    def acknowledgement(self) -> NodeResultAck:
        """What the node hears of its results within the time that this may take."""
        self.harness.advance(ACK_DELAY_NS / SECOND_NS)
        return self.harness.one(self.connection, NodeResultAck)

    def hang_up(self) -> None:
        """The lane breaks."""
        self.harness.feed(Closed(self.connection))


def one_node(slots: int = 1, **config: object) -> tuple[Host, WorkerHarness]:
    """A host with one node and one worker that has settled."""
    host = Host(Config(**config))  # type: ignore[arg-type]
    host.node(3, slots=slots)
    host.publish(SECOND_NS)
    harness = WorkerHarness(host)
    harness.feed()
    return host, harness


def chosen(nodes: dict[int, Node]) -> tuple[Node, Assign]:
    """The node that got the one job, and the job."""
    got = [(node, job) for node in nodes.values() for job in node.assignments()]
    assert len(got) == 1, got
    return got[0]
