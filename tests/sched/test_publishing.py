"""What is published, when, and how much of it."""

import msgspec
import pytest
from manager_harness import MS, SECOND, START_NS, Harness, config_with, large_fleet, registration

from pointsman_sched.core.events import (
    Alarm,
    ConfigOffered,
    OrderGiven,
    TellWorkers,
    WorkerGone,
    WorkerSaid,
)
from pointsman_shm.config import PoolsConfig
from pointsman_shm.memory import catalog_layout
from pointsman_shm.memory.catalog_layout import CatalogLayout
from pointsman_shm.memory.catalog_reader import CatalogReader
from pointsman_shm.memory.rows import NodeState, RowFlag, unpack_standing
from pointsman_shm.memory.stats_names import Gauge
from pointsman_shm.uplink import ModelUnavailable, SnapshotPublished
from pointsman_wire.control_messages import Drain, Leave, Service
from pointsman_wire.queries.operating_messages import PauseOrder, ResumeOrder


def test_a_new_manager_publishes_at_once_so_that_version_0_ends() -> None:
    h = Harness()
    assert h.memory.catalog.version == 0
    commands = h.feed()
    assert h.memory.catalog.version == 1
    assert commands == [TellWorkers(SnapshotPublished(1))]


def test_two_publishes_are_never_closer_than_20_ms_and_a_burst_is_one_publish() -> None:
    h = Harness()
    h.feed()
    for count in range(30):
        h.join(registration(f"n{count}"))
        h.advance(1 * MS)
    assert h.memory.catalog.version == 2
    h.settle()
    assert h.memory.catalog.version <= 4


def test_a_lone_change_is_published_without_waiting() -> None:
    h = Harness()
    h.settle()
    h.advance(SECOND)
    version = h.memory.catalog.version
    h.join()
    assert h.memory.catalog.version == version + 1
    assert "n1" in h.read().nodes


def test_the_beat_advances_every_100_ms_though_nothing_changes() -> None:
    h = Harness()
    h.settle()
    reader = CatalogReader(h.catalog_bytes, h.layout)
    version = h.memory.catalog.version
    beats = []
    for _ in range(5):
        h.advance(100 * MS)
        beats.append(reader.beat_at_ns())
    assert len(set(beats)) == 5
    assert h.now_ns - beats[-1] <= 100 * MS
    assert h.memory.catalog.version == version


def test_pools_that_outgrow_their_page_stay_as_they_were_and_the_manager_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nodes join in ever new languages; a page of 4 KiB stands for one of 2 MiB."""
    sizes = (4096, *catalog_layout.SINGLE_SLOT_SIZES[1:])
    monkeypatch.setattr(catalog_layout, "SINGLE_SLOT_SIZES", sizes)
    h = Harness(config_with(PoolsConfig(auto_max_pools=60)))
    services = [Service(id="asr-1", kind="asr")]
    joined, links, said = [], [], list[Alarm]()
    turn = h.turn

    def watched(*events: object) -> list[object]:
        commands = turn(*events)
        said.extend(command for command in commands if isinstance(command, Alarm))
        return commands

    monkeypatch.setattr(h, "turn", watched)
    for number in range(60):
        languages = [f"l{number}-{letter * 4}" for letter in "abcdefgh"]
        message = registration(f"n-{number}", services=services, asr=languages)
        joined.append(message)
        links.append(h.make_ready(message))
        h.advance(SECOND)
        for link in links:
            h.beat(link)
    assert ["the pools take" in alarm.words for alarm in said] == [True], "told once"
    published = h.read()
    assert len(published.nodes) == 60
    assert 5 < len(published.pools.pools) < 60
    h.start()
    h.advance(SECOND)
    assert len(h.read().nodes) == 60, "its successor takes over what there is"
    links = [h.make_ready(node) for node in joined]
    for number in range(10, 60):
        h.say(links[number], Leave())
    h.advance(SECOND)
    assert len(h.read().pools.pools) == 10


@pytest.fixture(scope="module")
def large() -> Harness:
    """10,000 Ready nodes on 40 pages."""
    return large_fleet(10_000)


def test_one_change_among_10000_nodes_publishes_one_page(large: Harness) -> None:
    reader = CatalogReader(large.catalog_bytes, large.layout)
    assert len(reader.refresh() or {}) >= 40
    node = large.node("n005000")
    assert node.connection is not None

    large.now_ns += 20 * MS
    large.say(node.connection, Drain(deadline_s=500.0))
    assert list(reader.refresh() or {}) == [large.layout.pools], "its state is in its row word"

    large.now_ns += 20 * MS
    large.say(node.connection, registration("n005000", large_key(large), max_concurrency=7))
    changed = set(reader.refresh() or {})
    assert changed == {large.layout.pools, large.layout.node_page(node.row)}


def large_key(h: Harness) -> str:
    """The key that the server issued to n005000; the 5,001st that it made."""
    return (5_001).to_bytes(32, "big").hex()


def test_a_fleet_wide_change_goes_out_in_slices(large: Harness) -> None:
    large.core.state.dirty.update(range(40))
    published = []
    for _ in range(3):
        before = len(large.core.state.dirty)
        large.now_ns += 20 * MS
        large.feed()
        published.append(before - len(large.core.state.dirty))
    assert published == [16, 16, 8]


def test_damaged_pages_are_noticed_and_written_anew() -> None:
    """S4, the writer's half."""
    h = Harness(config_with(max_nodes=256))
    h.make_ready()
    h.settle()
    layout = CatalogLayout(256)
    for slot in range(2):
        at = layout.slot_at(0, slot)
        h.catalog_bytes[at + 64 : at + 80] = b"x" * 16
    assert CatalogReader(h.catalog_bytes, layout).refresh() is None
    h.advance(10 * SECOND)
    assert h.read().nodes.keys() == {"n1"}


def test_a_damaged_directory_is_noticed_and_written_anew() -> None:
    """S4: without one nobody reads anything."""
    h = Harness(config_with(max_nodes=256))
    h.make_ready()
    h.settle()
    layout = CatalogLayout(256)
    for slot in range(2):
        at = 8 * layout.directory_at(slot)
        h.catalog_bytes[at + 64 : at + 80] = b"x" * 16
    assert CatalogReader(h.catalog_bytes, layout).refresh() is None
    h.advance(SECOND // 4)
    assert h.read().nodes.keys() == {"n1"}


# ---- rows that are used again


def gone_row(h: Harness) -> int:
    """A node that joined, left, and was forgotten; its row."""
    connection = h.make_ready(registration("gone"))
    row = h.node("gone").row
    h.lose(connection)
    h.advance(606 * SECOND)
    assert "gone" not in h.core.state.nodes.by_id
    return row


def test_a_freed_row_is_used_again_only_when_every_live_worker_has_seen_it_go() -> None:
    h = Harness(config_with(max_nodes=1))
    h.worker_arrives(0)
    h.worker_arrives(1)
    h.settle()
    h.worker_applies(h.memory.catalog.version)
    row = gone_row(h)
    h.settle()
    removed_in = h.memory.catalog.version
    assert h.memory.rows.standing[row] >> 48 == 1
    h.join(registration("next"))
    assert h.refusal()[0] == "FLEET_FULL"
    assert "in a moment" in h.refusal()[1]

    h.worker_applies(removed_in - 1)
    h.join(registration("next"))
    assert h.refusal()[0] == "FLEET_FULL"
    h.worker_applies(removed_in)
    h.join(registration("next"))
    assert (h.node("next").row, h.node("next").generation) == (row, 2)


def test_a_freed_row_waits_until_its_slots_are_given_back() -> None:
    h = Harness(config_with(max_nodes=1))
    row = gone_row(h)
    h.settle()
    h.worker_applies(h.memory.catalog.version)
    h.hold(1, row, 1)
    h.join(registration("next"))
    assert h.refusal()[0] == "FLEET_FULL"
    h.hold(1, row, 0)
    h.join(registration("next"))
    assert h.node("next").row == row


def test_a_worker_that_is_long_gone_is_not_waited_for() -> None:
    h = Harness(config_with(max_nodes=1))
    h.worker_arrives(0)
    h.worker_applies(1)
    gone_row(h)
    h.settle()
    h.join(registration("next"))
    assert h.refusal()[0] == "FLEET_FULL"
    for page in h.worker_stats[1:]:
        page.gauge(Gauge.APPLIED_VERSION, h.memory.catalog.version)
    h.feed(WorkerGone(0))
    h.advance(11 * SECOND)
    h.join(registration("next"))
    assert h.node("next").generation == 2


def test_in_a_full_fleet_the_node_that_is_longest_offline_gives_way() -> None:
    h = Harness(config_with(max_nodes=2))
    h.make_ready(registration("stays"))
    h.make_ready(registration("goes"))
    for _ in range(6):
        h.advance(SECOND)
        stays = h.node("stays").connection
        assert stays is not None
        h.beat(stays)
    assert h.state("goes") == NodeState.OFFLINE
    h.join(registration("next"))
    assert h.refusal()[0] == "FLEET_FULL"
    assert "goes" not in h.core.state.nodes.by_id
    h.settle()
    h.worker_applies(h.memory.catalog.version)
    h.join(registration("next"))
    assert h.node("next").generation == 2
    h.advance(700 * SECOND)
    assert h.core.state.silent_count == 0, "nobody looks at it any more"


def test_a_node_that_gives_way_takes_its_marks_along() -> None:
    h = Harness(config_with(max_nodes=1))
    connection = h.make_ready()
    node = h.node()
    h.feed(WorkerSaid(0, ModelUnavailable(node.row, node.generation, "nmt", "v1")))
    h.settle()
    assert len(h.read().marks) == 1
    h.say(connection, Leave())
    h.join(registration("next"))
    h.settle()
    assert h.read().marks == ()


# ---- marks


def test_a_missing_model_is_marked_for_a_minute_in_page_and_row() -> None:
    h = Harness()
    connection = h.make_ready()
    node = h.node()
    h.feed(WorkerSaid(0, ModelUnavailable(node.row, node.generation, "nmt", "v1")))
    h.settle()
    (mark,) = h.read().marks
    assert (mark.row, mark.generation, mark.service, mark.version) == (node.row, 1, "nmt", "v1")
    assert flags(h) & RowFlag.MARKED
    for _ in range(59):
        h.advance(SECOND)
        h.beat(connection)
    assert flags(h) & RowFlag.MARKED
    h.advance(1_100 * MS)
    h.settle()
    assert h.read().marks == ()
    assert not flags(h) & RowFlag.MARKED


def flags(h: Harness) -> RowFlag:
    return unpack_standing(h.memory.rows.standing[h.node().row]).flags


def test_a_node_is_marked_at_most_thirty_times_in_ten_seconds() -> None:
    h = Harness()
    connection = h.make_ready()
    for count in range(40):
        h.feed(WorkerSaid(0, ModelUnavailable(h.node().row, 1, "nmt", f"v{count}")))
    h.settle()
    assert len(h.read().marks) == 30
    for _ in range(10):
        h.advance(SECOND)
        h.beat(connection)
    h.feed(WorkerSaid(0, ModelUnavailable(h.node().row, 1, "nmt", "again")))
    assert len(h.core.state.marks.page()) == 31


def test_a_mark_of_another_generation_or_a_stranger_is_ignored() -> None:
    h = Harness()
    h.make_ready()
    h.feed(WorkerSaid(0, ModelUnavailable(h.node().row, 9, "nmt")))
    h.feed(WorkerSaid(0, ModelUnavailable(10**9, 1, "nmt")))
    h.feed(WorkerSaid(7, ModelUnavailable(h.node().row, 1, "nmt")))
    h.feed(WorkerSaid(0, ModelUnavailable(h.node().row, 1, "n" * 129)))
    assert h.core.state.marks.page() == ()


def test_the_marks_page_always_fits_its_slot() -> None:
    h = Harness(config_with(model_marks_max=1_000))
    h.make_ready()
    for count in range(1_000):
        name = f"{count:0128}"
        h.feed(WorkerSaid(0, ModelUnavailable(h.node().row, 1, name, name)))
    size = len(msgspec.msgpack.encode(h.core.state.marks.page()))
    assert size <= h.layout.payload_max(h.layout.marks)
    h.settle()
    assert h.now_ns > START_NS


@pytest.mark.parametrize("what", ["slots", "snapshot"])
def test_i8_a_row_is_nobody_elses_while_a_worker_may_take_it_for_the_nodes_that_is_gone(
    what: str,
) -> None:
    """I8, I10: it holds a slot of the node still, or has not seen that it is gone."""
    h = Harness(config_with(max_nodes=1, remember_offline_s=1.0))
    h.worker_arrives(0)
    connection = h.make_ready(registration("gone"))
    row, before = h.node("gone").row, h.memory.catalog.version
    h.hold(0, row, 1)
    h.say(connection, Leave())
    h.advance(2 * SECOND)
    h.settle()
    assert not h.core.state.nodes.by_id
    h.worker_applies(before if what == "snapshot" else h.memory.catalog.version)
    h.hold(0, row, 1 if what == "slots" else 0)
    h.say(h.dial(), registration("next"))
    assert h.refusal()[0] == "FLEET_FULL"
    assert not h.core.state.nodes.by_id
    h.worker_applies(h.memory.catalog.version)
    h.hold(0, row, 0)
    h.join(registration("next"))
    assert (h.node("next").row, h.node("next").generation) == (row, 2)


ASR = Service(id="asr-1", kind="asr")
LANGUAGES, BUCKETS = PoolsConfig(), PoolsConfig(auto_language_pools=False, pool_count=4)


@pytest.mark.parametrize("dies", [False, True])
def test_a_pause_is_not_one_of_another_modes_pool_of_that_number_and_comes_back(
    dies: bool,
) -> None:
    h = Harness(config_with(LANGUAGES))
    for name, language in (("a", "en"), ("b", "fr"), ("c", "de"), ("d", "it"), ("e", "pt")):
        h.make_ready(registration(name, services=[ASR], asr=[language]))
    number = h.core.state.planner.pools_of("b")[0]
    h.feed(OrderGiven(1, PauseOrder(pool=number)))

    def paused() -> set[str]:
        words = h.memory.rows.standing
        rows = {name: node.row for name, node in h.core.state.nodes.by_id.items()}
        flags = {name: unpack_standing(words[row]).flags for name, row in rows.items()}
        return {name for name in flags if RowFlag.PAUSED in flags[name]}

    def turn(pools: PoolsConfig) -> None:
        h.feed(ConfigOffered(2, "file", config_with(pools)))
        h.advance(1 * SECOND)
        h.settle()

    assert paused() == {"b"}
    turn(BUCKETS)
    assert any(number in h.core.state.planner.pools_of(name) for name in "abcde")
    assert paused() == set()
    if dies:
        h.config = config_with(BUCKETS)
        h.start()
        assert paused() == set()
    h.make_ready(registration("f", services=[ASR], asr=["es"]))
    turn(LANGUAGES)
    assert paused() == {"b"}
    assert h.core.state.planner.pools_of("b") == (number,)
    h.feed(OrderGiven(3, ResumeOrder(pool=number)))
    assert paused() == set()
