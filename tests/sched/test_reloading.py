"""Another configuration while the service runs: whole or not at all, and in one version (P13)."""

from random import Random
from typing import Any

import msgspec
import pytest
from manager_harness import MS, SECOND, WORKERS, Harness, registration
from manager_invariants import check_published

from pointsman_sched.core.events import Answer, ConfigOffered, OrderGiven
from pointsman_sched.core.orders import rebuild
from pointsman_shm.config import Config, JobsConfig, NodesConfig, PoolConfig, PoolsConfig
from pointsman_shm.memory.rows import RowFlag
from pointsman_shm.rules.catalogue import Catalogue
from pointsman_shm.rules.pools import PoolMode, capability_pools, hash_pool, satisfied_pools
from pointsman_shm.snapshot.records import ConfigPage
from pointsman_wire.control_messages import Heartbeat, HeartbeatAck, Leave, Service
from pointsman_wire.errors import Code
from pointsman_wire.link import Received
from pointsman_wire.messages import Error
from pointsman_wire.order_messages import ConfigDiff
from pointsman_wire.queries.operating_messages import DrainOrder

BUCKETS = PoolsConfig(auto_language_pools=False)
OTHER_BUCKETS = PoolsConfig(auto_language_pools=False, pool_count=5, hash_seed=3)
CAPABILITY = PoolsConfig(
    pools=(
        PoolConfig(id=7, name="hear", required_services=("asr",)),
        PoolConfig(id=9, name="translate", required_services=("nmt",)),
        PoolConfig(id=4, name="both", required_services=("asr", "nmt")),
    )
)
LANGUAGES = PoolsConfig()
SINGLE = PoolsConfig(auto_language_pools=False, mode="single_level")


def config(pools: PoolsConfig = BUCKETS, **sections: Any) -> Config:
    return Config(**{"nodes": NodesConfig(max_nodes=600), "pools": pools, **sections})


class Reloads:
    """A manager in slices so small that a fleet takes many turns."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, pools: PoolsConfig = BUCKETS) -> None:
        monkeypatch.setattr(rebuild, "ROWS_PER_TURN", 3)
        monkeypatch.setattr(rebuild, "PAGES_PER_TURN", 1)
        self.h = Harness(config(pools))
        self.seen_version = 0
        self.tickets = 0

    def join(self, count: int, *, first: int = 0) -> None:
        """Ready nodes that hear, translate, or both, in a few languages."""
        for number in range(first, first + count):
            kinds = [("asr",), ("nmt",), ("asr", "nmt")][number % 3]
            languages = [["en"], ["en", "de"], ["fr"]][number % 4 % 3]
            services = [Service(id=kind, kind=kind) for kind in kinds]
            node = registration(f"n{number:03}", services=services, asr=languages)
            self.h.make_ready(node)

    def offer(self, offered: Config, *, is_trial: bool = False) -> int:
        self.tickets += 1
        self.h.feed(ConfigOffered(self.tickets, "file.toml", offered, is_trial))
        return self.tickets

    def turn(self) -> list[object]:
        """One more turn, a moment later; every version that it publishes is consistent."""
        self.h.now_ns += MS
        commands = self.h.feed()
        self.check_version()
        return commands

    def outcome(self, ticket: int) -> ConfigDiff | Error:
        """Turn until the order is answered."""
        commands = self.h.commands
        for _ in range(3_000):
            found = [c.message for c in commands if isinstance(c, Answer) and c.ticket == ticket]
            if found:
                assert isinstance(found[0], ConfigDiff | Error)
                return found[0]
            commands = self.turn()
        raise AssertionError("the order was never answered")

    def applied(self, offered: Config) -> ConfigDiff:
        told = self.outcome(self.offer(offered))
        assert isinstance(told, ConfigDiff), told
        assert told.applied
        return told

    def check_version(self) -> None:
        """I6: what is published is one configuration, and the pools that it makes."""
        published = self.h.read()
        version = self.h.memory.catalog.version
        if version == self.seen_version or published.layout.config not in published.pages:
            return
        self.seen_version = version
        page = msgspec.msgpack.decode(published.pages[published.layout.config], type=ConfigPage)
        pools, classes = published.pools, published.classes
        ids = {pool.id for pool in pools.pools}
        for record in published.nodes.values():
            assert set(record.pools) <= ids
            if not record.pools:
                continue
            if pools.mode == PoolMode.HASH:
                assert record.pools == (hash_pool(record.node_id, page.pools),)
            elif pools.mode == PoolMode.CAPABILITY:
                capability = classes[record.class_number]
                satisfied = satisfied_pools(
                    capability, page.pools.pools, multi_pool=page.pools.multi_pool
                )
                assert record.pools == capability_pools(record.node_id, satisfied, page.pools)

    def config_page(self) -> ConfigPage:
        published = self.h.read()
        return msgspec.msgpack.decode(published.pages[published.layout.config], type=ConfigPage)


def test_a_knob_of_pools_changes_at_once_and_says_what_changed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    r = Reloads(monkeypatch)
    r.join(10)
    r.h.settle()
    before = r.h.memory.catalog.version
    told = r.applied(config(SINGLE))
    assert told.changes == ["pools.mode: two_level -> single_level"]
    assert (told.snapshot_version, told.config_version) == (before + 1, 2)
    assert r.config_page().pools.mode == "single_level"
    check_published(r.h.core.state, r.h.catalog_bytes)


@pytest.mark.parametrize("to", [OTHER_BUCKETS, CAPABILITY, LANGUAGES, SINGLE])
@pytest.mark.parametrize("start", [BUCKETS, CAPABILITY, LANGUAGES])
def test_pools_of_one_mode_become_those_of_another_in_one_version(
    monkeypatch: pytest.MonkeyPatch, start: PoolsConfig, to: PoolsConfig
) -> None:
    if start == to:
        to = msgspec.structs.replace(to, sample_size=4)
    r = Reloads(monkeypatch, start)
    r.join(40)
    r.h.settle()
    before = r.h.memory.catalog.version
    told = r.applied(config(to))
    assert told.snapshot_version == before + 1
    assert {page.pools.mode for page in [r.config_page()]} == {to.mode}
    check_published(r.h.core.state, r.h.catalog_bytes)


def test_the_old_pools_serve_on_while_new_ones_are_planned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    r = Reloads(monkeypatch)
    r.join(40)
    r.h.settle()
    before = r.h.read().nodes
    r.offer(config(CAPABILITY))
    for _ in range(5):
        r.turn()
        assert r.h.read().nodes == before
        assert r.h.core.state.rebuild is not None
        assert r.h.core.next_deadline_ns() == r.h.now_ns


def test_what_happens_meanwhile_is_in_the_new_pools_too(monkeypatch: pytest.MonkeyPatch) -> None:
    r = Reloads(monkeypatch)
    r.join(40)
    r.h.settle()
    ticket = r.offer(config(CAPABILITY))
    r.turn()
    r.join(5, first=40)
    late = r.h.make_ready(registration("leaves"))
    r.turn()
    r.h.say(late, Leave())
    r.h.beat(connection_of(r.h, "n000"), services=[Service(id="tts", kind="tts")])
    told = r.outcome(ticket)
    assert isinstance(told, ConfigDiff)
    assert told.applied
    r.h.settle()
    assert r.h.read().nodes["n044"].pools == (4,)
    assert r.h.read().nodes["n000"].pools == (0,)
    assert r.h.read().nodes["leaves"].pools == ()


def connection_of(h: Harness, node_id: str) -> Any:
    return h.node(node_id).connection


def test_a_trial_tells_the_difference_and_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    r = Reloads(monkeypatch)
    r.join(3)
    r.h.settle()
    before = r.h.read().pages
    told = r.outcome(r.offer(config(CAPABILITY), is_trial=True))
    assert isinstance(told, ConfigDiff)
    assert not told.applied
    assert "pools.auto_language_pools: false -> true" in told.changes
    assert any(change.startswith("pools.pools.hear: (none) -> {id = 7") for change in told.changes)
    for _ in range(30):
        r.turn()
    assert r.h.read().pages == before


def test_what_needs_a_restart_says_so_and_nothing_else_is_applied(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    r = Reloads(monkeypatch)
    r.join(3)
    told = r.outcome(r.offer(config(SINGLE, jobs=JobsConfig(window_s=5.0))))
    assert isinstance(told, ConfigDiff)
    assert told.needs_restart == ["jobs.window_s: 300.0 -> 5.0"]
    assert told.changes == ["pools.mode: two_level -> single_level"]
    assert not told.applied
    assert r.h.core.state.rebuild is None
    assert r.h.core.state.config.pools.mode == "two_level"


def test_what_the_manager_decides_itself_is_decided_by_the_new_keys(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """P13: of [nodes], what is asked at a registration, a heartbeat and a drain."""
    r = Reloads(monkeypatch)
    connection = r.h.make_ready(registration("n-1", max_concurrency=8))
    strict = NodesConfig(
        max_nodes=600,
        max_concurrency_max=4,
        require_gpu=True,
        drain_s=7.0,
        resource_threshold_percent=50,
    )
    told = r.applied(config(nodes=strict))
    assert [change.partition(":")[0] for change in told.changes] == [
        "nodes.max_concurrency_max",
        "nodes.require_gpu",
        "nodes.drain_s",
        "nodes.resource_threshold_percent",
    ]
    assert r.config_page().require_gpu
    assert r.config_page().resource_threshold_percent == 50
    r.h.join(registration("n-2", max_concurrency=8))
    assert r.h.refusal()[0] == Code.INVALID_CAPABILITY_SCHEMA
    r.h.join(registration("n-3", max_concurrency=4))
    assert r.h.refusal()[0] == Code.NO_GPU_AVAILABLE
    r.h.beat(connection, cpu_percent=60.0)
    assert r.h.node("n-1").flags & RowFlag.OVERLOADED
    r.h.feed(OrderGiven(99, DrainOrder(node_id="n-1")))
    commands = r.h.advance(20 * MS)
    assert [c.message.left_s for c in commands if isinstance(c, Answer)] == [7.0]  # type: ignore[attr-defined]


def test_the_same_configuration_is_no_change(monkeypatch: pytest.MonkeyPatch) -> None:
    r = Reloads(monkeypatch)
    told = r.outcome(r.offer(config()))
    assert isinstance(told, ConfigDiff)
    assert (told.changes, told.needs_restart, told.applied) == ([], [], False)


def test_one_at_a_time_is_put_in_force(monkeypatch: pytest.MonkeyPatch) -> None:
    r = Reloads(monkeypatch)
    r.join(20)
    first = r.offer(config(CAPABILITY))
    refused = r.outcome(r.offer(config(SINGLE)))
    assert isinstance(refused, Error)
    assert (refused.error.code, refused.error.retryable) == (Code.RATE_LIMITED, True)
    done = r.outcome(first)
    assert isinstance(done, ConfigDiff)
    assert done.applied
    assert r.h.core.state.config.pools == CAPABILITY


def test_pools_that_do_not_fit_a_nodes_record_are_refused_and_nothing_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    r = Reloads(monkeypatch)
    r.join(20)
    r.h.settle()
    before = r.h.read().pages
    many = tuple(PoolConfig(id=60_000 + n, name=f"p{n}") for n in range(900))
    refused = r.outcome(r.offer(config(PoolsConfig(pools=many, multi_pool=True))))
    assert isinstance(refused, Error)
    assert "900 pools" in refused.error.message
    assert r.h.core.state.rebuild is None
    for _ in range(30):
        r.turn()
    assert r.h.read().pages == before


def test_a_catalogue_that_does_not_fit_its_page_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    r = Reloads(monkeypatch)
    services = tuple(f"service-{number:06}-{'x' * 100}" for number in range(3_000))
    refused = r.outcome(r.offer(config(catalogue=Catalogue(services=services))))
    assert isinstance(refused, Error)
    assert "at most" in refused.error.message


def test_a_service_of_a_new_catalogue_may_register_as_soon_as_it_is_in_force(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    r = Reloads(monkeypatch)
    chat = registration("llm", services=[Service(id="chat", kind="chat")])
    r.h.join(chat)
    assert r.h.refusal()[0] == Code.INVALID_CAPABILITY_SCHEMA
    catalogue = Catalogue(services=("chat",), default_services=("chat",), core_types=())
    told = r.applied(config(catalogue=catalogue))
    assert "catalogue.default_services: [asr, nmt, tts] -> [chat]" in told.changes
    connection = r.h.make_ready(chat)
    assert r.h.sent(HeartbeatAck)[0].config_version == 2
    assert r.h.node("llm").connection == connection
    assert r.config_page().catalogue == catalogue


def test_a_language_pool_keeps_its_id_and_no_other_set_ever_gets_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    r = Reloads(monkeypatch, LANGUAGES)
    r.join(12)
    r.h.settle()
    before = {pool.name: pool.id for pool in r.h.read().pools.pools}
    r.applied(config(CAPABILITY))
    r.applied(config(msgspec.structs.replace(LANGUAGES, sample_size=4)))
    r.h.settle()
    r.h.make_ready(registration("new", asr=["ja"]))
    r.h.settle()
    after = {pool.name: pool.id for pool in r.h.read().pools.pools}
    assert after.pop("ja") not in {*before.values(), 7, 9, 4}
    assert len({*before.values()} & {*after.values()} - {0}) <= len(before)
    assert not {after[name] for name in after if name != "other"} & {7, 9, 4}


def test_a_new_manager_goes_on_with_what_the_file_says_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    r = Reloads(monkeypatch)
    r.join(20)
    r.applied(config(CAPABILITY))
    r.h.config = config(CAPABILITY)
    r.h.start()
    r.h.settle()
    assert r.h.core.state.config.pools == CAPABILITY
    r.check_version()


def test_a_fleet_that_never_rests_is_caught_up_with_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    r = Reloads(monkeypatch)
    r.join(30)
    connections = [connection_of(r.h, f"n{number:03}") for number in range(30)]
    r.offer(config(OTHER_BUCKETS))
    services = [Service(id="nmt", kind="nmt"), Service(id="tts", kind="tts")]
    began_ns = r.h.now_ns
    for turn in range(2_000):
        beat = Heartbeat(services=services[: 1 + turn % 2])
        r.h.feed(*(Received(connection, [(beat, b"")]) for connection in connections))
        if r.h.core.state.rebuild is None:
            break
        r.h.now_ns += 10 * MS
    assert r.h.core.state.config.pools == OTHER_BUCKETS
    assert r.h.now_ns - began_ns > rebuild.SLICED_NS
    r.check_version()


@pytest.mark.parametrize("seed", range(6))
def test_weather(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Nodes come and go while one configuration follows the other; every version is consistent."""
    random = Random(seed)
    r = Reloads(monkeypatch)
    r.join(25)
    choices = [BUCKETS, OTHER_BUCKETS, CAPABILITY, LANGUAGES, SINGLE]
    for step in range(200):
        what = random.randrange(6)
        live = [n for n in r.h.core.state.nodes.by_id.values() if n.connection is not None]
        if what == 0 and r.h.core.state.rebuild is None:
            r.offer(config(random.choice(choices)))
        elif what == 1:
            r.join(2, first=100 + 2 * step)
        elif what == 2 and live:
            r.h.say(random.choice(live).connection, Leave())  # type: ignore[arg-type]
        elif what == 3 and live:
            r.h.lose(random.choice(live).connection)  # type: ignore[arg-type]
        elif what == 4 and step % 40 == 0:
            r.h.config = r.h.core.state.config
            r.h.start()
        r.turn()
        if random.random() < 0.2:
            r.h.now_ns += 20 * MS
    while r.h.core.state.rebuild is not None:
        r.turn()
    assert r.h.now_ns < 10_000 * SECOND
    assert WORKERS == 2
    r.h.settle()
