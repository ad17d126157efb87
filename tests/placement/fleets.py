"""Fleets and requests for Hypothesis, and a real worker core that stands in such a fleet."""

from typing import TypeVar

from hypothesis import strategies as st
from msgspec.structs import replace
from placement.reference import Fact, World
from placement.reference_pools import Bound, Plan
from placement.reference_rules import Wish
from worker_harness import SECOND_NS, Client, Host, Node, WorkerHarness

from pointsman_shm.config import Config, NodesConfig, PoolConfig, PoolsConfig
from pointsman_shm.memory.rows import NodeState, RowFlag
from pointsman_shm.rules.canonical import canonical_class
from pointsman_shm.snapshot.records import (
    CapabilityClass,
    LanguageAbility,
    MarkRecord,
    NmtAbility,
)
from pointsman_wire.lane_messages import Assign
from pointsman_wire.messages import Error, ErrorInfo
from pointsman_wire.session_messages import JobAccepted

T = TypeVar("T")

LANGUAGES = ("en", "zh", "de", "en-us", "zh-CN")
SERVICES = ("asr", "nmt", "tts", "tone", "semantic")
FEATURES = ("emotion_detection", "speaker_identification")
LABELS = (("zone", "a"), ("zone", "b"), ("disk", "fast"))
TENANTS = ("", "acme", "other")
PAIRS = tuple((src, tgt) for src in ("en", "zh", "de") for tgt in ("en", "zh", "de") if src != tgt)
MAX_NODES = 12


def some(values: tuple[T, ...], most: int = 9) -> st.SearchStrategy[tuple[T, ...]]:
    """Some of the values, each once."""
    return st.lists(st.sampled_from(values), unique=True, max_size=most).map(tuple)


def mostly(value: T, *others: T) -> st.SearchStrategy[T]:
    """Nearly always the first."""
    return st.sampled_from([value] * 3 * (len(others) + 2) + list(others))


LANGUAGE_SETS = mostly(("en", "zh"), ("en", "zh", "de"), ("en",), ("de", "zh-CN"), ())
ABILITIES = st.builds(
    LanguageAbility,
    asr=LANGUAGE_SETS,
    tts=LANGUAGE_SETS,
    semantic=LANGUAGE_SETS,
    nmt=st.builds(
        NmtAbility,
        rule=mostly("any_to_any", "any_to_en", "en_to_any", "specific_pairs", ""),
        languages=LANGUAGE_SETS,
        pairs=some(PAIRS, 3),
        blocked=st.one_of(st.just(()), some(PAIRS, 1)),
    ),
)
TYPE_SETS = mostly(SERVICES, ("asr", "nmt", "tts"), ("nmt", "semantic", "tone"), ("asr",), ())


@st.composite
def classes(draw: st.DrawFn) -> CapabilityClass:
    """A capability class; more often than not one that can do something."""
    installed = draw(TYPE_SETS)
    return canonical_class(
        CapabilityClass(
            tenant=draw(mostly("", "acme")),
            public=draw(mostly(True, False)),
            gpu=draw(st.booleans()),
            types_installed=installed,
            types_ready=draw(mostly(installed, installed[1:])),
            versions=tuple((service, "1") for service in installed),
            features=draw(mostly(FEATURES, ())),
            labels=draw(some(LABELS, 2)),
            languages=draw(ABILITIES),
        )
    )


@st.composite
def facts(draw: st.DrawFn, row: int, kinds: list[CapabilityClass], now_ns: int) -> Fact:
    """A node of one of these classes, with all that can be wrong with it."""
    slots = draw(st.integers(1, 4))
    until_ns = draw(st.sampled_from((now_ns - 1, now_ns + 60 * SECOND_NS)))
    mark = (draw(st.sampled_from(SERVICES)), draw(st.sampled_from(("", "1", "2"))), until_ns)
    return Fact(
        row=row,
        capability=draw(st.sampled_from(kinds)),
        slots=slots,
        state=draw(mostly(NodeState.READY, NodeState.OFFLINE, NodeState.SUSPECT)),
        has_lane=draw(mostly(True, False)),
        is_paused=draw(mostly(False, True)),
        is_overloaded=draw(mostly(False, True)),
        held=draw(st.integers(0, slots)),
        foreign=draw(mostly(0, 1, 3)),
        marks=draw(mostly((), (mark,))),
    )


@st.composite
def pools_configs(draw: st.DrawFn) -> PoolsConfig:
    """Any way to arrange pools."""
    how = draw(st.sampled_from(("auto", "hash", "capability")))
    habit = draw(mostly("", "spread", "sticky"))
    is_auto = how == "auto"
    pools: tuple[PoolConfig, ...] = ()
    ids: tuple[int, ...] = (0, 1, 2)
    if how == "capability":
        required = st.one_of(st.just(("asr", "nmt", "tts")), some(SERVICES, 3))
        sets = draw(st.lists(required, min_size=1, max_size=3))
        pools = tuple(
            PoolConfig(id=number, name=f"p{number}", required_services=tuple(sorted(required)))
            for number, required in enumerate(sets, start=1)
        )
        ids = (0, *(pool.id for pool in pools))
    return PoolsConfig(
        enabled=draw(mostly(True, False)),
        mode=draw(mostly("two_level", "single_level")),
        pool_count=3,
        hash_seed=draw(st.integers(0, 3)),
        fallback_scan_all_pools=draw(mostly(True, False)),
        pools=pools,
        multi_pool=draw(st.booleans()),
        tenant_overrides=draw(mostly((), (("acme", draw(st.sampled_from(ids))),))),
        match_scope=draw(st.sampled_from(("core_only", "all_required"))),
        match_mode=draw(mostly("contains", "exact")),
        strict_eligibility=draw(mostly(False, True)),
        auto_language_pools=is_auto,
        sample_size=draw(st.sampled_from((1, 2, 8))),
        session_affinity=draw(st.booleans()),
        pool_choice=draw(mostly("first", "weighted")),
        node_choice=draw(mostly("best", "weighted")),
        spread=habit == "spread",
        sticky=habit == "sticky",
    )


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """A configuration and a fleet."""
    now_ns = 5 * SECOND_NS
    config = Config(
        nodes=NodesConfig(require_gpu=draw(mostly(False, True))), pools=draw(pools_configs())
    )
    kinds = draw(st.lists(classes(), min_size=1, max_size=3))
    rows = range(draw(st.one_of(st.integers(0, MAX_NODES), st.integers(3, MAX_NODES))))
    return World(
        config=config, facts=[draw(facts(row, kinds, now_ns)) for row in rows], now_ns=now_ns
    )


@st.composite
def wishes(draw: st.DrawFn) -> Wish:
    """A request."""
    names = tuple(f"node-{row}" for row in range(4))
    return Wish(
        services=draw(st.one_of(mostly(("nmt",), ()), mostly((), ("asr",)), some(SERVICES, 2))),
        features=draw(mostly((), *[(name,) for name in FEATURES])),
        src=draw(mostly("en", *LANGUAGES, "auto", "auto", "")),
        tgt=draw(mostly("zh", "en", "")),
        auto_langs=draw(mostly((), ("en",), ("de", "zh"))),
        labels=draw(mostly((), *[(label,) for label in LABELS])),
        labels_preferred=draw(mostly((), LABELS[:1], LABELS[1:])),
        tenant=draw(mostly(*TENANTS)),
        accept_public=draw(mostly(True, False)),
        preferred=draw(mostly("", *names, "nobody")),
        exclude=draw(mostly((), names[:1], names[1:3], ("nobody",))),
    )


class Stage:
    """A worker core in a fleet, its clients, and the reference beside it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.host = Host(world.config, worker_count=2, max_nodes=MAX_NODES)
        for fact in world.facts:
            self._put(fact)
        self.host.publish(world.now_ns)
        page = self.host.planner.page()
        world.number_of = {frozenset(pool.languages): pool.id for pool in page.pools}
        world.number_of.pop(frozenset(), None)
        self.harness = WorkerHarness(self.host, now_ns=world.now_ns)
        self.harness.feed()
        self.nodes: dict[int, Node] = {}
        for fact in world.facts:
            if fact.has_lane and fact.is_online:
                self.nodes[fact.row] = self.harness.open_lane(fact.row)
        self._clients: dict[str, Client] = {}
        self._request_count = 0

    def _put(self, fact: Fact) -> None:
        """Write a node into shared memory, with slots that the other worker holds."""
        self.host.node(fact.row, fact.capability, slots=fact.slots, state=fact.state)
        flags = RowFlag.PUBLIC
        flags |= RowFlag.PAUSED if fact.is_paused else RowFlag(0)
        flags |= RowFlag.OVERLOADED if fact.is_overloaded else RowFlag(0)
        flags |= RowFlag.MARKED if fact.marks else RowFlag(0)
        self.host.stand(fact.row, state=fact.state, flags=flags)
        self.host.burden(fact.row, foreign=fact.foreign)
        self.host.ledger.cells[fact.row * self.host.ledger.stride + 1] = fact.held
        self.host.marks += [
            MarkRecord(fact.row, 1, service, version, until_ns)
            for service, version, until_ns in fact.marks
        ]

    def client(self, tenant: str) -> Client:
        """The one session of a tenant."""
        if tenant not in self._clients:
            self._clients[tenant] = self.harness.open_session(tenant=tenant)
        return self._clients[tenant]

    def bound(self, tenant: str) -> Bound | None:
        """What the core has bound the session to."""
        session_id = self.client(tenant).ack.session_id
        binding = self.harness.core.shard.sessions[tenant, session_id].binding
        return Bound(binding.src, binding.tgt, binding.pool_id) if binding else None

    def plan(self, wish: Wish, bound: Bound | None) -> Plan | None:
        """What the reference says of the pools; None in single-level."""
        wish = self.routed(wish)
        return self.world.plan(wish, bound) if self.world.is_two_level() else None

    def routed(self, wish: Wish) -> Wish:
        """The same request with its session's id."""
        return replace(wish, session_id=self.client(wish.tenant).ack.session_id)

    def submit(self, wish: Wish) -> "tuple[Node, Assign] | ErrorInfo":
        """Submit without waiting; the node that got the job, or the refusal."""
        client = self.client(wish.tenant)
        self._request_count += 1
        client.submit(
            f"r-{self._request_count}",
            services=list(wish.services),
            features=list(wish.features),
            src_lang=wish.src,
            tgt_lang=wish.tgt,
            auto_langs=list(wish.auto_langs),
            labels_required=dict(wish.labels),
            labels_preferred=dict(wish.labels_preferred),
            accept_public=wish.accept_public,
            preferred_node=wish.preferred,
            exclude=list(wish.exclude),
            explain=True,
            wait_busy_s=0.0,
            wait_none_s=0.0,
        )
        placed = [(node, job) for node in self.nodes.values() for job in node.assignments()]
        errors = client.all(Error)
        assert len(placed) + len(errors) == 1, (placed, errors)
        assert len(client.all(JobAccepted)) == len(placed)
        return placed[0] if placed else errors[0].error
