"""What a refusal says: counted, named, nearest, expected; three answers; and what a storm costs."""

from collections.abc import Callable
from typing import Any

import pytest
from fleet_samples import speech_class
from msgspec.structs import replace
from placement.yard import EN_ES, Yard, labelled

from pointsman_shm.config import PoolConfig, PoolsConfig
from pointsman_shm.memory.rows import NodeState, RowFlag
from pointsman_shm.snapshot.records import CapabilityClass, MarkRecord
from pointsman_wire.messages import Breakdown, Error, ErrorInfo, NearestMiss
from pointsman_wire.session_messages import JobAccepted

EN_FR = speech_class("en", "fr")


def breakdown_of(error: ErrorInfo) -> Breakdown:
    """The breakdown of a refusal; its counters add up."""
    assert error.breakdown is not None, error
    breakdown = error.breakdown
    assert sum(breakdown.counts.values()) == breakdown.total_nodes
    return breakdown


# ---- each reason, one row each: what is wrong with the one node, and what is said of it

Change = Callable[[Yard], None]


def stand(state: NodeState = NodeState.READY, flags: int = 1) -> Change:
    return lambda yard: yard.host.stand(0, state=state, flags=RowFlag(flags))


def hang_up(yard: Yard) -> None:
    yard.nodes[0].hang_up()


def mark(yard: Yard) -> None:
    until_ns = yard.harness.now_ns + 60_000_000_000
    yard.host.marks.append(MarkRecord(0, 1, "nmt", "", until_ns))
    yard.host.stand(0, flags=RowFlag.PUBLIC | RowFlag.MARKED)
    yard.publish()


def fill(yard: Yard) -> None:
    yard.place()


def nothing(_: Yard) -> None:
    """The node is as it is."""


NO_TTS = speech_class("en", "es", types=("asr", "nmt"))
PRIVATE = replace(EN_ES, tenant="acme", public=False)
REASONS: list[tuple[str, CapabilityClass, Change, dict[str, object]]] = [
    ("offline", EN_ES, stand(NodeState.OFFLINE), {}),
    ("status_not_ready", EN_ES, stand(NodeState.REGISTERING), {}),
    ("status_not_ready", EN_ES, stand(NodeState.DEGRADED), {}),
    ("status_not_ready", EN_ES, stand(NodeState.SUSPECT), {}),
    ("status_not_ready", EN_ES, stand(NodeState.DRAINING), {}),
    ("not_in_public_pool", PRIVATE, nothing, {}),
    ("not_in_public_pool", EN_ES, nothing, {"accept_public": False, "tenant": "acme"}),
    ("model_not_available", NO_TTS, nothing, {"services": ["nmt", "tts"]}),
    ("model_not_available", EN_ES, mark, {}),
    ("capacity_exceeded", EN_ES, fill, {}),
    ("resource_threshold_exceeded", EN_ES, stand(flags=33), {}),
    ("lang_pair_unsupported", EN_FR, nothing, {}),
    ("asr_lang_unsupported", EN_FR, nothing, {"services": ["asr"], "src_lang": "es"}),
    ("tts_lang_unsupported", EN_FR, nothing, {"services": ["tts"]}),
    ("src_auto_no_candidate", EN_FR, nothing, {"src_lang": "auto"}),
    ("feature_unsupported", EN_ES, nothing, {"features": ["emotion_detection"]}),
    ("label_mismatch", labelled(zone="b"), nothing, {"labels_required": {"zone": "a"}}),
    ("owner_paused", EN_ES, stand(flags=3), {}),
    ("excluded", EN_ES, nothing, {"exclude": ["node-0"]}),
    ("no_lane", EN_ES, hang_up, {}),
]


@pytest.mark.parametrize("case", REASONS, ids=[f"{case[0]}-{n}" for n, case in enumerate(REASONS)])
def test_every_reason_is_counted_named_and_advised(
    case: tuple[str, CapabilityClass, Change, dict[str, object]],
) -> None:
    reason, capability, change, fields = case
    yard = Yard()
    yard.add(capability)
    change(yard)
    client = yard.harness.open_session(tenant=str(fields.pop("tenant", "")))
    error = yard.refuse(client, **fields)
    breakdown = breakdown_of(error)
    assert breakdown.counts == {reason: 1}
    assert breakdown.best_reason == reason
    assert breakdown.nodes == {reason: ["node-0"]}
    assert breakdown.funnel == [("registered", 1), (breakdown.funnel[1][0], 0)]
    assert [miss.node_id for miss in breakdown.nearest] == ["node-0"]
    assert breakdown.fix
    is_busy = reason in ("capacity_exceeded", "resource_threshold_exceeded")
    assert breakdown.answer == ("all_busy" if is_busy else "none_can")
    assert error.code == ("QUEUE_TIMEOUT" if is_busy else "NO_AVAILABLE_NODE")
    assert error.retry_after_ms


def test_a_fleet_that_requires_a_gpu_counts_nodes_without_one() -> None:
    yard = Yard()
    yard.host.config = replace(
        yard.host.config, nodes=replace(yard.host.config.nodes, require_gpu=True)
    )
    yard.add(EN_ES)
    assert breakdown_of(yard.refuse()).counts == {"gpu_unavailable": 1}
    yard.add(replace(EN_ES, gpu=True))
    assert yard.place()[0] == 1


def test_without_nodes_the_answer_is_no_nodes() -> None:
    breakdown = breakdown_of(Yard().refuse())
    assert (breakdown.total_nodes, breakdown.best_reason) == (0, "no_nodes")
    assert "pointsman node" in breakdown.fix


def test_strict_eligibility_without_a_pool_is_an_answer_of_its_own() -> None:
    yard = Yard(PoolsConfig(strict_eligibility=True))
    yard.add(EN_FR)
    error = yard.refuse()
    assert breakdown_of(error).best_reason == "no_eligible_pool"
    assert error.code == "NO_AVAILABLE_NODE"


def test_ties_of_counters_go_to_the_earlier_reason() -> None:
    yard = Yard()
    yard.add(EN_ES, EN_ES)
    yard.host.stand(0, flags=RowFlag.PUBLIC | RowFlag.PAUSED)
    yard.host.stand(1, state=NodeState.SUSPECT)
    assert breakdown_of(yard.refuse()).best_reason == "status_not_ready"


# ---- of whom it speaks


def test_a_refusal_speaks_of_the_pools_that_were_asked_and_of_the_offline() -> None:
    yard = Yard()
    yard.add(EN_ES, EN_FR, EN_FR, EN_ES)
    yard.host.node(3, EN_ES, state=NodeState.OFFLINE)
    yard.publish()
    yard.place()
    breakdown = breakdown_of(yard.refuse())
    assert breakdown.counts == {"offline": 1, "capacity_exceeded": 1}, "nobody asked the French"
    yard.advance(0.3)
    assert breakdown_of(yard.refuse(tgt_lang="de")).total_nodes == 4, "no pool has it: all asked"


def test_a_pool_that_the_core_cache_skips_is_still_counted() -> None:
    yard = Yard()
    yard.add(EN_ES, speech_class("en", "es", ready=("asr", "tts")))
    yard.host.node(0, EN_ES, state=NodeState.DEGRADED)
    yard.publish()
    asked = yard.harness.core.shard.fleet.index.cached_list_count
    assert breakdown_of(yard.refuse()).counts == {"status_not_ready": 1, "model_not_available": 1}
    assert yard.harness.core.shard.fleet.index.cached_list_count == asked, "no candidates were made"


def test_at_most_32_nodes_are_named_for_each_reason() -> None:
    yard = Yard()
    yard.add(*[EN_ES] * 40)
    yard.rows(40)
    breakdown = breakdown_of(yard.refuse())
    assert breakdown.counts == {"capacity_exceeded": 40}
    assert breakdown.nodes == {"capacity_exceeded": [f"node-{row}" for row in range(32)]}


# ---- the nearest misses, and when


def test_the_nearest_miss_of_a_full_fleet_is_who_is_free_soonest() -> None:
    yard = Yard()
    yard.add(EN_ES, EN_ES)
    for _ in range(3):  # what takes how long: 1 s on node 0, 3 s on node 1
        jobs = dict(yard.place(exclude=[f"node-{other}"]) for other in (1, 0))
        yard.advance(1)
        yard.nodes[0].end(jobs[0])
        yard.advance(2)
        yard.nodes[1].end(jobs[1])
    jobs = dict(yard.place() for _ in range(2))
    yard.advance(0.6)
    error = yard.refuse()
    nearest = breakdown_of(error).nearest
    assert [(miss.node_id, miss.missing) for miss in nearest] == [
        ("node-0", ["a free slot"]),
        ("node-1", ["a free slot"]),
    ]
    assert nearest[0].free_in_ms == pytest.approx(400, abs=50)
    assert nearest[1].free_in_ms == pytest.approx(2_400, abs=50)
    assert error.message == "2 of 2 nodes can do it, all are busy, free in about 0.4 s"
    assert error.retry_after_ms == nearest[0].free_in_ms


def test_where_nothing_was_observed_no_time_is_promised() -> None:
    yard = Yard()
    yard.add(EN_ES)
    yard.place()
    error = yard.refuse()
    assert breakdown_of(error).nearest == [NearestMiss(node_id="node-0", missing=["a free slot"])]
    assert error.message == "1 of 1 nodes can do it, all are busy"


def test_other_misses_name_the_one_thing_that_is_lacking() -> None:
    yard = Yard()
    both = replace(labelled(zone="b"), types_ready=("asr",))
    yard.add(labelled(zone="b"), EN_ES, labelled(zone="a"), both)
    yard.host.stand(2, flags=RowFlag.PUBLIC | RowFlag.PAUSED)
    breakdown = breakdown_of(yard.refuse(labels_required={"zone": "a"}))
    assert [(miss.node_id, miss.missing) for miss in breakdown.nearest] == [
        ("node-0", ["labels zone=a"]),
        ("node-2", ["its owner's leave, or its pool's (it is paused)"]),
    ]


# ---- three answers


def test_a_preferred_node_that_is_busy_is_an_answer_of_its_own() -> None:
    yard = Yard()
    yard.add(labelled(zone="a"), EN_FR)
    yard.place(labels_required={"zone": "a"})
    # The preferred node can do it; of the pools asked nobody else can.
    error = yard.refuse(preferred_node="node-0", labels_required={"zone": "a"})
    assert breakdown_of(error).answer == "all_busy"
    assert error.message.startswith("your preferred node node-0 is busy; 1 of 1 nodes can do it")


def test_a_preferred_node_outside_the_pools_that_is_busy_is_what_one_waits_for() -> None:
    pools = PoolsConfig(
        auto_language_pools=False,
        pool_count=2,
        session_affinity=True,
        fallback_scan_all_pools=False,
    )
    yard = Yard(pools)
    yard.add(*[EN_ES] * 6)
    client = yard.harness.open_session(tenant="tenant-B")  # its own pool is 0 of two
    outside = next(row for row, record in yard.host.records.items() if record.pools == (1,))
    own = [row for row, record in yard.host.records.items() if record.pools == (0,)]
    for row in own:
        yard.host.stand(row, flags=RowFlag.PUBLIC | RowFlag.PAUSED)
    row, job = yard.place(client, preferred_node=f"node-{outside}")
    assert row == outside
    error = yard.refuse(client, preferred_node=f"node-{outside}")
    assert (error.code, breakdown_of(error).answer) == ("QUEUE_TIMEOUT", "preferred_busy")
    text = f"your preferred node node-{outside} is busy; no other of {len(own)} nodes can do it"
    assert error.message == text
    yard.submit(client, preferred_node=f"node-{outside}")
    yard.advance(5)
    assert yard.placed() == [], "it waits as for a busy fleet"
    yard.nodes[row].end(job)
    assert [row for row, _ in yard.placed()] == [outside]


def test_a_preferred_node_that_cannot_is_named_with_its_reason() -> None:
    yard = Yard()
    yard.add(EN_FR)
    error = yard.refuse(preferred_node="node-0")
    assert error.message.startswith(
        "your preferred node node-0 cannot: lang_pair_unsupported; none"
    )
    error = yard.refuse(preferred_node="node-7", tgt_lang="de")
    assert error.message.startswith("your preferred node node-7 cannot: no_lane; none")


def test_none_can_and_all_busy_have_different_waits() -> None:
    yard = Yard()
    yard.add(EN_ES)
    yard.place()
    yard.submit()
    yard.submit(tgt_lang="de")
    yard.advance(2.5)
    ((code, text),) = [(r.error.code, r.error.message) for r in yard.results() if r.error]
    assert (code, text) == ("NO_AVAILABLE_NODE", "none of 1 nodes can do it: lang_pair_unsupported")
    yard.advance(8)
    assert [r.error.code for r in yard.results() if r.error] == ["QUEUE_TIMEOUT"]


def test_excluding_the_only_capable_node_is_none_can_however_busy_it_is() -> None:
    yard = Yard()
    yard.add(EN_ES)
    yard.place()
    yard.refuse()  # for others it is known to be busy
    yard.submit(exclude=["node-0"])
    yard.advance(2.5)
    assert [r.error.code for r in yard.results() if r.error] == ["NO_AVAILABLE_NODE"]


# ---- what a storm costs


def test_equal_refusals_are_computed_once_and_shared_for_a_moment() -> None:
    yard = Yard()
    yard.add(*[EN_ES] * 20)
    yard.rows(20)
    refusals = yard.harness.core._outcomes.placing.refusals
    said = [breakdown_of(yard.refuse()) for _ in range(200)]
    assert refusals.computed_count == 1
    assert all(breakdown == said[0] for breakdown in said)
    yard.advance(0.3)
    yard.refuse()
    assert refusals.computed_count == 2


def test_a_storm_of_unequal_refusals_looks_at_each_node_a_few_times_only() -> None:
    yard = Yard()
    yard.add(*[EN_ES] * 20)
    yard.rows(20)
    refusals = yard.harness.core._outcomes.placing.refusals
    for number in range(300):
        yard.refuse(labels_required={"wish": str(number)})
    assert refusals.computed_count == 300
    assert refusals.censuses.looked_count == 20
    yard.advance(0.1)
    yard.refuse(labels_required={"wish": "another"})
    assert refusals.censuses.looked_count == 40


def test_what_refusals_share_is_bounded() -> None:
    yard = Yard()
    yard.add(EN_ES)
    yard.place()
    refusals = yard.harness.core._outcomes.placing.refusals
    for number in range(1_000):
        yard.refuse(labels_required={"wish": str(number)})
    assert len(refusals._shared) <= 256


def test_a_source_that_nobody_recognises_of_those_that_auto_may_stand_for_is_named() -> None:
    yard = Yard()
    yard.add(EN_ES)
    names = [f"l{number}" for number in range(10)]
    breakdown = breakdown_of(yard.refuse(src_lang="auto", auto_langs=["de", "it"]))
    (miss,) = breakdown.nearest
    assert miss.missing == ["any source language of de, it for es"]
    assert breakdown.fix.endswith(
        "for auto->es, from any source language of de, it, or name others"
    )
    (miss,) = breakdown_of(yard.refuse(src_lang="auto", auto_langs=names)).nearest
    assert miss.missing == [
        "any source language of l0, l1, l2, l3, l4, l5, l6, l7 and 2 more for es"
    ]


STRICT = PoolsConfig(strict_eligibility=True)


@pytest.mark.parametrize("wish", [{}, {"wait_none_s": 5.0}, {"wait_busy_s": 5.0}])
def test_strict_a_request_that_no_pool_fits_is_refused_at_once(wish: dict[str, object]) -> None:
    yard = Yard(STRICT)
    yard.add(EN_ES)
    client = yard.own_client()
    yard.submit(client, tgt_lang="ja", **wish)
    assert not client.all(JobAccepted)
    error = client.one(Error).error
    assert error.code == "NO_AVAILABLE_NODE"
    assert breakdown_of(error).best_reason == "no_eligible_pool"
    assert breakdown_of(error).fix == (
        "add a pool whose nodes can do nmt for en->ja, or switch pools.strict_eligibility off"
    )


def test_strict_a_preferred_node_that_is_busy_is_waited_for_as_pools_are_not_asked_for_it() -> None:
    pools = (PoolConfig(id=1, name="words", required_services=("nmt",)),)
    yard = Yard(replace(STRICT, pools=pools, match_scope="all_required"))
    yard.add(speech_class("en", "es", types=("nmt", "tts")))
    wish: dict[str, Any] = {"services": ["nmt", "tts"], "preferred_node": "node-0"}
    _, job = yard.place(**wish)
    yard.submit(**wish)
    yard.nodes[0].end(job)
    assert [row for row, _ in yard.placed()] == [0]


def test_strict_a_job_whose_node_is_lost_waits_for_it_to_come_back() -> None:
    """Its pool goes with the last node of its languages."""
    yard = Yard(STRICT)
    yard.add(EN_ES, EN_FR)
    _, job = yard.place(wait_none_s=5.0)
    yard.host.node(0, EN_ES, state=NodeState.OFFLINE)
    yard.publish()
    yard.advance(1.0)
    assert yard.results() == []
    yard.host.node(0, EN_ES, generation=2)
    yard.publish()
    yard.nodes[0] = yard.harness.open_lane(0)
    yard.advance(0.2)
    ((row, again),) = yard.placed()
    assert (row, again.job_id, again.attempt) == (0, job.job_id, 2)
