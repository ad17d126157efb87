"""Replays: everything that was decided comes out the same; what was tampered with is noticed."""

import pytest
from explain.told import explained, fleet_of, grounds_for, recorded, the_one
from fleet_samples import speech_class
from hypothesis import event, given
from hypothesis import strategies as st
from msgspec.structs import replace
from placement.fleets import Stage, wishes, worlds
from placement.reference import World
from placement.reference_rules import Wish
from worker_harness import SECOND_NS

from pointsman_shm.memory.rows import NodeState, RowFlag, pack_load, pack_standing
from pointsman_shm.rules.session_pool import SessionBinding
from pointsman_shm.snapshot.records import MarkRecord
from pointsman_workers.explain.recorder import Recorder
from pointsman_workers.explain.records import (
    Placed,
    RecordDamaged,
    Refused,
    decode_record,
)
from pointsman_workers.explain.replay import Grounds, Replay, replay, replay_refusal
from pointsman_workers.placement.checks import Judgement, Ranking, Reading, first_failed_check
from pointsman_workers.placement.ranking import rank

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


def test_a_node_whose_class_is_too_new_for_the_snapshot_is_judged_again_as_it_was() -> None:
    """Rows are written before the pages: for a moment a word speaks of a class that none has."""
    harness, _ = fleet_of(1)
    harness.host.rows.standing[0] = pack_standing(
        generation=1, class_number=7, state=NodeState.READY, flags=RowFlag.PUBLIC, slots_max=1
    )
    harness.open_session("s").submit("r-1", wait_none_s=0.0)
    view = the_one(harness, "r-1")
    assert view.breakdown is not None
    assert view.breakdown.counts == {"status_not_ready": 1}
    assert view.replay is not None
    assert view.replay.equal, view.replay.differences


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


def test_a_refusal_that_is_shared_is_replayed_with_what_was_known_when_it_was_made() -> None:
    """A snapshot that came in between knew the class of a node that was beyond the verdicts."""
    harness, _ = fleet_of(1)
    client = harness.open_session("s")
    client.submit("r-0")
    harness.host.node(0, replace(speech_class("en", "es"), labels=(("zone", "b"),)))
    client.submit("r-1", wait_none_s=0.0, wait_busy_s=0.0)
    harness.host.publish(harness.now_ns)
    harness.feed()
    client.submit("r-2", wait_none_s=0.0, wait_busy_s=0.0)
    views = [the_one(harness, request_id) for request_id in ("r-1", "r-2")]
    for view in views:
        assert view.breakdown is not None
        assert view.breakdown.counts == {"status_not_ready": 1}
        assert view.replay is not None
        assert view.replay.equal, view.replay.differences
    assert views[0].snapshot_version == views[1].snapshot_version


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
