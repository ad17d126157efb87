"""Records of decisions: everything can be replayed, what was tampered with is noticed."""

from typing import Any

import pytest
from fleet_samples import speech_class
from hypothesis import event, given
from hypothesis import strategies as st
from msgspec.structs import replace
from placement.fleets import Stage, wishes, worlds
from placement.reference import World
from placement.reference_rules import Wish
from worker_harness import SECOND_NS, Host, Node, WorkerHarness

from pointsman_shm.config import Config, ExplainConfig, PoolsConfig
from pointsman_shm.memory.rows import NodeState, RowFlag, pack_load, pack_standing
from pointsman_shm.rules.session_pool import SessionBinding
from pointsman_shm.snapshot.records import MarkRecord
from pointsman_wire.lane_messages import JobRefused
from pointsman_wire.queries.explain_messages import DecisionView, Explained, ExplainQuery
from pointsman_workers.core.state import Key
from pointsman_workers.explain.pages import KeptPages
from pointsman_workers.explain.recorder import Recorder
from pointsman_workers.explain.records import (
    Placed,
    RecordDamaged,
    Refused,
    decode_record,
)
from pointsman_workers.explain.replay import Grounds, Replay, replay, replay_refusal
from pointsman_workers.explain.ring import Ring
from pointsman_workers.placement.checks import first_failed_check
from pointsman_workers.placement.ranking import Judgement, Ranking, Reading, rank


def explained(harness: WorkerHarness, request_id: str, **fields: Any) -> list[DecisionView]:
    """What a worker says of a request, with replays."""
    answer = harness.core.answer(ExplainQuery(request_id=request_id, replay=True, **fields))
    assert isinstance(answer, Explained)
    return answer.decisions


def the_one(harness: WorkerHarness, request_id: str) -> DecisionView:
    (view,) = explained(harness, request_id)
    return view


def fleet_of(count: int, *, slots: int = 1, **pools: object) -> tuple[WorkerHarness, list[Node]]:
    """A worker with so many equal nodes, all of them ready and with a lane."""
    host = Host(Config(pools=PoolsConfig(**pools)), max_nodes=max(64, count))  # type: ignore[arg-type]
    for row in range(count):
        host.node(row, slots=slots)
    host.publish(SECOND_NS)
    harness = WorkerHarness(host)
    harness.feed()
    return harness, [harness.open_lane(row) for row in range(count)]


def recorded(harness: WorkerHarness, key: Key) -> Placed:
    (data,) = harness.core.shard.recorder.of(key)
    record = decode_record(data)
    assert isinstance(record, Placed)
    return record


def grounds_for(harness: WorkerHarness, key: Key, record: Placed) -> Grounds:
    shard = harness.core.shard
    pages = shard.recorder.pages
    latest = pages.latest()
    assert latest is not None
    return Grounds(key, shard.fleet.draws.seed, pages.of(record.version), latest)


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


# ---- replays


@given(worlds(), st.lists(wishes(), min_size=1, max_size=4))
def test_whatever_was_decided_is_decided_again_by_its_record(
    world: World, several: list[Wish]
) -> None:
    stage = Stage(world)
    for number, wish in enumerate(several, 1):
        stage.submit(wish)
        (view,) = explained(
            stage.harness,
            f"r-{number}",
            session_id=stage.client(wish.tenant).ack.session_id,
        )
        event("placed: " + view.selector if view.node_id else "refused")
        assert view.replay is not None
        assert view.replay.equal, view.replay.differences
        if view.node_id:
            assert view.legs[-1].reserved


@pytest.mark.parametrize(
    "pools",
    [
        {"node_choice": "weighted"},
        {"pool_choice": "weighted"},
        {"sticky": True},
        {"spread": True},
        {"session_affinity": True},
        {"mode": "single_level"},
        {"auto_language_pools": False, "pool_count": 3},
    ],
)
def test_every_way_to_choose_is_replayed_equally(pools: dict[str, object]) -> None:
    harness, nodes = fleet_of(12, slots=3, **pools)
    client = harness.open_session("s")
    for number in range(24):
        client.submit(f"r-{number}", labels_preferred={"zone": "a"} if number % 2 else {})
        harness.now_ns += SECOND_NS // 10
        if number % 3 == 0:
            node = next(node for node in nodes if harness.held(node.row))
            for job in node.assignments():
                node.end(job)
    views = [view for number in range(24) for view in explained(harness, f"r-{number}")]
    assert len(views) >= 24
    for view in views:
        assert view.replay is not None
        assert view.replay.equal, view.replay.differences


def test_a_decision_from_before_a_change_of_the_fleet_is_replayed_equally() -> None:
    harness, _ = fleet_of(4)
    harness.open_session("s").submit("r-1")
    host = harness.host
    for row in range(4, 9):
        host.node(row, speech_class("de", "fr"))
    host.node(1, speech_class("ja", "ko"))
    host.publish(harness.now_ns)
    harness.feed()
    view = the_one(harness, "r-1")
    assert view.snapshot_version == 1
    assert view.replay is not None
    assert view.replay.equal
    assert view.pool == "en-es"


def test_a_node_barred_by_a_mark_is_barred_in_the_replay_when_the_mark_is_long_over() -> None:
    harness, _ = fleet_of(2)
    host = harness.host
    host.marks = [MarkRecord(0, 1, "nmt", "", harness.now_ns + SECOND_NS)]
    host.stand(0, flags=RowFlag.PUBLIC | RowFlag.MARKED)
    host.publish(harness.now_ns)
    harness.open_session("s").submit("r-1")
    harness.advance(1.5)
    host.marks = []
    host.stand(0)
    host.publish(harness.now_ns)
    harness.feed()
    view = the_one(harness, "r-1")
    assert view.node_id == "node-1"
    assert {node.node_id: node.reason for node in view.legs[0].nodes} == {
        "node-0": "model_not_available",
        "node-1": "",
    }
    assert view.replay is not None
    assert view.replay.equal


def test_of_a_long_walk_the_last_chunk_is_kept_and_of_the_rest_a_count_and_a_digest() -> None:
    harness, _ = fleet_of(200)
    client = harness.open_session("s")
    own = harness.core.shard.fleet.own
    standing = harness.core.shard.fleet.standing
    free = 150
    for row in range(200):
        if row != free:
            own.reserve(row, standing, standing[row])
    client.submit("r-1")
    view = the_one(harness, "r-1")
    assert view.node_id == f"node-{free}"
    walk = view.legs[-1]
    if walk.how == "walk":
        assert walk.left_out + len(walk.nodes) == walk.looked_at <= 200
        assert walk.digest
    assert view.replay is not None
    assert view.replay.equal
    assert bool(walk.left_out) == any("a count and a digest" in n for n in view.replay.notes)


def test_without_its_pages_a_record_is_replayed_as_far_as_it_goes_and_says_so() -> None:
    harness, _ = fleet_of(3)
    harness.open_session("s").submit("r-1")
    key = ("", "s", "r-1")
    record = recorded(harness, key)
    grounds = replace(grounds_for(harness, key, record), kept=None)
    again = replay(record, grounds)
    assert again.is_equal
    assert any("not kept any more" in note for note in again.notes)


# ---- tampering


def tampered(record: Placed) -> dict[str, Placed]:
    """The record with one thing changed each."""
    leg = record.legs[-1]
    loser = next(reading for reading in leg.readings if reading[0] == record.runner_up)
    taker = next(reading for reading in leg.readings if reading[0] == record.row)
    assert record.session is not None

    def with_reading(old: Reading, new: Reading) -> Placed:
        readings = tuple(new if reading == old else reading for reading in leg.readings)
        return replace(record, legs=(replace(leg, readings=readings),))

    row, word, load, held, lane, slowness = taker
    busier = (row, word, load | 5 << 16, held, lane, slowness)
    full = (row, word, load, 99, lane, slowness)
    elsewhere = (row, word, load, held, lane + 1, slowness)
    slower = (row, word, load, held, lane, 4.0)
    return {
        "another node": replace(record, row=record.runner_up),
        "another runner-up": replace(record, runner_up=record.row),
        "another score": replace(record, score=record.score + 0.5),
        "the chosen one was busier": with_reading(taker, busier),
        "the chosen one was full": with_reading(taker, full),
        "the chosen one had no lane": with_reading(taker, elsewhere),
        "the chosen one was slower": with_reading(taker, slower),
        "the runner-up is gone": with_reading(loser, (loser[0], 0, 0, 0, 0, 1.0)),
        "the chosen one was excluded": replace(
            record, legs=(replace(leg, ranking=Ranking(frozenset({record.row}))),)
        ),
        "no reservation": replace(record, legs=(replace(leg, outcomes=()),)),
        "a reservation that failed": replace(record, legs=(replace(leg, outcomes=(1,)),)),
        "one that went on after a success": replace(record, legs=(leg, leg)),
        "no leg": replace(record, legs=()),
        "another job": replace(
            record, requirement=replace(record.requirement, tgt="ja"), session=None
        ),
        "another session decision": replace(
            record, session=replace(record.session, outcome="affinity")
        ),
        "other pools": replace(record, session=replace(record.session, pools=(99,))),
        "bound before": replace(
            record, session=replace(record.session, before=SessionBinding("en", "es", 1))
        ),
        "more pools could": replace(record, session=replace(record.session, eligible_count=7)),
    }


def test_a_tampered_record_is_noticed_whatever_was_changed() -> None:
    harness, _ = fleet_of(3, slots=2)
    harness.open_session("s").submit("r-1")
    key = ("", "s", "r-1")
    record = recorded(harness, key)
    grounds = grounds_for(harness, key, record)
    assert replay(record, grounds) == Replay((), ())
    unnoticed = [what for what, one in tampered(record).items() if replay(one, grounds).is_equal]
    assert unnoticed == []


def test_a_tampered_refusal_is_noticed() -> None:
    harness, _ = fleet_of(3)
    harness.open_session("s").submit("r-1", tgt_lang="ja", wait_none_s=0.0)
    recorder = harness.core.shard.recorder
    (data,) = recorder.of(("", "s", "r-1"))
    record = decode_record(data)
    assert isinstance(record, Refused)
    shared, latest = recorder.shared(record.shared), recorder.pages.latest()
    assert shared is not None
    assert latest is not None
    grounds = Grounds(("", "s", "r-1"), 0, latest, latest)
    assert replay_refusal(record, shared, grounds).is_equal
    fewer = replace(shared.breakdown, counts={"lang_pair_unsupported": 2})
    assert not replay_refusal(record, replace(shared, breakdown=fewer), grounds).is_equal
    able = replace(record, requirement=replace(record.requirement, tgt="es"))
    assert not replay_refusal(able, shared, grounds).is_equal
    assert replay_refusal(record, None, grounds).notes


@given(st.binary(max_size=64))
def test_bytes_that_are_no_record_are_named_so(data: bytes) -> None:
    try:
        record = decode_record(data)
    except RecordDamaged:
        return
    assert isinstance(record, Placed | Refused)


# ---- bounds


def test_a_ring_keeps_within_its_bytes_and_forgets_the_oldest() -> None:
    ring: Ring[str] = Ring(20_000)
    for number in range(1_000):
        ring.put(f"key-{number}", bytes(100))
        assert ring.size <= 20_000
    assert ring.of("key-999") == [bytes(100)]
    assert ring.of("key-0") == []
    assert len(ring) + ring.dropped_count == 1_000
    assert len(list(ring)) == len(ring)


def test_a_ring_keeps_the_records_of_a_key_in_order_and_drops_them_one_by_one() -> None:
    ring: Ring[str] = Ring(2_500)
    for number in range(5):
        ring.put("a", bytes([number]))
    assert ring.of("a") == [bytes([n]) for n in range(5)]
    for _ in range(3):
        ring.put("b", b"x")
    kept = ring.of("a")
    assert kept == [bytes([n]) for n in range(5 - len(kept), 5)]
    assert ring.of("b") == [b"x"] * 3
    assert ring.size <= 2_500


def test_equal_records_of_one_key_are_kept_and_dropped_as_two() -> None:
    ring: Ring[str] = Ring(1_000)
    record = b"same"
    ring.put("a", record)
    ring.put("a", record)
    assert len(ring.of("a")) == len(ring) == 2
    ring.put("b", b"y")
    assert len(ring) == 2
    assert ring.of("a") == [record]
    ring.put("b", b"z")
    assert ring.of("a") == []
    assert list(ring) == ["b"]


def test_decisions_keep_within_the_configured_bytes() -> None:
    host = Host(Config(explain=ExplainConfig(bytes_max=64 * 1024)))
    host.node(0, slots=1)
    host.publish(SECOND_NS)
    harness = WorkerHarness(host)
    harness.feed()
    node = harness.open_lane(0)
    client = harness.open_session("s")
    recorder = harness.core.shard.recorder
    for number in range(400):
        client.submit(f"r-{number}")
        node.end(node.assignment())
        client.submit(f"no-{number}", tgt_lang="ja", wait_none_s=0.0)
        assert recorder.size <= 64 * 1024
    assert explained(harness, "r-399")
    assert not explained(harness, "r-0")
    answer = harness.core.answer(ExplainQuery(request_id="r-399"))
    assert isinstance(answer, Explained)
    assert answer.bytes_kept == recorder.size
    assert answer.decisions_kept + answer.decisions_dropped == 800


def test_a_flood_of_placements_does_not_wash_refusals_away() -> None:
    host = Host(Config(explain=ExplainConfig(bytes_max=64 * 1024)))
    host.node(0, slots=1)
    host.publish(SECOND_NS)
    harness = WorkerHarness(host)
    harness.feed()
    node = harness.open_lane(0)
    client = harness.open_session("s")
    client.submit("refused", tgt_lang="ja", wait_none_s=0.0)
    for number in range(300):
        client.submit(f"r-{number}")
        node.end(node.assignment())
    assert not explained(harness, "r-0")
    view = the_one(harness, "refused")
    assert view.breakdown is not None


def test_a_flood_of_equal_refusals_keeps_their_answer_once() -> None:
    harness, _ = fleet_of(40)
    client = harness.open_session("s")
    recorder = harness.core.shard.recorder
    client.submit("first", tgt_lang="ja", wait_none_s=0.0)
    size = recorder.size
    for number in range(100):
        client.submit(f"r-{number}", tgt_lang="ja", wait_none_s=0.0)
    assert (recorder.size - size) / 100 < 600
    assert the_one(harness, "r-99").breakdown == the_one(harness, "first").breakdown


def test_kept_pages_are_bounded_by_number_and_by_what_they_take() -> None:
    harness, _ = fleet_of(1)
    kept, host = KeptPages(), harness.host
    fleet = harness.core.shard.fleet
    for version in range(3, 1_200):
        kept.keep(replace(fleet.snapshot, version=version))
    assert kept.of(1_199) is not None
    assert kept.of(3) is None
    assert len(kept) <= 1024
    crowded, pool = KeptPages(), fleet.snapshot.pools.pools[0]
    many = replace(pool, classes=tuple((number, 1, 1) for number in range(4_000)))
    for version in range(1, 100):
        pools = replace(fleet.snapshot.pools, pools=(replace(many, name=f"p{version}"),) * 10)
        crowded.keep(replace(fleet.snapshot, version=version, pools=pools))
    assert 1 <= len(crowded) < 10
    assert crowded.of(99) is not None
    assert host.records


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


# ---- one judgement in two forms

WORDS = st.builds(
    pack_standing,
    generation=st.integers(1, 2),
    class_number=st.integers(0, 3),
    state=st.sampled_from((NodeState.READY, NodeState.READY, NodeState.SUSPECT, NodeState.OFFLINE)),
    flags=st.sampled_from(
        (RowFlag.PUBLIC, RowFlag.PUBLIC, RowFlag.PAUSED, RowFlag.MARKED, RowFlag.OVERLOADED)
    ),
    slots_max=st.integers(1, 3),
)
LOADS = st.builds(
    pack_load,
    cpu=st.just(10),
    gpu=st.just(255),
    gpu_memory=st.just(255),
    memory=st.just(10),
    foreign=st.integers(0, 3),
)
ROWS = st.integers(0, 7)
READINGS = st.lists(
    st.tuples(ROWS, WORDS, LOADS, st.integers(0, 3), st.integers(1, 2), st.just(1.0)),
    unique_by=lambda reading: reading[0],
)


@given(READINGS, st.frozensets(ROWS), st.frozensets(ROWS), st.booleans())
def test_ranking_lets_through_exactly_those_that_fail_no_check(
    readings: list[Reading], excluded: frozenset[int], barred: frozenset[int], is_stale: bool
) -> None:
    judgement = Judgement(bytes([0, 0, 5]), is_barred=lambda row, _: row in barred)
    ranking = Ranking(excluded, is_stale=is_stale)
    ranked = rank(readings, judgement, ranking)
    passing = {r[0] for r in readings if first_failed_check(r, judgement, ranking) is None}
    assert {row for _, row, _ in ranked} == passing
    assert [score for score, _, _ in ranked] == sorted(score for score, _, _ in ranked)


def test_a_recorder_writes_for_a_fleet_of_its_own_and_takes_little() -> None:
    harness, _ = fleet_of(8)
    harness.open_session("s").submit("r-1")
    recorder = harness.core.shard.recorder
    assert isinstance(recorder, Recorder)
    (data,) = recorder.of(("", "s", "r-1"))
    assert len(data) < 400
