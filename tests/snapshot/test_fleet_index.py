"""The fleet index, followed page by page, against one that is computed from scratch."""

import pytest
from fleet_samples import node, pair, speech_class
from hypothesis import given, settings
from hypothesis import strategies as st

from pointsman_shm.memory.catalog_layout import CatalogLayout
from pointsman_shm.rules.eligibility import first_failure
from pointsman_shm.rules.reasons import Reason
from pointsman_shm.snapshot import codec, fleet_index
from pointsman_shm.snapshot.fleet_index import FleetIndex
from pointsman_shm.snapshot.records import CapabilityClass, ConfigPage, NodeRecord, Requirement
from pointsman_shm.snapshot.snapshot import RuntimeSnapshot, decode_pages, empty_snapshot

LAYOUT = CatalogLayout(600)
CLASSES = [
    speech_class("en", "es"),
    speech_class("en", "zh"),
    speech_class("de", "en", "es"),
    CapabilityClass(),
]
QUESTIONS = [pair("en", "es"), pair("en", "zh"), pair("zh", "es"), Requirement(types=())]


class Fleet:
    """A published fleet with one reader's index behind it."""

    def __init__(self, classes: list[CapabilityClass]) -> None:
        self.rows: dict[int, NodeRecord] = {}
        self.classes = classes
        self.snapshot = empty_snapshot(LAYOUT)
        self.index = FleetIndex(LAYOUT.max_nodes)
        self.publish({LAYOUT.class_page(0): codec.encode_classes(0, classes)})

    def publish(self, changed: dict[int, bytes]) -> None:
        version = self.snapshot.version + 1
        self.snapshot, change = decode_pages(
            self.snapshot, changed, LAYOUT, version=version, published_at_ns=version
        )
        self.index.apply(self.snapshot, change)

    def change(self, *records: NodeRecord, gone: tuple[int, ...] = ()) -> None:
        for row in gone:
            self.rows.pop(row, None)
        self.rows.update((record.row, record) for record in records)
        pages = {LAYOUT.node_page(row) for row in (*gone, *(r.row for r in records))}
        self.publish(
            {
                page: codec.encode_nodes(
                    record for row, record in sorted(self.rows.items()) if row // 256 == page
                )
                for page in pages
            }
        )

    def expected(self, pool_id: int | None, asks: Requirement) -> list[int]:
        return [
            row
            for row, record in sorted(self.rows.items())
            if (pool_id is None or pool_id in record.pools)
            and first_failure(self.classes[record.class_number], asks, False) is None
        ]

    def found(self, pool_id: int | None, asks: Requirement) -> list[int]:
        return sorted(self.index.candidates(pool_id, asks))


RECORDS = st.builds(
    lambda row, number, pools, generation: node(row, number, *pools, generation=generation),
    st.sampled_from([0, 1, 2, 3, 255, 256, 257, 599]),
    st.integers(0, 3),
    st.lists(st.integers(0, 3), max_size=3, unique=True).map(tuple),
    st.integers(1, 3),
)
GONE = st.lists(st.sampled_from([0, 1, 256, 599]), max_size=2)
CHANGES = st.lists(st.tuples(st.lists(RECORDS, max_size=4), GONE), max_size=12)


@settings(max_examples=200, deadline=None)
@given(CHANGES)
def test_a_followed_index_equals_one_computed_from_scratch(
    changes: list[tuple[list[NodeRecord], list[int]]],
) -> None:
    fleet = Fleet(CLASSES)
    for records, gone in changes:
        fleet.change(*records, gone=tuple(gone))
        for pool_id in (None, 0, 1, 2, 3):
            for asks in QUESTIONS:
                assert fleet.found(pool_id, asks) == fleet.expected(pool_id, asks)
        for row in (0, 255, 256, 599):
            assert fleet.index.record(row) == fleet.rows.get(row)


def test_a_list_is_kept_until_a_class_that_can_do_it_changes() -> None:
    fleet = Fleet(CLASSES)
    fleet.change(node(0, 0, 1), node(1, 1, 1), node(2, 3, 2))
    english = fleet.index.candidates(1, QUESTIONS[0])
    assert list(english) == [0]
    fleet.change(node(3, 1, 1))
    assert fleet.index.candidates(1, QUESTIONS[0]) is english, "that class cannot do it"
    fleet.change(node(4, 0, 2))
    assert fleet.index.candidates(1, QUESTIONS[0]) is english, "that was another pool"
    fleet.change(node(0, 0, 1, generation=2))
    assert fleet.index.candidates(1, QUESTIONS[0]) is english, "same place, same list"
    fleet.change(node(5, 2, 1))
    assert fleet.found(1, QUESTIONS[0]) == [0, 5]
    assert list(english) == [0], "a list in somebody's hands never changes"


def test_verdicts_are_extended_when_a_class_is_appended() -> None:
    fleet = Fleet(CLASSES[:2])
    assert list(fleet.index.feasible(QUESTIONS[0])) == [0, Reason.LANG_PAIR_UNSUPPORTED + 1]
    fleet.classes = CLASSES
    fleet.publish({LAYOUT.class_page(0): codec.encode_classes(0, CLASSES)})
    fleet.change(node(7, 2, 1))
    assert fleet.found(1, QUESTIONS[0]) == [7]
    assert list(fleet.index.feasible(QUESTIONS[0])) == [
        0,
        Reason.LANG_PAIR_UNSUPPORTED + 1,
        0,
        Reason.MODEL_NOT_AVAILABLE + 1,
    ]


def test_a_row_of_a_class_that_nobody_knows_is_no_candidate() -> None:
    fleet = Fleet(CLASSES)
    fleet.rows[9] = node(9, 70, 1)
    fleet.publish({0: codec.encode_nodes([fleet.rows[9]])})
    assert fleet.found(None, Requirement(types=())) == []


def test_classes_that_mean_something_else_forget_all_verdicts() -> None:
    fleet = Fleet(CLASSES[:2])
    fleet.change(node(0, 0, 1), node(1, 1, 1))
    assert fleet.found(1, QUESTIONS[0]) == [0]
    fleet.classes = CLASSES[1::-1]
    fleet.publish({LAYOUT.class_page(0): codec.encode_classes(0, fleet.classes)})
    assert fleet.found(1, QUESTIONS[0]) == [1]


def test_a_demand_for_gpus_takes_effect_with_its_snapshot() -> None:
    fleet = Fleet(CLASSES)
    fleet.change(node(0, 0, 1))
    assert fleet.found(1, QUESTIONS[0]) == [0]
    fleet.publish({LAYOUT.config: codec.encode_config(ConfigPage(require_gpu=True))})
    assert fleet.found(1, QUESTIONS[0]) == []
    assert fleet.index.feasible(QUESTIONS[0])[0] == Reason.GPU_UNAVAILABLE + 1


def test_the_caches_are_bounded_and_keep_what_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """I9: a flood of requirements neither grows the index nor drives out the busy one."""
    monkeypatch.setattr(fleet_index, "CACHED_LISTS_MAX", 8)
    monkeypatch.setattr(fleet_index, "VERDICTS_MAX", 8)
    fleet = Fleet(CLASSES)
    fleet.change(*(node(row, 0, 1) for row in range(10)))
    busy = fleet.index.candidates(1, QUESTIONS[0])
    for number in range(50):
        odd = Requirement(types=(), labels=(("flood", str(number)),))
        fleet.index.candidates(1, odd)
        assert fleet.index.candidates(1, QUESTIONS[0]) is busy
    assert fleet.index.cached_list_count <= 8
    assert fleet.index.cached_row_count == 10


def test_few_large_lists_are_bounded_by_their_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet_index, "CACHED_ROWS_MAX", 25)
    fleet = Fleet(CLASSES)
    fleet.change(*(node(row, 0, 1) for row in range(10)))
    for tenant in "abcde":
        asks = Requirement(types=(), tenant=tenant)
        assert len(fleet.index.candidates(1, asks)) == 10
        assert fleet.index.cached_row_count <= 25


def test_nothing_is_kept_of_pools_and_classes_that_nobody_is_in_any_more() -> None:
    """I9: language pools come and go as long as the service runs."""
    fleet = Fleet(CLASSES)
    asks = Requirement(types=())
    for pool in range(1, 50):
        fleet.change(node(0, pool % 3, pool))
        assert len(fleet.index.candidates(pool, asks)) == 1
    index = fleet.index
    assert index._buckets.keys() == {fleet_index.WHOLE_FLEET, 49}
    assert index._keys_by_pool.keys() == {49}
    assert index.buckets(None).keys() == {49 % 3}


def test_buckets_show_every_row_for_a_breakdown() -> None:
    fleet = Fleet(CLASSES)
    fleet.change(node(0, 0, 1), node(1, 3), node(2, 3, 1))
    everybody = {number: sorted(rows) for number, rows in fleet.index.buckets(None).items()}
    assert everybody == {0: [0], 3: [1, 2]}
    assert {number: list(rows) for number, rows in fleet.index.buckets(1).items()} == {
        0: [0],
        3: [2],
    }
    assert dict(fleet.index.buckets(9)) == {}
    assert fleet.index.record(600) is None


def test_the_snapshot_and_the_index_speak_of_the_same_fleet() -> None:
    fleet = Fleet(CLASSES)
    fleet.change(node(0, 0, 1))
    snapshot: RuntimeSnapshot = fleet.snapshot
    assert fleet.index.record(0) is snapshot.node(0)
