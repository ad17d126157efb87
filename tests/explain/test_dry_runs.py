"""Dry runs: what the very next decision would be, also under assumptions, and nothing changes."""

import pytest
from fleet_samples import speech_class
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec.structs import replace
from placement.fleets import Stage, wishes, worlds
from placement.reference import World
from placement.reference_rules import Wish
from worker_harness import SECOND_NS, Host, WorkerHarness

from pointsman_shm.config import Config, PoolConfig, PoolsConfig
from pointsman_shm.memory.rows import NodeState, RowFlag
from pointsman_wire.messages import Error, ErrorInfo
from pointsman_wire.queries.explain_messages import JobAsk, Where, WhereQuery

ASK = JobAsk(services=["nmt"], src_lang="en", tgt_lang="es")


def where(harness: WorkerHarness, *what_if: str, ask: JobAsk = ASK) -> Where:
    answer = harness.core.answer(WhereQuery(ask=ask, what_if=list(what_if)))
    assert isinstance(answer, Where), answer
    return answer


def refused(harness: WorkerHarness, *what_if: str, ask: JobAsk = ASK) -> ErrorInfo:
    answer = harness.core.answer(WhereQuery(ask=ask, what_if=list(what_if)))
    assert isinstance(answer, Error), answer
    return answer.error


def started(host: Host, *rows: int) -> WorkerHarness:
    """A worker of this host, with lanes to these rows."""
    host.publish(SECOND_NS)
    harness = WorkerHarness(host)
    harness.feed()
    for row in rows:
        harness.open_lane(row)
    return harness


def two_nodes(*, slots: int = 1) -> WorkerHarness:
    host = Host(Config())
    host.node(0, slots=slots)
    host.node(1, slots=slots)
    return started(host, 0, 1)


def everything(harness: WorkerHarness) -> tuple[object, ...]:
    """All that a dry run might change by mistake."""
    shard = harness.core.shard
    return (
        shard.fleet.draws.counter,
        [harness.held(row) for row in range(8)],
        bytes(harness.host.rows_bytes),
        bytes(harness.host.ledger_bytes),
        [(session.binding, session.last_row) for session in shard.sessions.values()],
        [
            (kind.requirement, kind.full_until_ns, kind.walk, kind.is_busy)
            for kind in shard.kinds._by_requirement.values()
            if kind.version >= 0  # others are known by their names only: no job has come yet
        ],
        shard.recorder.size,
        list(shard.fleet.lane_generations),
        shard.fleet.snapshot,
        shard.waiting.count,
    )


# ---- the next decision


@given(worlds(), st.lists(wishes(), min_size=1, max_size=3))
def test_a_dry_run_says_what_the_very_next_decision_is(world: World, several: list[Wish]) -> None:
    stage = Stage(world)
    for wish in several:
        session_id = stage.client(wish.tenant).ack.session_id
        ask = JobAsk(
            session_id=session_id,
            tenant=wish.tenant,
            src_lang=wish.src,
            tgt_lang=wish.tgt,
            auto_langs=list(wish.auto_langs),
            services=list(wish.services),
            features=list(wish.features),
            labels_required=dict(wish.labels),
            labels_preferred=dict(wish.labels_preferred),
            accept_public=wish.accept_public,
            preferred_node=wish.preferred,
            exclude=list(wish.exclude),
        )
        answer = where(stage.harness, ask=ask)
        assert answer.session_known
        outcome = stage.submit(wish)
        if isinstance(outcome, ErrorInfo):
            assert answer.decision.node_id == ""
            assert answer.decision.code == outcome.code
            said = answer.decision.breakdown
            assert said is not None
            assert outcome.breakdown is not None
            assert said.counts == outcome.breakdown.counts
        else:
            node, _ = outcome
            assert answer.decision.node_id == f"node-{node.row}"


@given(worlds(), wishes())
def test_a_dry_run_changes_nothing(world: World, wish: Wish) -> None:
    stage = Stage(world)
    session_id = stage.client(wish.tenant).ack.session_id
    stage.submit(wish)
    before = everything(stage.harness)
    ask = JobAsk(
        session_id=session_id,
        tenant=wish.tenant,
        src_lang=wish.src,
        tgt_lang=wish.tgt,
        services=list(wish.services),
    )
    where(stage.harness, ask=ask)
    if world.facts:
        for what in ("up", "gone", "paused", "resumed", "slots+2"):
            where(stage.harness, f"node=node-{world.facts[0].row}:{what}", ask=ask)
    assert everything(stage.harness) == before


def test_an_unknown_session_is_decided_for_as_a_new_one() -> None:
    answer = where(two_nodes(), ask=replace(ASK, session_id="nobody"))
    assert not answer.session_known
    assert answer.decision.session_decision == "first"


def test_a_session_is_decided_for_with_the_pool_that_it_is_bound_to() -> None:
    harness = two_nodes(slots=2)
    harness.open_session("s").submit("r-1")
    answer = where(harness, ask=replace(ASK, session_id="s"))
    assert (answer.session_known, answer.decision.session_decision) == (True, "hit")
    assert answer.decision.bound_before == "en-es"


def test_preferred_labels_count_in_a_dry_run_too() -> None:
    host = Host(Config())
    for row in range(6):
        labels = (("zone", "near"),) if row == 4 else ()
        host.node(row, replace(speech_class("en", "es"), labels=labels), slots=2)
    harness = started(host, *range(6))
    before = everything(harness)
    answer = where(harness, ask=replace(ASK, labels_preferred={"zone": "near"}))
    assert answer.decision.node_id == "node-4"
    assert everything(harness)[:5] == before[:5]


def test_an_unknown_service_is_named_as_it_is_to_a_client() -> None:
    error = refused(two_nodes(), ask=JobAsk(services=["brewing"]))
    assert error.code == "UNSUPPORTED_FEATURE"
    assert "brewing" in error.message


def test_of_a_fleet_that_is_full_the_refusal_is_told() -> None:
    harness = two_nodes()
    client = harness.open_session("s")
    client.submit("r-1")
    client.submit("r-2")
    decision = where(harness).decision
    assert (decision.node_id, decision.code) == ("", "QUEUE_TIMEOUT")
    assert decision.breakdown is not None
    assert decision.breakdown.counts == {"capacity_exceeded": 2}


# ---- assumptions


def test_if_the_chosen_node_were_gone_another_one_is_chosen() -> None:
    harness = two_nodes()
    chosen = where(harness).decision.node_id
    answer = where(harness, f"node={chosen}:gone")
    assert answer.then is not None
    assert {chosen, answer.then.node_id} == {"node-0", "node-1"}
    assert any(f"instead of {chosen}" in words for words in answer.differences)
    assert answer.assumed == [f"{chosen} is gone"]


def test_if_a_node_without_lane_or_ready_state_were_up_it_takes_part() -> None:
    host = Host(Config())
    host.node(0, state=NodeState.SUSPECT)
    harness = started(host)
    assert where(harness).decision.node_id == ""
    answer = where(harness, "node=node-0:up")
    assert answer.then is not None
    assert answer.then.node_id == "node-0"
    assert answer.differences[0].startswith("node-0 instead of nobody (NO_AVAILABLE_NODE")


@pytest.mark.parametrize(
    "pools",
    [
        PoolsConfig(),
        PoolsConfig(auto_language_pools=False, pool_count=3),
        PoolsConfig(pools=(PoolConfig(id=5, name="speech", required_services=("asr",)),)),
        PoolsConfig(mode="single_level"),
    ],
)
def test_a_node_that_is_offline_and_in_no_pool_would_be_back_in_its_pool(
    pools: PoolsConfig,
) -> None:
    host = Host(Config(pools=pools))
    host.node(0, speech_class("en", "es"))
    host.node(1, speech_class("de", "fr"))
    back = host.records[1].pools
    names = {pool.id: pool.name for pool in host.planner.page().pools}
    host.records[1] = replace(host.records[1], pools=())
    host.planner.remove("node-1")
    host.stand(1, state=NodeState.OFFLINE)
    harness = started(host, 0)
    ask = replace(ASK, src_lang="de", tgt_lang="fr")
    assert where(harness, ask=ask).decision.node_id == ""
    answer = where(harness, "node=node-1:up", ask=ask)
    assert answer.then is not None
    assert answer.then.node_id == "node-1"
    if pools.mode == "two_level":
        assert answer.then.pool == names[back[0]]


def test_the_last_node_of_a_language_pool_takes_the_pool_with_it() -> None:
    host = Host(Config())
    host.node(0, speech_class("en", "es"))
    host.node(1, speech_class("en", "es", "fr"))
    harness = started(host, 0, 1)
    now = where(harness)
    assert now.decision.pool_order == ["en-es", "en-es-fr"]
    answer = where(harness, "node=node-0:gone")
    assert answer.then is not None
    assert (answer.then.node_id, answer.then.pool_order) == ("node-1", ["en-es-fr"])
    assert "pools asked: en-es-fr instead of en-es, en-es-fr" in answer.differences


def test_slots_of_a_node_and_of_a_pool_can_be_assumed() -> None:
    harness = two_nodes()
    client = harness.open_session("s")
    client.submit("r-1")
    client.submit("r-2")
    pool = harness.host.planner.page().pools[0]
    assert where(harness).decision.node_id == ""
    for what_if in (
        "node=node-1:slots+1",
        f"pool={pool.id}:slots+4",
        f"pool={pool.name}:slots+2",
    ):
        then = where(harness, what_if).then
        assert then is not None
        assert then.node_id, what_if
    then = where(harness, f"pool={pool.name}:slots+3").then
    assert then is not None
    assert sorted(node.slots_max for node in then.legs[0].nodes) == [2, 3]
    then = where(harness, "node=node-1:slots+1", "node=node-1:slots-1").then
    assert then is not None
    assert then.node_id == ""


def test_a_paused_node_would_take_part_if_it_were_resumed_and_not_if_it_were_paused() -> None:
    harness = two_nodes()
    harness.host.stand(0, flags=RowFlag.PUBLIC | RowFlag.PAUSED)
    assert where(harness).decision.node_id == "node-1"
    answer = where(harness, "node=node-0:resumed", "node=node-1:paused")
    assert answer.then is not None
    assert answer.then.node_id == "node-0"


def test_without_a_difference_none_is_told() -> None:
    assert where(two_nodes(), "node=node-0:up", "node=node-1:up").differences == []


@pytest.mark.parametrize(
    ("what_if", "words"),
    [
        ("node=ghost:up", "no node 'ghost' is known"),
        ("pool=moon:slots+1", "there is no pool 'moon'; there are"),
        ("pool=en-es:up", "only slots can be assumed"),
        ("node=node-0", "is no assumption"),
        ("node=node-0:slots", "is no assumption"),
        ("node=node-0:slots+9999999", "is no assumption"),
        ("", "is no assumption"),
        ("the moon were green", "is no assumption"),
    ],
)
def test_an_assumption_without_sense_is_refused_in_words(what_if: str, words: str) -> None:
    error = refused(two_nodes(), what_if)
    assert error.code == "INVALID_MESSAGE"
    assert words in error.message


@pytest.mark.parametrize(
    "acts", [("gone", "gone"), ("gone", "up"), ("up", "gone"), ("gone", "paused", "up")]
)
def test_a_node_is_assumed_to_be_there_or_not_once(acts: tuple[str, ...]) -> None:
    """Counted out twice it took another node of its kind along; the last one never came back."""
    error = refused(two_nodes(), *(f"node=node-0:{act}" for act in acts))
    assert error.code == "INVALID_MESSAGE"
    assert "of node-0 it is assumed twice whether it is there" in error.message
    then = where(two_nodes(), "node=node-0:gone", "node=node-1:up").then
    assert then is not None
    assert then.node_id == "node-1"


def test_a_pool_without_a_ready_node_cannot_have_more_slots() -> None:
    host = Host(Config())
    host.node(0, state=NodeState.SUSPECT)
    error = refused(started(host), "pool=en-es:slots+4")
    assert "no ready node" in error.message


@given(worlds(), wishes(), st.integers(0, 7))
def test_whatever_is_assumed_of_a_node_the_answer_stands(
    world: World, wish: Wish, number: int
) -> None:
    """A node that is gone is never chosen; one more that is up never makes a job impossible."""
    assume(world.facts)
    stage = Stage(world)
    fact = world.facts[number % len(world.facts)]
    ask = JobAsk(
        tenant=wish.tenant, src_lang=wish.src, tgt_lang=wish.tgt, services=list(wish.services)
    )
    gone = where(stage.harness, f"node={fact.node_id}:gone", ask=ask).then
    assert gone is not None
    assert gone.node_id != fact.node_id
    up = where(stage.harness, f"node={fact.node_id}:up", ask=ask)
    assert up.then is not None
    if up.decision.node_id and fact.state is NodeState.OFFLINE:
        assert up.then.node_id, "one more node never makes a job impossible"
