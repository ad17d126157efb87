"""Where a session's jobs go by habit: spread, sticky, preferred labels; never at any price."""

from itertools import pairwise
from typing import Any

import pytest
from placement.yard import EN_ES, Yard, labelled

from pointsman_shm.config import PoolsConfig
from pointsman_shm.memory.rows import NodeState
from pointsman_wire.lane_messages import NodeResult
from pointsman_wire.session_messages import Placement

SPREAD = PoolsConfig(spread=True)
STICKY = PoolsConfig(sticky=True)


# ---- spread


def test_with_spread_the_last_node_is_avoided_within_the_window() -> None:
    yard = Yard(SPREAD)
    yard.add(EN_ES, EN_ES, slots=4)
    rows = [yard.run() for _ in range(6)]
    assert all(one != other for one, other in pairwise(rows)), rows


def test_with_spread_the_last_node_is_taken_when_nobody_else_has_room() -> None:
    yard = Yard(SPREAD)
    yard.add(EN_ES, slots=3)
    assert yard.rows(3) == {0: 3}


def test_spread_forgets_the_last_node_after_its_window() -> None:
    yard = Yard(PoolsConfig(spread=True, spread_window_s=5))
    yard.add(EN_ES, EN_ES, slots=4)
    first = yard.run()
    yard.host.burden(1 - first, foreign=1)  # the other is the more loaded one
    for _ in range(12):
        yard.advance(0.5)  # the manager is never silent, so what it says of loads counts
    assert yard.run() == first


def test_spread_is_of_each_session_by_itself() -> None:
    yard = Yard(SPREAD)
    yard.add(EN_ES, EN_ES, slots=4)
    yard.host.burden(1, foreign=2)
    assert yard.run(yard.harness.open_session()) == 0
    assert yard.run(yard.harness.open_session()) == 0


def test_without_spread_the_least_loaded_node_is_taken_again() -> None:
    yard = Yard()
    yard.add(EN_ES, EN_ES, slots=4)
    yard.host.burden(1, foreign=1)
    assert [yard.run() for _ in range(4)] == [0] * 4


def test_with_spread_a_saturated_fleet_says_busy_and_serves_who_waits() -> None:
    yard = Yard(SPREAD)
    yard.add(EN_ES)
    row, job = yard.place()
    yard.submit()
    yard.advance(1)
    assert yard.placed() == []
    yard.nodes[row].end(job)
    ((row, _),) = yard.placed()
    assert row == 0
    assert yard.refuse().code == "QUEUE_TIMEOUT"


# ---- sticky


def test_with_sticky_a_session_stays_with_its_node_while_that_has_room() -> None:
    yard = Yard(STICKY)
    yard.add(*[EN_ES] * 4, slots=2)
    first = yard.run()
    yard.host.burden(first, foreign=1)  # the others are less loaded
    assert [yard.run() for _ in range(5)] == [first] * 5


def test_t17_a_hot_session_spills_above_its_node_and_returns_when_it_is_cool() -> None:
    yard = Yard(STICKY)
    yard.add(*[EN_ES] * 3, slots=2)
    home, job = yard.place()
    assert yard.place()[0] == home
    spilled = [yard.place()[0] for _ in range(2)]
    assert home not in spilled
    yard.nodes[home].end(job)
    assert yard.place()[0] == home


def test_t17_with_affinity_a_hot_tenant_spills_into_other_pools_and_returns() -> None:
    yard = Yard(PoolsConfig(auto_language_pools=False, pool_count=2, session_affinity=True))
    yard.add(*[EN_ES] * 6)
    client = yard.harness.open_session(tenant="tenant-B")  # 0 of two pools, by its hash
    own = {row for row, record in yard.host.records.items() if record.pools == (0,)}
    assert 0 < len(own) < 6
    placed = [yard.place(client) for _ in range(6)]
    assert {row for row, _ in placed[: len(own)]} == own, "its own pool first"
    assert {row for row, _ in placed[len(own) :]} == set(range(6)) - own
    row, job = placed[0]
    yard.nodes[row].end(job)
    assert yard.place(client)[0] == row


def test_t18_a_session_keeps_one_pin_for_each_kind_of_work() -> None:
    yard = Yard(STICKY)
    yard.add(*[EN_ES] * 3, slots=4)
    kinds = (["asr"], ["nmt"], ["tts"])
    client = yard.harness.open_session()
    home = {}
    for at, services in enumerate(kinds):
        for row in range(3):  # make another node the least loaded for each kind
            yard.host.burden(row, foreign=0 if row == at else 2)
        home[at] = yard.run(client, services=services)
    assert home == {0: 0, 1: 1, 2: 2}
    for row in range(3):
        yard.host.burden(row, foreign=0)
    for _ in range(3):
        assert [yard.run(client, services=services) for services in kinds] == [0, 1, 2]


@pytest.mark.parametrize("state", [NodeState.OFFLINE, NodeState.DRAINING, NodeState.DEGRADED])
def test_a_pin_moves_when_its_node_can_do_the_work_no_more(state: NodeState) -> None:
    yard = Yard(STICKY)
    yard.add(*[EN_ES] * 2, slots=2)
    home = yard.run()
    yard.host.stand(home, state=state)
    other = yard.run()
    assert other == 1 - home
    yard.host.stand(home)
    assert yard.run() == other, "the new one is as good by now"


def test_a_pin_moves_from_a_node_on_which_the_job_failed() -> None:
    yard = Yard(STICKY)
    yard.add(*[EN_ES] * 2, slots=2)
    home = yard.run()
    row, job = yard.place()
    assert row == home
    message = NodeResult(
        number=99, job_id=job.job_id, epoch=1, dispatch=job.dispatch, status="failed",
        code="INTERNAL_ERROR", retryable=True,
    )  # fmt: skip
    yard.harness.receive(yard.nodes[row].connection, message)
    ((other, again),) = yard.placed()
    assert other == 1 - home
    yard.nodes[other].end(again)
    assert yard.run() == other


# ---- preferred labels


def test_preferred_labels_are_found_however_few_nodes_have_them() -> None:
    yard = Yard(max_nodes=256)
    yard.add(*[EN_ES] * 199, labelled(zone="a"), slots=4)
    assert [yard.run(labels_preferred={"zone": "a"}) for _ in range(10)] == [199] * 10


def test_preferred_labels_are_no_condition() -> None:
    yard = Yard()
    yard.add(EN_ES, labelled(zone="a"))
    assert yard.place(labels_preferred={"zone": "a"})[0] == 1
    assert yard.place(labels_preferred={"zone": "a"})[0] == 0, "the other has no room"
    error = yard.refuse(labels_preferred={"zone": "a"})
    assert error.breakdown is not None
    assert error.breakdown.counts == {"capacity_exceeded": 2}


def test_a_node_with_all_preferred_labels_comes_before_one_with_some() -> None:
    yard = Yard()
    yard.add(EN_ES, labelled(zone="a"), labelled(disk="fast", zone="a"))
    wanted = {"zone": "a", "disk": "fast"}
    assert [yard.place(labels_preferred=wanted)[0] for _ in range(3)] == [2, 1, 0]


def test_required_labels_stay_required_beside_preferred_ones() -> None:
    yard = Yard()
    yard.add(labelled(zone="a"), labelled(disk="fast", zone="b"))
    fields: dict[str, Any] = {
        "labels_required": {"zone": "a"},
        "labels_preferred": {"disk": "fast"},
    }
    assert yard.place(**fields)[0] == 0
    error = yard.refuse(**fields)
    assert error.breakdown is not None
    assert error.breakdown.counts == {"capacity_exceeded": 1, "label_mismatch": 1}


# ---- preferred node


def test_a_preferred_node_is_taken_from_whatever_pool_and_others_when_it_is_full() -> None:
    yard = Yard()
    yard.add(EN_ES, EN_ES)
    row, job = yard.place(preferred_node="node-1", explain=True)
    assert row == 1
    yard.nodes[1].end(job)
    placement = yard.results()[0].placement
    assert isinstance(placement, Placement)
    assert placement.selector == "preferred"
    assert yard.place(preferred_node="node-1")[0] == 1
    assert yard.place(preferred_node="node-1")[0] == 0


def test_a_preferred_node_that_is_excluded_is_excluded() -> None:
    yard = Yard()
    yard.add(EN_ES, EN_ES)
    assert yard.place(preferred_node="node-1", exclude=["node-1"])[0] == 0
