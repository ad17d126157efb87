"""Random weather over the registry core: the invariants hold after every step."""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from manager_harness import MS, NMT, SECOND, Harness, config_with, registration
from msgspec.structs import replace

from pointsman_sched.core.events import (
    Answer,
    ConfigOffered,
    OrderGiven,
    WorkerGone,
    WorkerSaid,
)
from pointsman_shm.config import PoolConfig, PoolsConfig
from pointsman_shm.memory.rows import NodeState, RowFlag, unpack_standing
from pointsman_shm.uplink import ModelUnavailable, NodeZombie
from pointsman_wire.control_messages import Drain, Heartbeat, LanesReady, Leave, Service
from pointsman_wire.link import Closed, Connection, LoopWasLate, Received
from pointsman_wire.messages import Error, Message
from pointsman_wire.queries.operating_messages import (
    DrainOrder,
    PauseOrder,
    QuarantineOrder,
    ReleaseOrder,
    ResumeOrder,
    UndrainOrder,
)

ORDER = 777  # the ticket of orders
NAMES = st.sampled_from([f"n{count}" for count in range(6)])
ASR = Service(id="asr-1", kind="asr")
SERVICES = st.sampled_from([[NMT], [NMT, ASR], [ASR], []])
LANGUAGES = st.sampled_from([[], ["en"], ["en", "de"], ["zh-CN"]])
POOLS = st.sampled_from(
    [
        PoolsConfig(auto_language_pools=False, pool_count=3),
        PoolsConfig(auto_max_pools=2),
        PoolsConfig(pools=(PoolConfig(id=1, name="speech", required_services=("asr",)),)),
    ]
)


class Weather(RuleBasedStateMachine):
    """A fleet of at most four places and six names that want them."""

    @initialize(pools=POOLS)
    def begin(self, pools: PoolsConfig) -> None:
        self.h = Harness(
            config_with(pools=pools, max_nodes=4, classes_max=6, classes_per_owner_max=3)
        )
        self.connections: dict[str, list[Connection]] = {}
        self.paused: set[tuple[str, int] | None] = set()  # pools, each of a mode; None: all

    def open_connections(self, name: str) -> list[Connection]:
        peers = self.h.core.state.peers
        return [c for c in self.connections.get(name, []) if c in peers]

    @rule(name=NAMES, services=SERVICES, asr=LANGUAGES, slots=st.integers(1, 5))
    def node_joins(self, name: str, services: list[Service], asr: list[str], slots: int) -> None:
        message = registration(name, services=services, asr=asr, max_concurrency=slots)
        self.connections.setdefault(name, []).append(self.h.join(message))

    @rule(name=NAMES, is_good=st.booleans(), services=st.none() | SERVICES, lanes=st.booleans())
    def node_beats(
        self, name: str, is_good: bool, services: list[Service] | None, lanes: bool
    ) -> None:
        beat = Heartbeat(cpu_percent=10.0 if is_good else 900.0, services=services)
        messages = [LanesReady(), beat] if lanes else [beat]
        for connection in self.open_connections(name):
            self.h.feed(Received(connection, [(message, b"") for message in messages]))

    @rule(name=NAMES)
    def connection_breaks(self, name: str) -> None:
        for connection in self.open_connections(name):
            self.h.feed(Closed(connection, "reset"))

    @rule(name=NAMES, deadline_s=st.sampled_from([0.0, 2.0, 60.0]), leaves=st.booleans())
    def node_drains_or_leaves(self, name: str, deadline_s: float, leaves: bool) -> None:
        for connection in self.open_connections(name)[:1]:
            self.h.say(connection, Leave() if leaves else Drain(deadline_s=deadline_s))

    @rule(
        name=NAMES, pool=st.none() | st.integers(0, 2), lasts_s=st.sampled_from([0.0, 5.0, 600.0])
    )
    def operator_drains_or_keeps_out(self, name: str, pool: int | None, lasts_s: float) -> None:
        node_id = name if pool is None else ""
        self.order(DrainOrder(node_id=node_id, pool=pool, deadline_s=lasts_s))
        if pool == 0:
            self.order(QuarantineOrder(node_id=name, lasts_s=lasts_s + 1.0))

    @rule(name=NAMES, pool=st.none() | st.integers(0, 2))
    def operator_takes_it_back(self, name: str, pool: int | None) -> None:
        self.order(UndrainOrder(node_id=name if pool is None else "", pool=pool))
        self.order(ReleaseOrder(node_id=name))

    @rule(pool=st.none() | st.integers(0, 2))
    def operator_pauses(self, pool: int | None) -> None:
        what = self.meant(pool)
        if self.order(PauseOrder(pool=pool)):
            self.paused.add(what)

    @rule(pool=st.none() | st.integers(0, 2))
    def operator_resumes(self, pool: int | None) -> None:
        what = self.meant(pool)
        assert self.order(ResumeOrder(pool=pool)) is (what in self.paused)
        self.paused.discard(what)

    def meant(self, pool: int | None) -> tuple[str, int] | None:
        """A number means a pool of the mode that is in force."""
        return None if pool is None else (self.h.core.state.planner.mode, pool)

    def order(self, wish: Message) -> bool:
        """Give an order; return whether it was carried out."""
        commands = [*self.h.feed(OrderGiven(ORDER, wish)), *self.h.advance(20 * MS)]
        answers = [c.message for c in commands if isinstance(c, Answer) and c.ticket == ORDER]
        (answer,) = answers
        return not isinstance(answer, Error)

    @rule(pools=POOLS)
    def config_is_offered(self, pools: PoolsConfig) -> None:
        offered = replace(self.h.core.state.config, pools=pools)
        self.h.feed(ConfigOffered(1, "file.toml", offered))

    @invariant()
    def orders_stand(self) -> None:
        if not hasattr(self, "h"):
            return
        state = self.h.core.state
        assert state.pauses.is_paused is (None in self.paused)
        mode = state.planner.mode
        here = {what[1] for what in self.paused if what is not None and what[0] == mode}
        assert set(state.pauses.pools) == here
        for node in [node for node in state.nodes.by_id.values() if node.is_live]:
            shown = unpack_standing(state.setup.memory.rows.standing[node.row])
            is_paused = bool(node.flags & RowFlag.PAUSED) or state.is_paused(node)
            assert bool(shown.flags & RowFlag.PAUSED) is is_paused
            assert bool(shown.flags & RowFlag.DRAINED) is node.is_drained_by_operator
            assert not (node.is_drained_by_operator and node.state is NodeState.READY)
            assert not state.quarantine.left_ns(node.node_id, state.clock_ns)

    @rule(duration_ms=st.sampled_from([1, 25, 900, 2_500, 7_000, 61_000, 620_000]))
    def time_passes(self, duration_ms: int) -> None:
        self.h.advance(duration_ms * MS)

    @rule(late_s=st.integers(1, 700))
    def loop_is_late(self, late_s: int) -> None:
        nodes = self.h.core.state.nodes.by_id
        before = {name: node.state for name, node in nodes.items()}
        self.h.now_ns += late_s * SECOND
        self.h.feed(LoopWasLate(late_s * SECOND))
        after = {name: node.state for name, node in nodes.items()}
        assert after == before, "nobody changes because we were late"

    @rule(name=NAMES, service=st.sampled_from(["nmt", "asr"]), worker=st.integers(0, 2))
    def model_is_missing(self, name: str, service: str, worker: int) -> None:
        node = self.h.core.state.nodes.by_id.get(name)
        if node is not None:
            told = ModelUnavailable(node.row, node.generation, service, "v1")
            self.h.feed(WorkerSaid(worker, told))

    @rule(name=NAMES)
    def node_is_a_zombie(self, name: str) -> None:
        node = self.h.core.state.nodes.by_id.get(name)
        if node is not None:
            self.h.feed(WorkerSaid(0, NodeZombie(node.row, node.generation, node.epoch, "deaf")))

    @rule(row=st.integers(0, 3), count=st.integers(0, 2))
    def worker_holds(self, row: int, count: int) -> None:
        self.h.hold(1, row, count)

    @rule(is_here=st.booleans(), applies=st.booleans())
    def worker_comes_or_goes(self, is_here: bool, applies: bool) -> None:
        if applies:
            self.h.worker_applies(self.h.memory.catalog.version)
        if is_here:
            self.h.worker_arrives(0)
        else:
            self.h.feed(WorkerGone(0))

    @rule()
    def manager_is_replaced(self) -> None:
        before = self.published_ready()
        self.connections.clear()
        self.h.config = self.h.core.state.config
        self.h.start()
        self.h.feed()
        nodes = self.h.core.state.nodes.by_id
        assert before <= {n for n, node in nodes.items() if node.state is NodeState.READY}

    @rule()
    def everything_is_published(self) -> None:
        self.settle()

    def settle(self) -> None:
        """Let everything be published, also that a time is over which nobody was told of."""
        self.h.core.state.dirty.add(self.h.layout.policy)
        self.h.settle()

    def published_ready(self) -> set[str]:
        """Nodes that a reader knows and that are Ready now."""
        nodes = self.h.core.state.nodes.by_id
        known = {n: record.generation for n, record in self.h.read().nodes.items()}
        return {
            name
            for name, node in nodes.items()
            if node.state is NodeState.READY and known.get(name) == node.generation
        }

    def teardown(self) -> None:
        if hasattr(self, "h"):
            self.settle()
            self.h.advance(1_000 * SECOND)
            self.settle()
            state = self.h.core.state
            assert not state.nodes.by_id, "held for 5 minutes, remembered for 10"
            assert not state.marks.page()
            assert state.silent_count == 0


Weather.TestCase.settings = settings(
    max_examples=40,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestWeather = Weather.TestCase
