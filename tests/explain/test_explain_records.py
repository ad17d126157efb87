"""Records of decisions: what they tell, by the names of that time."""

from explain.told import explained, fleet_of, the_one
from msgspec.structs import replace
from worker_harness import SECOND_NS

from pointsman_shm.memory.rows import NodeState, RowFlag
from pointsman_wire.lane_messages import JobRefused
from pointsman_wire.queries.explain_messages import Explained, ExplainQuery

# ---- what a record tells


def test_a_placement_is_told_with_its_pool_candidates_runner_up_and_snapshot() -> None:
    harness, nodes = fleet_of(3, slots=2)
    client = harness.open_session("s")
    client.submit("r-1")
    node = next(node for node in nodes if node.assignments())
    view = the_one(harness, "r-1")
    assert view.node_id == f"node-{node.row}"
    assert (view.selector, view.session_decision, view.pool) == ("two_level", "first", "en-es")
    assert (view.pool_order, view.eligible_pools, view.snapshot_version) == (["en-es"], 1, 1)
    (leg,) = view.legs
    assert (leg.how, leg.candidates, leg.looked_at, leg.passed) == ("sample", 3, 3, 3)
    assert sorted(leg.drawn) == [0, 1, 2]
    assert {candidate.node_id for candidate in leg.nodes} == {"node-0", "node-1", "node-2"}
    assert leg.nodes[0].node_id == view.node_id
    assert leg.nodes[0].outcome == "ok"
    assert view.runner_up == leg.nodes[1].node_id
    assert view.replay is not None
    assert view.replay.equal
    assert view.replay.notes == []


def test_who_failed_a_check_is_told_with_the_check() -> None:
    harness, _ = fleet_of(3)
    harness.host.stand(0, flags=RowFlag.PUBLIC | RowFlag.PAUSED)
    harness.host.stand(1, state=NodeState.SUSPECT)
    harness.open_session("s").submit("r-1")
    view = the_one(harness, "r-1")
    assert view.node_id == "node-2"
    reasons = {node.node_id: node.reason for node in view.legs[0].nodes}
    assert reasons == {"node-0": "owner_paused", "node-1": "status_not_ready", "node-2": ""}
    assert view.replay is not None
    assert view.replay.equal


def test_a_refusal_is_told_with_its_breakdown_and_replayed_as_well() -> None:
    harness, _ = fleet_of(3)
    harness.open_session("s").submit("r-1", tgt_lang="ja", wait_none_s=0.0)
    view = the_one(harness, "r-1")
    assert (view.node_id, view.code) == ("", "NO_AVAILABLE_NODE")
    assert view.breakdown is not None
    assert view.breakdown.counts == {"lang_pair_unsupported": 3}
    assert view.replay is not None
    assert view.replay.equal


def test_every_attempt_of_a_job_is_told_in_order() -> None:
    harness, nodes = fleet_of(2)
    harness.open_session("s").submit("r-1")
    first = next(node for node in nodes if node.harness.held(node.row))
    job = first.assignment()
    harness.now_ns += SECOND_NS
    first.end(job, status="failed", code="INTERNAL", retryable=True)
    views = explained(harness, "r-1")
    assert [(view.attempt, view.selector) for view in views] == [(1, "two_level"), (2, "failover")]
    assert views[0].node_id != views[1].node_id
    assert [view.replay is not None and view.replay.equal for view in views] == [True, True]
    failed = {node.node_id: node.reason for leg in views[1].legs for node in leg.nodes}
    assert failed[views[0].node_id] == "excluded"


def test_a_capacity_refusal_of_the_node_and_the_slot_freed_later_are_told() -> None:
    harness, (node,) = fleet_of(1)
    client = harness.open_session("s")
    client.submit("r-1")
    client.submit("r-2")
    job = node.assignment()
    node.end(job)
    taken = the_one(harness, "r-2")
    assert (taken.selector, taken.node_id) == ("reserve", "node-0")
    job = node.assignment()
    harness.receive(
        node.connection,
        JobRefused(job_id=job.job_id, epoch=1, dispatch=job.dispatch, code="NODE_OVERLOADED"),
    )
    assert [view.attempt for view in explained(harness, "r-2")] == [1, 2]


def test_a_request_that_waits_is_told_with_the_reason_why() -> None:
    harness, _ = fleet_of(1)
    client = harness.open_session("s")
    client.submit("r-1")
    client.submit("r-2")
    answer = harness.core.answer(ExplainQuery(request_id="r-2"))
    assert isinstance(answer, Explained)
    (job,) = answer.jobs
    assert (job.state, job.waits) == ("pending", True)
    assert job.breakdown is not None
    assert job.breakdown.counts == {"capacity_exceeded": 1}


def test_one_id_in_two_sessions_gives_two_requests_or_the_one_that_is_named() -> None:
    harness, _ = fleet_of(4)
    harness.open_session("s-1").submit("r-1")
    harness.open_session("s-2").submit("r-1")
    assert {view.session_id for view in explained(harness, "r-1")} == {"s-1", "s-2"}
    (view,) = explained(harness, "r-1", session_id="s-2")
    assert view.session_id == "s-2"


def test_explaining_changes_nothing() -> None:
    harness, _ = fleet_of(2)
    client = harness.open_session("s")
    for number in range(3):
        client.submit(f"r-{number}")
    shard = harness.core.shard
    session = next(iter(shard.sessions.values()))
    before = (shard.fleet.draws.counter, session.binding, shard.recorder.size, harness.held(0))
    assert explained(harness, "r-0")
    assert not explained(harness, "r-2"), "it waits: no decision yet"
    after = (shard.fleet.draws.counter, session.binding, shard.recorder.size, harness.held(0))
    assert after == before


# ---- names


def test_a_row_that_another_node_has_now_is_told_by_the_name_of_who_had_it_then() -> None:
    harness, _ = fleet_of(2)
    harness.open_session("s").submit("r-1")
    before = the_one(harness, "r-1")
    host = harness.host
    row = int(before.node_id.removeprefix("node-"))
    host.records[row] = replace(host.records[row], node_id="newcomer", generation=2)
    host.stand(row)
    host.publish(harness.now_ns)
    harness.feed()
    view = the_one(harness, "r-1")
    assert view.node_id == before.node_id
    assert {node.node_id for node in view.legs[0].nodes} == {"node-0", "node-1"}
    assert harness.core.shard.fleet.node_id(row) == "newcomer"
    assert view.replay is not None
    assert view.replay.equal


def test_a_node_that_left_is_still_told_by_its_name() -> None:
    harness, _ = fleet_of(2)
    harness.open_session("s").submit("r-1")
    before = the_one(harness, "r-1")
    host = harness.host
    row = int(before.node_id.removeprefix("node-"))
    del host.records[row]
    host.rows.standing[row] = 0
    host.publish(harness.now_ns)
    harness.feed()
    assert the_one(harness, "r-1").node_id == before.node_id
