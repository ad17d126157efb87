"""One real worker core in a fleet of any size, with nodes and clients by hand.

What a manager would publish is written by the same writer and the same pool planner, without the
registration of each node.  Time is virtual; every step is one turn of the worker.  The memory is
shared with processes that are forked: each may `become` another worker of the same host.
"""

from collections.abc import Callable, Sequence
from mmap import mmap
from random import Random
from time import perf_counter_ns

from msgspec.structs import replace

from pointsman_shm.config import Config, JobsConfig, NodesConfig, PoolsConfig
from pointsman_shm.memory.catalog_layout import ROWS_PER_NODE_PAGE, CatalogLayout
from pointsman_shm.memory.catalog_reader import CatalogReader
from pointsman_shm.memory.catalog_writer import CatalogWriter
from pointsman_shm.memory.ledger import Ledger, OwnLedger
from pointsman_shm.memory.rows import NodeRows, NodeState, RowFlag, pack_load, pack_standing
from pointsman_shm.memory.stats import StatsPage
from pointsman_shm.memory.waiting import WaitingWords
from pointsman_shm.rules.canonical import canonical_class
from pointsman_shm.rules.pool_planner import PoolPlanner
from pointsman_shm.snapshot import codec
from pointsman_shm.snapshot.records import (
    CapabilityClass,
    ConfigPage,
    LanguageAbility,
    NmtAbility,
    NodeRecord,
)
from pointsman_wire.lane_messages import Assign, LaneOpen, LaneReport, NodeResult
from pointsman_wire.link import Accepted, Connection, Received, Send
from pointsman_wire.preamble import Preamble, Role
from pointsman_wire.session_messages import ResultAck, SessionInit, Submit
from pointsman_wire.tickets import lane_ticket
from pointsman_workers.core.core import WorkerCore
from pointsman_workers.core.setup import WorkerMemory, WorkerSetup

STEP_NS = 100_000
BEAT_NS = 100_000_000
KEY = bytes(32)
SLOTS = 4
SESSIONS = 64
TRUNK = Connection(1)
FIRST_LANE = 2
# Of ten nodes so many speak these languages, every pair of them, and do all that speech needs.
LANGUAGES = (("en", "es"),) * 6 + (("en", "es", "fr"),) * 2 + (("de", "en"),) * 2


def capability(languages: Sequence[str]) -> CapabilityClass:
    """The class of a node that does speech in these languages."""
    spoken = tuple(languages)
    types = ("asr", "nmt", "tts")
    return canonical_class(
        CapabilityClass(
            types_installed=types,
            types_ready=types,
            languages=LanguageAbility(asr=spoken, tts=spoken, nmt=NmtAbility("any_to_any", spoken)),
        )
    )


class Dispatch:
    """A worker, its fleet, and one trunk with some sessions."""

    jobs = JobsConfig()

    def __init__(
        self,
        node_count: int,
        worker_count: int = 2,
        slots: int = SLOTS,
        sample_size: int = 8,
        languages: Sequence[Sequence[str]] = LANGUAGES,
    ) -> None:
        self.node_count = node_count
        self._languages = languages  # of one node after the other, in turn
        self.worker_count = worker_count
        self._slots = slots
        self.now_ns = BEAT_NS
        self.stopwatch: Callable[[], int] = perf_counter_ns  # the core's own
        self.random = Random(node_count)
        self._request_count = 0
        self._away = -1  # the row of the node that has left
        self._result_numbers: list[int] = []
        self._read_results: dict[int, int] = {}
        layout = self._layout = CatalogLayout(node_count)
        # Mapped, so that what is never touched costs nothing.
        self._catalog = memoryview(mmap(-1, layout.size))
        self._writer = CatalogWriter(self._catalog, layout, create=True)
        rows = memoryview(mmap(-1, NodeRows.size(node_count)))
        self.rows = NodeRows(rows, max_nodes=node_count, create=True)
        size = Ledger.size(max_nodes=node_count, worker_count=worker_count)
        self.ledger = Ledger(
            memoryview(mmap(-1, size)), max_nodes=node_count, worker_count=worker_count, create=True
        )
        waiting = memoryview(mmap(-1, WaitingWords.size(worker_count)))
        self._waiting = WaitingWords(waiting, worker_count=worker_count, create=True)
        self._config = Config(
            nodes=NodesConfig(max_nodes=node_count),
            pools=PoolsConfig(sample_size=sample_size),
            jobs=self.jobs,
        )
        self._planner = PoolPlanner(self._config.pools)
        self._classes = sorted({capability(spoken) for spoken in languages}, key=str)
        self._records = [self._enter(row) for row in range(node_count)]
        self._publish_all()
        self.become(0, OwnLedger(self.ledger, 0))

    def become(self, worker_index: int, own_ledger: OwnLedger) -> None:
        """Be this worker from now on, with lanes to all nodes and nothing in flight."""
        self._result_numbers = [0] * self.node_count
        self._read_results = {}
        self.core = WorkerCore(self._setup(worker_index, own_ledger))
        self._connect()

    def _setup(self, worker_index: int, own_ledger: OwnLedger) -> WorkerSetup:
        memory = WorkerMemory(
            layout=self._layout,
            catalog=CatalogReader(self._catalog, self._layout),
            rows=self.rows,
            ledger=self.ledger,
            own_ledger=own_ledger,
            waiting=self._waiting,
            stats=StatsPage(bytearray(StatsPage.size()), create=True),
        )
        return WorkerSetup(
            config=self._config,
            memory=memory,
            worker_index=worker_index,
            worker_count=self.worker_count,
            instance="bench",
            instance_uid="bench",
            epoch=1,
            ticket_key=KEY,
            entropy=self.random.randbytes,
            stopwatch=lambda: self.stopwatch(),
        )

    # ---- what the manager does

    def _enter(self, row: int) -> NodeRecord:
        made = capability(self._languages[row % len(self._languages)])
        number = self._classes.index(made)
        node_id = f"node-{row:06}"
        pools = self._planner.add(node_id, number, made, is_ready=True)[node_id]
        record = NodeRecord(row, 1, 1, number, node_id, pools, self._slots)
        self.stand(record, NodeState.READY)
        self.rows.load[row] = pack_load(cpu=10, gpu=255, gpu_memory=255, memory=10, foreign=0)
        return record

    def stand(self, record: NodeRecord, state: NodeState) -> None:
        """Write the standing word of a node."""
        self.rows.standing[record.row] = pack_standing(
            generation=record.generation,
            class_number=record.class_number,
            state=state,
            flags=RowFlag.PUBLIC,
            slots_max=record.slots_max,
        )

    def _node_page(self, page: int) -> bytes:
        first = page * ROWS_PER_NODE_PAGE
        return codec.encode_nodes(self._records[first : first + ROWS_PER_NODE_PAGE])

    def _publish_all(self) -> None:
        pages = {page: self._node_page(page) for page in range(self._layout.node_page_count)}
        pages[self._layout.class_page(0)] = codec.encode_classes(0, self._classes)
        pages[self._layout.config] = codec.encode_config(
            ConfigPage(pools=self._config.pools, catalogue=self._config.catalogue)
        )
        pages[self._layout.pools] = codec.encode_pools(self._planner.page())
        self._writer.publish(pages, self.now_ns)

    def change_a_node(self) -> None:
        """Somebody leaves, or comes back the next time: its pools, their counts, a publish."""
        row = self.random.randrange(self.node_count) if self._away < 0 else self._away
        record = self._records[row]
        self._away = row if record.pools else -1
        if record.pools:
            self._planner.remove(record.node_id)
            pools: tuple[int, ...] = ()
            self.stand(record, NodeState.DEGRADED)
        else:
            made = self._classes[record.class_number]
            moves = self._planner.add(record.node_id, record.class_number, made, is_ready=True)
            pools = moves[record.node_id]
            self.stand(record, NodeState.READY)
        self._records[row] = replace(record, pools=pools)
        page = row // ROWS_PER_NODE_PAGE
        pools_page = codec.encode_pools(self._planner.page())
        changed = {page: self._node_page(page), self._layout.pools: pools_page}
        self._writer.publish(changed, self.now_ns)

    # ---- what nodes and clients do

    def step(self, *events: object) -> list[Send]:
        """One turn of the worker; returns what it sends."""
        self.now_ns += STEP_NS
        if self.now_ns % BEAT_NS < STEP_NS:
            self._writer.beat(self.now_ns)
        return [command for command in self.core.step(self.now_ns, events) if type(command) is Send]

    def _connect(self) -> None:
        self.step(Accepted(TRUNK, Preamble(Role.TRUNK, None)))
        inits = [SessionInit(ref=ref) for ref in range(SESSIONS)]
        self.step(Received(TRUNK, [(init, b"") for init in inits]))
        self.open_lanes()

    def open_lanes(self) -> None:
        """Let every node open its lane to this worker."""
        for record in self._records:
            lane = Connection(FIRST_LANE + record.row)
            ticket = lane_ticket(KEY, (record.node_id, record.row, 1, 1))
            opened = LaneOpen(
                node_id=record.node_id, row=record.row, generation=1, epoch=1, ticket=ticket
            )
            self.core.step(
                self.now_ns,
                (
                    Accepted(lane, Preamble(Role.LANE, 0)),
                    Received(lane, [(opened, b""), (LaneReport(), b"")]),
                ),
            )
        self.step()

    def submit(self) -> list[Send]:
        """A client submits a job for a pair that eight of ten nodes can do."""
        self._request_count += 1
        job = Submit(
            session_number=self._request_count % SESSIONS,
            request_id=f"r-{self._request_count}",
            services=["nmt"],
            src_lang="en",
            tgt_lang="es",
        )
        return self.step(Received(TRUNK, [(job, b"x" * 200)]))

    @staticmethod
    def row_of(lane: Connection) -> int:
        """Return whose lane this is."""
        return lane - FIRST_LANE

    def result_of(self, assignment: Send) -> NodeResult:
        """Return the next result of a node: for this assignment."""
        job, row = assignment.message, self.row_of(assignment.connection)
        assert isinstance(job, Assign), job
        self._result_numbers[row] += 1
        return NodeResult(
            number=self._result_numbers[row], job_id=job.job_id, epoch=1, dispatch=job.dispatch
        )

    def end(self, assignment: Send) -> list[Send]:
        """The node of an assignment gives its result, and the client reads the job's."""
        job, lane = assignment.message, assignment.connection
        assert isinstance(job, Assign), job
        sent = self.step(Received(lane, [(self.result_of(assignment), b"y" * 200)]))
        number = int(job.request_id[2:]) % SESSIONS
        self._read_results[number] = self._read_results.get(number, 0) + 1
        acknowledged = ResultAck(results=[(number, self._read_results[number])])
        return sent + self.step(Received(TRUNK, [(acknowledged, b"")]))
