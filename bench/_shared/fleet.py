"""A whole fleet in one process: the real manager core, told of nodes by events, on heap memory.

Time is virtual, so a fleet joins as fast as the core can take it; what turns cost is measured in
CPU time of the thread, which a busy neighbour on the machine does not lengthen much.
"""

from collections.abc import Sequence
from time import thread_time_ns

from pointsman_sched.core.events import ConfigOffered, Record, Recorded
from pointsman_sched.core.joining.lobby import REGISTRATIONS_PER_TURN
from pointsman_sched.core.manager_core import ManagerCore
from pointsman_sched.core.setup import ManagerSetup, SharedMemory
from pointsman_shm.config import Config, NodesConfig
from pointsman_shm.memory.catalog_layout import CatalogLayout
from pointsman_shm.memory.catalog_reader import CatalogReader
from pointsman_shm.memory.catalog_writer import CatalogWriter
from pointsman_shm.memory.ledger import Ledger, OwnLedger
from pointsman_shm.memory.rows import NodeRows
from pointsman_shm.memory.stats import StatsPage
from pointsman_shm.memory.waiting import WaitingWords
from pointsman_wire.control_messages import Heartbeat, LanesReady, Register, Registered, Service
from pointsman_wire.control_messages import Translation as Nmt
from pointsman_wire.link import Accepted, Connection, Received, Send
from pointsman_wire.messages import Message
from pointsman_wire.preamble import Preamble, Role
from pointsman_workers.core.setup import WorkerMemory

MILLISECOND_NS = 1_000_000
PUBLISH_NS = 20 * MILLISECOND_NS
START_NS = 1_000_000 * MILLISECOND_NS
NODES_PER_TURN = REGISTRATIONS_PER_TURN
CLASSES_MAX = 4096
QUIET_S = 3600.0  # between heartbeats, so that turns hold only what is measured

SERVICES = [
    Service(id="asr-1", kind="asr", version="1"),
    Service(id="nmt-1", kind="nmt", version="1"),
    Service(id="tts-1", kind="tts", version="1"),
]


class Fleet:
    """A manager core and the memory that it writes and workers read.

    With `has_equal_nodes` all nodes are of one capability class, else node k of class k modulo
    4,096.  Every turn of the core is kept: `event_turns_ns` of those that took what nodes said,
    `publish_turns_ns` of those that then published.
    """

    def __init__(self, node_count: int, *, has_equal_nodes: bool) -> None:
        self.node_count = node_count
        self.now_ns = START_NS
        self.event_turns_ns: list[int] = []
        self.publish_turns_ns: list[int] = []
        self._has_equal_nodes = has_equal_nodes
        self._keys: dict[int, str] = {}
        self._entropy_count = 0
        self._layout = CatalogLayout(node_count)
        self._catalog = bytearray(self._layout.size)
        self._rows = bytearray(NodeRows.size(node_count))
        self._ledger = bytearray(Ledger.size(max_nodes=node_count, worker_count=1))
        self.core = ManagerCore(self._setup())

    def _setup(self) -> ManagerSetup:
        count = self.node_count
        memory = SharedMemory(
            layout=self._layout,
            catalog=CatalogWriter(self._catalog, self._layout, create=True),
            rows=NodeRows(self._rows, max_nodes=count, create=True),
            ledger=Ledger(self._ledger, max_nodes=count, worker_count=1, create=True),
            waiting=WaitingWords(
                bytearray(WaitingWords.size(worker_count=1)), worker_count=1, create=True
            ),
            stats=StatsPage(bytearray(StatsPage.size()), create=True),
            worker_stats=(StatsPage(bytearray(StatsPage.size()), create=True),),
        )
        return ManagerSetup(
            config=Config(nodes=self.nodes_config),
            memory=memory,
            started_at_ns=self.now_ns,
            worker_count=1,
            ticket_key=bytes(32),
            entropy=self._entropy,
        )

    @property
    def nodes_config(self) -> NodesConfig:
        """What the configuration says of nodes, at the start and in every other one."""
        return NodesConfig(max_nodes=self.node_count, heartbeat_interval_s=QUIET_S)

    def _entropy(self, size: int) -> bytes:
        self._entropy_count += 1
        return self._entropy_count.to_bytes(size, "little")

    # ---- what nodes do

    def join_all(self) -> None:
        """Let every node register, open its lanes and beat once, some in every turn."""
        for start in range(0, self.node_count, NODES_PER_TURN):
            numbers = range(start, min(start + NODES_PER_TURN, self.node_count))
            dialled = [Accepted(_control(n), Preamble(Role.CONTROL, None)) for n in numbers]
            self.core.step(self.now_ns, dialled)
            self._say_all(
                [(n, [self._declaration(n, 4), LanesReady(), Heartbeat()]) for n in numbers]
            )
            self._publish()
        while self.core.state.dirty:
            self._publish()

    def change_one(self, number: int, slots: int) -> tuple[int, int]:
        """Let one node register again with another number of slots, and publish.

        Returns what the turn took that heard of it, and the turn that published it, in ns.
        """
        self._say_all([(number, [self._declaration(number, slots), LanesReady(), Heartbeat()])])
        self._publish()
        return self.event_turns_ns[-1], self.publish_turns_ns[-1]

    # ---- what an operator does

    def offer(self, config: Config) -> None:
        """Offer another configuration, which the core puts in force in the turns that follow."""
        self.core.step(self.now_ns, [ConfigOffered(1, "bench", config)])
        assert self.is_rebuilding, "there was nothing to be rebuilt"

    @property
    def is_rebuilding(self) -> bool:
        """Is a configuration offered that is not in force yet?"""
        return self.core.state.rebuild is not None

    def beat(self, numbers: Sequence[int]) -> int:
        """Let these nodes beat in one turn, a millisecond later; return its nanoseconds."""
        self.now_ns += MILLISECOND_NS
        beats = [Received(_control(n), [(Heartbeat(cpu_percent=10.0), b"")]) for n in numbers]
        began_ns = thread_time_ns()
        self.core.step(self.now_ns, beats)
        return thread_time_ns() - began_ns

    def _declaration(self, number: int, slots: int) -> Register:
        kind = 0 if self._has_equal_nodes else number % CLASSES_MAX
        return Register(
            node_id=f"node-{number:06}",
            key=self._keys.get(number, ""),
            services=SERVICES,
            asr=["en"],
            tts=["es"],
            nmt=Nmt(pairs=[("en", "es")]),
            max_concurrency=slots,
            labels={"kind": f"k{kind:04}"},
        )

    def _say_all(self, said: Sequence[tuple[int, Sequence[Message]]]) -> None:
        events = [
            Received(_control(number), [(message, b"") for message in messages])
            for number, messages in said
        ]
        began_ns = thread_time_ns()
        commands = self.core.step(self.now_ns, events)
        self.event_turns_ns.append(thread_time_ns() - began_ns)
        self._keep_keys(commands)

    def _keep_keys(self, commands: Sequence[object]) -> None:
        """Answer as a quick disk would, and keep the keys that nodes are told."""
        records = [command.number for command in commands if isinstance(command, Record)]
        if not records:
            return
        for command in self.core.step(self.now_ns, [Recorded(records[-1])]):
            message = command.message if isinstance(command, Send) else None
            if isinstance(command, Send) and isinstance(message, Registered) and message.key:
                self._keys[command.connection - 1] = message.key

    def _publish(self) -> None:
        """Let the time pass after which the core may publish again."""
        self.now_ns += PUBLISH_NS
        began_ns = thread_time_ns()
        commands = self.core.step(self.now_ns, ())
        self.publish_turns_ns.append(thread_time_ns() - began_ns)
        self._keep_keys(commands)

    # ---- what workers see

    def worker_memory(self) -> WorkerMemory:
        """Return the view of a worker that attaches now and has read nothing yet."""
        count = self.node_count
        ledger = Ledger(self._ledger, max_nodes=count, worker_count=1)
        waiting = WaitingWords(bytearray(WaitingWords.size(1)), worker_count=1, create=True)
        return WorkerMemory(
            layout=self._layout,
            catalog=CatalogReader(self._catalog, self._layout),
            rows=NodeRows(self._rows, max_nodes=count),
            ledger=ledger,
            own_ledger=OwnLedger(ledger, 0),
            waiting=waiting,
            stats=StatsPage(bytearray(StatsPage.size()), create=True),
        )


def _control(number: int) -> Connection:
    return Connection(number + 1)
