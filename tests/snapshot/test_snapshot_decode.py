"""Pages to snapshot: sharing, what changed, and bytes that no publisher writes (S4)."""

import random

import msgspec
import pytest
from fleet_samples import EN_ES_CLASS, node, pair, pool, speech_class
from hypothesis import given, settings
from hypothesis import strategies as st

from pointsman_shm.config import PoolConfig, PoolsConfig
from pointsman_shm.memory.catalog_layout import CatalogLayout
from pointsman_shm.snapshot import codec
from pointsman_shm.snapshot.fleet_index import FleetIndex
from pointsman_shm.snapshot.records import (
    CLASS_RECORD_SIZE_MAX,
    NODE_RECORD_SIZE_MAX,
    CapabilityClass,
    ConfigPage,
    MarkRecord,
    NodeRecord,
    PolicyPage,
    PoolRecord,
    PoolsPage,
)
from pointsman_shm.snapshot.snapshot import (
    RuntimeSnapshot,
    SnapshotChange,
    decode_pages,
    empty_snapshot,
)

LAYOUT = CatalogLayout(1000)


def refreshed(
    before: RuntimeSnapshot, changed: dict[int, bytes]
) -> tuple[RuntimeSnapshot, SnapshotChange]:
    return decode_pages(
        before, changed, LAYOUT, version=before.version + 1, published_at_ns=before.version * 10
    )


def a_fleet() -> dict[int, bytes]:
    return {
        0: codec.encode_nodes([node(0, 0, 1), node(255, 1, 1)]),
        3: codec.encode_nodes([node(768, 1, 2), node(999, 0)]),
        LAYOUT.class_page(0): codec.encode_classes(0, [EN_ES_CLASS, speech_class("en", "zh")]),
        LAYOUT.pools: codec.encode_pools(PoolsPage("language", (pool(1, 0, languages="en-es"),))),
        LAYOUT.config: codec.encode_config(ConfigPage(require_gpu=True)),
        LAYOUT.marks: codec.encode_marks(
            [MarkRecord(3, 1, "nmt", "1", 5), MarkRecord(3, 1, "tts", "", 6)]
        ),
        LAYOUT.policy: codec.encode_policy(PolicyPage((("a", 1),))),
    }


def test_the_empty_snapshot_answers_everything_with_nothing() -> None:
    empty = empty_snapshot(LAYOUT)
    assert (empty.version, empty.node(0), empty.class_of(0), empty.marks_of(0)) == (
        0,
        None,
        None,
        (),
    )
    assert not empty.pool_view.is_two_level


def test_what_was_published_is_what_is_read() -> None:
    snapshot, change = refreshed(empty_snapshot(LAYOUT), a_fleet())
    assert snapshot.version == 1
    assert snapshot.node(255) == node(255, 1, 1)
    assert snapshot.node(999) == node(999, 0)
    assert snapshot.node(1) is None
    assert snapshot.class_of(0) == EN_ES_CLASS
    assert snapshot.class_of(2) is None
    assert snapshot.classes.count == 2
    assert snapshot.config.require_gpu
    assert snapshot.overrides == {"a": 1}
    assert [mark.service for mark in snapshot.marks_of(3)] == ["nmt", "tts"]
    assert len(snapshot.pool_view.eligible(pair("en", "es"))) == 1
    assert change == SnapshotChange(
        node_pages=(0, 3),
        has_classes=True,
        has_pools=True,
        has_config=True,
        has_marks=True,
        has_policy=True,
    )


@pytest.mark.parametrize("row", [-1, 1000, 1024, 10**9])
def test_a_row_outside_the_fleet_is_nobody(row: int) -> None:
    snapshot, _ = refreshed(empty_snapshot(LAYOUT), a_fleet())
    assert snapshot.node(row) is None


@pytest.mark.parametrize("number", [-1, 64, 4096, 10**9])
def test_a_class_outside_the_table_is_none(number: int) -> None:
    snapshot, _ = refreshed(empty_snapshot(LAYOUT), a_fleet())
    assert snapshot.class_of(number) is None


def test_one_changed_node_page_shares_all_the_rest() -> None:
    first, _ = refreshed(empty_snapshot(LAYOUT), a_fleet())
    second, change = refreshed(first, {3: codec.encode_nodes([node(768, 1, 2)])})
    assert change == SnapshotChange(node_pages=(3,))
    assert second.node(999) is None
    assert first.node(999) == node(999, 0), "a pinned snapshot never changes"
    assert second.node_pages[0] is first.node_pages[0]
    assert second.classes is first.classes
    assert second.pool_view is first.pool_view


def test_appended_classes_are_told_from_rewritten_ones() -> None:
    first, _ = refreshed(empty_snapshot(LAYOUT), a_fleet())
    known = [EN_ES_CLASS, speech_class("en", "zh")]
    page = LAYOUT.class_page(0)
    appended, change = refreshed(
        first, {page: codec.encode_classes(0, [*known, speech_class("de")])}
    )
    assert change == SnapshotChange(has_classes=True)
    assert appended.pair_memo is first.pair_memo
    rewritten, change = refreshed(appended, {page: codec.encode_classes(0, known[::-1])})
    assert change == SnapshotChange(has_classes=True, has_rewritten_classes=True)
    assert rewritten.pair_memo is not first.pair_memo


def test_a_later_class_page_is_found_by_its_numbers() -> None:
    page = LAYOUT.class_page(100)
    snapshot, _ = refreshed(
        empty_snapshot(LAYOUT), {page: codec.encode_classes(64, [EN_ES_CLASS] * 37)}
    )
    assert snapshot.class_of(100) == EN_ES_CLASS
    assert snapshot.classes.count == 101


def test_the_whole_config_of_selection_travels() -> None:
    pools = PoolsConfig(pools=(PoolConfig(id=1, name="p", required_services=("nmt",)),))
    sent = ConfigPage(resource_threshold_percent=70, pools=pools)
    assert codec.decode_config(codec.encode_config(sent)) == sent


def a_count_of(online: int, ready: int) -> PoolsPage:
    """Pools whose only one counts so many nodes of class 0."""
    return PoolsPage("hash", (PoolRecord(1, "one", classes=((0, online, ready),)),))


BAD_PAGES = {
    "row of another page": {0: codec.encode_nodes([node(256, 0)])},
    "row beyond the fleet": {3: codec.encode_nodes([node(1000, 0)])},
    "negative row": {0: codec.encode_nodes([node(-1, 0)])},
    "class beyond the table": {0: codec.encode_nodes([node(0, 4096)])},
    "negative class": {0: codec.encode_nodes([node(0, -1)])},
    "a pool twice": {0: codec.encode_nodes([node(0, 0, 1, 1)])},
    "a negative pool": {0: codec.encode_nodes([node(0, 0, -1)])},
    "classes of another page": {LAYOUT.class_page(0): codec.encode_classes(64, [EN_ES_CLASS])},
    "too many classes": {LAYOUT.class_page(0): codec.encode_classes(0, [EN_ES_CLASS] * 65)},
    "unknown mode": {LAYOUT.pools: codec.encode_pools(PoolsPage("guess"))},
    "a count of a class beyond the table": {
        LAYOUT.pools: codec.encode_pools(PoolsPage("hash", (pool(1, 5000),)))
    },
    "a count of a negative class": {
        LAYOUT.pools: codec.encode_pools(PoolsPage("hash", (pool(1, -1),)))
    },
    "more ready than online": {LAYOUT.pools: codec.encode_pools(a_count_of(2, 3))},
    "a negative count": {LAYOUT.pools: codec.encode_pools(a_count_of(2, -1))},
    "not msgpack": {0: b"\xc1"},
    "empty": {0: b""},
    "wrong shape": {0: msgspec.msgpack.encode([{"row": 1}])},
    "config out of bounds": {LAYOUT.config: msgspec.msgpack.encode([1, 85, {"pool_count": 0}, {}])},
}


@pytest.mark.parametrize("name", BAD_PAGES)
def test_a_corrupt_page_is_refused_and_the_last_snapshot_stays_good(name: str) -> None:
    good, _ = refreshed(empty_snapshot(LAYOUT), a_fleet())
    with pytest.raises(codec.SnapshotCorrupt):
        refreshed(good, BAD_PAGES[name])
    assert good.node(0) == node(0, 0, 1)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 8))
def test_flipped_bytes_never_do_worse_than_be_refused(seed: int, flips: int) -> None:
    """S4, the half behind the CRC: bytes are checked even if they got past it."""
    generator = random.Random(seed)
    good = empty_snapshot(LAYOUT)
    page, payload = generator.choice(sorted(a_fleet().items()))
    damaged = bytearray(payload)
    for _ in range(flips):
        damaged[generator.randrange(len(damaged))] = generator.randrange(256)
    try:
        snapshot, change = refreshed(good, {page: bytes(damaged)})
    except codec.SnapshotCorrupt:
        return
    for row in (0, 255, 768, 999):
        record = snapshot.node(row)
        assert record is None or 0 <= record.class_number < 4096
    snapshot.pool_view.eligible(pair("en", "es"))
    index = FleetIndex(LAYOUT.max_nodes)
    index.apply(snapshot, change)
    index.apply(good, change)
    assert list(index.candidates(None, pair("en", "es"))) == []


def test_a_page_of_the_largest_records_fits_its_slot() -> None:
    filler = "n" * (NODE_RECORD_SIZE_MAX - len(codec.encode_record(node_named(0, ""))) - 2)
    largest = [node_named(row, filler) for row in range(256)]
    assert len(codec.encode_record(largest[0])) == NODE_RECORD_SIZE_MAX
    assert len(codec.encode_nodes(largest)) <= LAYOUT.payload_max(0)
    room = CLASS_RECORD_SIZE_MAX - len(codec.encode_record(CapabilityClass())) - 2
    fattest = CapabilityClass(tenant="t" * room)
    assert len(codec.encode_record(fattest)) == CLASS_RECORD_SIZE_MAX
    page = LAYOUT.class_page(4095)
    assert len(codec.encode_classes(4032, [fattest] * 64)) <= LAYOUT.payload_max(page)


def node_named(row: int, node_id: str) -> NodeRecord:
    """A record whose numbers take their largest form."""
    return NodeRecord(
        row=1_000_000 + row,
        generation=65_535,
        epoch=2**63,
        class_number=4_095,
        node_id=node_id,
        pools=(65_535,),
        slots_max=4_096,
    )
