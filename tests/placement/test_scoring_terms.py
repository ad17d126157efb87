"""The terms of the score: load, speed, slow start; the weighted choice among the best."""

from array import array
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from placement.yard import EN_ES, Yard

from pointsman_shm.config import PoolsConfig
from pointsman_shm.memory.rows import NodeState, RowFlag, pack_load, pack_standing
from pointsman_shm.rules.load import (
    OBSERVATIONS_MIN,
    effective_load,
    score,
    slow_start_term,
    speed_term,
)
from pointsman_workers.placement.checks import ANYWHERE, Judgement, Ranking, Reading
from pointsman_workers.placement.paces import FORGET_NS, Paces
from pointsman_workers.placement.ranking import rank

SECOND_NS = 1_000_000_000
ALL_CAN = Judgement(codes=bytes(1))
SLOTS = st.integers(1, 64)


@st.composite
def readings(draw: st.DrawFn) -> list[Reading]:
    """Nodes of one class that are ready, with any load."""
    rows = range(draw(st.integers(1, 12)))
    return [
        _reading(
            row, *draw(st.tuples(SLOTS, st.integers(0, 64), st.integers(0, 9), st.floats(0.25, 16)))
        )
        for row in rows
    ]


def _reading(row: int, slots: int, held: int, foreign: int, slowness: float) -> Reading:
    word = pack_standing(
        generation=1, class_number=0, state=NodeState.READY, flags=RowFlag.PUBLIC, slots_max=slots
    )
    load = pack_load(cpu=1, gpu=255, gpu_memory=255, memory=1, foreign=foreign)
    return (row, word, load, held, 1, slowness)


@given(st.integers(0, 5_000), st.integers(0, 5_000), st.integers(1, 4_096))
def test_where_nothing_is_known_of_speed_the_score_is_the_effective_load(
    held: int, foreign: int, slots: int
) -> None:
    assert score(held, foreign, slots, 1.0) == effective_load(held, foreign, slots)


@given(readings())
def test_candidates_are_ordered_by_the_one_formula_and_ties_keep_their_order(
    found: list[Reading],
) -> None:
    free = [reading for reading in found if reading[3] < reading[1] & 0xFFFF]
    expected = sorted(
        (score(held, load >> 16 & 0xFFFF, word & 0xFFFF, slowness), at, row)
        for at, (row, word, load, held, _, slowness) in enumerate(free)
    )
    ranked = rank(found, ALL_CAN, ANYWHERE)
    assert [(value, row) for value, row, _ in ranked] == [
        (value, row) for value, _, row in expected
    ]


@pytest.mark.parametrize(
    ("service", "mean", "term"),
    [(100, 100, 1.0), (50, 100, 0.5), (300, 100, 3.0), (1, 100, 0.25), (10_000, 100, 4.0)],
)
def test_the_speed_term_is_the_ratio_within_its_bounds(
    service: float, mean: float, term: float
) -> None:
    assert speed_term(service, mean) == term


@pytest.mark.parametrize(
    ("age_s", "term"), [(0.0, 4.0), (2.5, 4.0), (5.0, 2.0), (10.0, 1.0), (60.0, 1.0)]
)
def test_a_slow_start_ends_with_its_window(age_s: float, term: float) -> None:
    assert slow_start_term(int(age_s * SECOND_NS), 10 * SECOND_NS) == term


# ---- what is observed


def observe(paces: Paces, row: int, service_ms: int, count: int, now_ns: int = 0) -> "array[float]":
    pace = paces.of(("nmt",))
    assert pace is not None
    for at_ns in range(now_ns - count + 1, now_ns + 1):
        pace.observe(row, service_ms * 1_000_000, at_ns)
    return paces.slowness(("nmt",))


def test_speed_counts_only_after_enough_observations() -> None:
    paces = Paces(4)
    observe(paces, 0, 100, OBSERVATIONS_MIN)
    slowness = observe(paces, 1, 300, OBSERVATIONS_MIN - 1)
    assert list(slowness) == [1.0, 1.0, 1.0, 1.0]
    slowness = observe(paces, 1, 300, 1)
    assert slowness[1] == pytest.approx(1.5)
    paces.tick(0)
    assert slowness[0] == pytest.approx(0.5), "the mean of the kind's nodes has moved"
    assert list(paces.slowness(("tts",))) == [1.0] * 4, "other work says nothing of this one"


def test_the_average_decays_so_that_a_node_may_change() -> None:
    paces = Paces(2)
    observe(paces, 0, 100, OBSERVATIONS_MIN)
    observe(paces, 1, 400, OBSERVATIONS_MIN)
    slowness = observe(paces, 1, 100, 60)
    paces.tick(0)
    assert slowness[0] == pytest.approx(1.0, abs=0.01)
    assert slowness[1] == pytest.approx(1.0, abs=0.01)


def test_of_what_a_node_ends_at_one_instant_the_first_stands_for_all() -> None:
    paces = Paces(2)
    observe(paces, 0, 100, OBSERVATIONS_MIN)
    observe(paces, 1, 400, OBSERVATIONS_MIN)
    slowness = observe(paces, 1, 100, 1, now_ns=5)
    once = slowness[1]
    observe(paces, 1, 100, 1, now_ns=5)
    assert slowness[1] == once < 400 / 250


def test_what_got_no_news_for_a_while_is_forgotten() -> None:
    paces = Paces(2)
    observe(paces, 0, 100, OBSERVATIONS_MIN)
    slowness = observe(paces, 1, 400, OBSERVATIONS_MIN)
    observe(paces, 0, 100, 1, now_ns=FORGET_NS)
    paces.tick(FORGET_NS)
    paces.tick(FORGET_NS)
    assert slowness[1] == 1.0
    assert slowness[0] == 1.0, "it is compared with itself alone"


def test_another_node_in_the_same_row_begins_with_nothing_known() -> None:
    paces = Paces(2)
    observe(paces, 0, 100, OBSERVATIONS_MIN)
    slowness = observe(paces, 1, 400, OBSERVATIONS_MIN)
    paces.joined(1, 0)
    assert slowness[1] == 1.0
    assert paces.expected_ns(("nmt",), 1) == pytest.approx(400e6, rel=0.5), "what others take"


def test_what_is_observed_is_bounded_whatever_is_asked_for() -> None:
    paces = Paces(1_000_000)
    begun = [paces.of((f"type-{n}",)) for n in range(100)]
    shared = {id(paces.slowness((f"type-{n}",))) for n in range(100)}
    assert begun.count(None) == 97
    assert len(shared) == 4, "three of their own, and one for all others"
    assert id(paces.even) in shared


def test_the_faster_of_two_nodes_gets_the_larger_share() -> None:
    yard = Yard()
    yard.add(EN_ES, EN_ES, slots=8)
    for _ in range(OBSERVATIONS_MIN):
        jobs = dict(yard.place(exclude=[f"node-{other}"]) for other in (1, 0))
        yard.advance(0.1)
        yard.nodes[0].end(jobs[0])
        yard.advance(0.2)
        yard.nodes[1].end(jobs[1])
    yard.advance(0.2)
    shares = yard.rows(8)
    assert shares[0] == 6, "three times as fast: three times as many"
    assert shares[1] == 2


# ---- slow start


def test_a_node_that_joins_a_running_fleet_gets_its_share_slowly() -> None:
    yard = Yard()
    yard.add(EN_ES, EN_ES, slots=8)
    yard.advance(20)
    yard.add(EN_ES, slots=8)
    before = yard.rows(8)
    assert before[2] < 2, "though it is the least loaded"
    yard.advance(11)
    assert before + yard.rows(7) == {0: 5, 1: 5, 2: 5}, "by now it has as good a claim as any"


def test_nodes_that_came_with_the_fleet_start_at_once_and_so_does_a_lane_that_came_back() -> None:
    yard = Yard()
    yard.add(EN_ES, EN_ES, slots=4)
    assert yard.rows(4) == {0: 2, 1: 2}
    yard.advance(20)
    yard.nodes[1].hang_up()
    yard.nodes[1] = yard.harness.open_lane(1)
    assert list(yard.harness.core.shard.fleet.paces.even[:2]) == [1.0, 1.0]


def test_slow_starts_of_a_whole_fleet_end_some_at_a_time() -> None:
    paces, count = Paces(2_000), 1_500
    paces.slow_start_ns = 10 * SECOND_NS
    paces.joined(1_999, 0)
    for row in range(count):
        paces.joined(row, 60 * SECOND_NS)
    assert min(paces.even[:count]) > 1.0
    ended = []
    for _ in range(3):
        paces.tick(80 * SECOND_NS)
        ended.append([*paces.even[:count]].count(1.0))
    assert ended == [512, 1_024, 1_500]


def test_slow_start_can_be_switched_off() -> None:
    yard = Yard(PoolsConfig(slow_start_s=0))
    yard.add(EN_ES, slots=4)
    yard.place()
    yard.advance(20)
    yard.add(EN_ES, slots=4)
    assert yard.place()[0] == 1


# ---- the weighted choice


def test_a_weighted_choice_is_among_the_best_by_the_room_they_have() -> None:
    found = [_reading(row, 4, held, 0, 1.0) for row, held in enumerate((0, 2, 3, 3, 3, 3))]
    step = 2**64 // 997
    first = Counter(rank(found, ALL_CAN, Ranking(draw=n * step))[0][1] for n in range(997))
    assert set(first) == {0, 1, 2, 3}, "only the four best"
    assert first[0] / 997 == pytest.approx(1.0 / 2.0, abs=0.01)
    assert first[1] / 997 == pytest.approx(0.5 / 2.0, abs=0.01)
    everyone = rank(found, ALL_CAN, Ranking(draw=0))
    assert sorted(row for _, row, _ in everyone) == list(range(6)), "nobody is lost by it"


def test_the_weighted_choice_is_off_unless_it_is_configured() -> None:
    loaded: list[Counter[int]] = []
    for choice in ("best", "weighted"):
        yard = Yard(PoolsConfig(node_choice=choice))
        yard.add(EN_ES, EN_ES, slots=64)
        yard.host.burden(0, foreign=8)
        loaded.append(yard.rows(8))
    assert loaded[0] == {1: 8}
    assert set(loaded[1]) == {0, 1}
