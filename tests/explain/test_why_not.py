"""Why not this node: for one job every check by name, for its owner what it was skipped for."""

from typing import Any

import pytest
from fleet_samples import speech_class
from hypothesis import given
from msgspec.structs import replace
from placement.fleets import Stage, wishes, worlds
from placement.reference import World
from placement.reference_rules import Wish
from worker_harness import SECOND_NS, Host, WorkerHarness

from pointsman_shm.config import Config
from pointsman_shm.memory.rows import NodeState, RowFlag
from pointsman_shm.snapshot.records import MarkRecord
from pointsman_wire.messages import Error
from pointsman_wire.queries.explain_messages import JobAsk, WhyNot, WhyNotQuery

ASK = JobAsk(services=["nmt"], src_lang="en", tgt_lang="es")


def why_not(harness: WorkerHarness, node_id: str, **fields: Any) -> WhyNot:
    answer = harness.core.answer(WhyNotQuery(node_id=node_id, **fields))
    assert isinstance(answer, WhyNot), answer
    return answer


def failing(answer: WhyNot) -> dict[str, str]:
    """Reason -> what is lacking, of the checks that fail."""
    return {check.reason: check.detail for check in answer.checks if not check.passes}


def changes(answer: WhyNot) -> list[str]:
    """What would change it, check by check."""
    return [check.change for check in answer.checks if not check.passes]


def started(host: Host, *rows: int) -> WorkerHarness:
    host.publish(SECOND_NS)
    harness = WorkerHarness(host)
    harness.feed()
    for row in rows:
        harness.open_lane(row)
    return harness


def test_a_node_that_can_passes_every_check_and_is_told_how_it_fares() -> None:
    host = Host(Config())
    host.node(0)
    answer = why_not(started(host, 0), "node-0", ask=ASK)
    assert answer.able
    assert len(answer.checks) == 12
    assert (answer.verdict, answer.state, answer.pools) == ("it takes the job", "ready", ["en-es"])


def test_a_node_behind_another_is_told_by_how_much() -> None:
    host = Host(Config())
    host.node(0, slots=2)
    host.node(1, slots=2)
    host.burden(1, foreign=1)
    answer = why_not(started(host, 0, 1), "node-1", ask=ASK)
    assert answer.able
    assert "number 2 of 2" in answer.verdict
    assert "node-0 was ahead" in answer.verdict


def test_everything_that_a_node_lacks_is_named_with_what_would_change_it() -> None:
    host = Host(Config())
    host.node(0)
    host.node(1, replace(speech_class("de", "fr"), public=False, tenant="acme"), slots=1)
    harness = started(host, 0)
    host.stand(1, state=NodeState.SUSPECT, flags=RowFlag.PAUSED | RowFlag.OVERLOADED)
    host.ledger.cells[1] = 1
    ask = replace(
        ASK, features=["emotion_detection"], labels_required={"a": "b"}, exclude=["node-1"]
    )
    answer = why_not(harness, "node-1", ask=ask)
    assert failing(answer) == {
        "status_not_ready": "it is suspect",
        "no_lane": "",
        "not_in_public_pool": "being open to tenant (none)",
        "feature_unsupported": "features emotion_detection",
        "label_mismatch": "labels a=b",
        "owner_paused": "",
        "lang_pair_unsupported": "translation en->es",
        "excluded": "",
        "capacity_exceeded": "",
        "resource_threshold_exceeded": "",
    }
    assert not answer.able
    assert all(check.change for check in answer.checks if not check.passes)


@pytest.mark.parametrize(
    "state", [NodeState.REGISTERING, NodeState.DEGRADED, NodeState.SUSPECT, NodeState.DRAINING]
)
def test_a_node_that_is_not_ready_is_told_what_its_state_waits_for(state: NodeState) -> None:
    host = Host(Config())
    host.node(0, state=state)
    answer = why_not(started(host, 0), "node-0", ask=ASK)
    assert failing(answer) == {"status_not_ready": f"it is {state.name.lower()}"}


def test_a_model_that_was_said_to_be_missing_is_told_so() -> None:
    host = Host(Config())
    host.node(0)
    host.marks = [MarkRecord(0, 1, "nmt", "", 60 * SECOND_NS)]
    host.stand(0, flags=RowFlag.PUBLIC | RowFlag.MARKED)
    answer = why_not(started(host, 0), "node-0", ask=ASK)
    assert failing(answer) == {"model_not_available": "the model: it said so a moment ago"}
    assert changes(answer) == [
        "load the model there; it is asked again when nodes.model_mark_s is over"
    ]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (RowFlag.PUBLIC, "start it anew when it may take jobs again"),
        (RowFlag.PUBLIC | RowFlag.DRAINED, "`pointsman undrain` when it may take jobs again"),
    ],
)
def test_what_ends_a_drain_is_up_to_who_has_asked_for_it(flags: RowFlag, words: str) -> None:
    """Who registers anew is drained again, as long as an operator's order stands."""
    host = Host(Config())
    host.node(0)
    host.stand(0, state=NodeState.DRAINING, flags=flags)
    (change,) = changes(why_not(started(host, 0), "node-0", ask=ASK))
    assert change.endswith(words)


def test_services_that_it_does_not_run_are_named() -> None:
    host = Host(Config())
    host.node(0, speech_class("en", "es", types=("asr", "nmt")))
    ask = replace(ASK, services=["nmt", "tone", "tts"])
    answer = why_not(started(host, 0), "node-0", ask=ask)
    assert failing(answer)["model_not_available"] == "services tone, tts"
    (check,) = [check for check in answer.checks if check.check == "services"]
    assert check.change == "start services tone, tts on it"


def test_a_node_that_nobody_knows_is_said_to_be_unknown() -> None:
    host = Host(Config())
    host.node(0)
    assert not why_not(started(host, 0), "ghost", ask=ASK).known


def test_a_request_that_ran_is_looked_up_in_the_records() -> None:
    host = Host(Config())
    host.node(0, slots=2)
    host.node(1, speech_class("de", "fr"))
    harness = started(host, 0, 1)
    harness.open_session("s").submit("r-1")
    assert why_not(harness, "node-0", request_id="r-1").verdict == "it took the job"
    answer = why_not(harness, "node-1", request_id="r-1")
    assert failing(answer) == {"lang_pair_unsupported": "translation en->es"}
    assert "others were looked at" in answer.verdict
    error = harness.core.answer(WhyNotQuery(node_id="node-1", request_id="other"))
    assert isinstance(error, Error)
    assert error.error.code == "NOT_FOUND"


@given(worlds(), wishes())
def test_a_node_is_able_exactly_when_the_slow_reference_says_so(world: World, wish: Wish) -> None:
    stage = Stage(world)
    ask = JobAsk(
        tenant=wish.tenant,
        src_lang=wish.src,
        tgt_lang=wish.tgt,
        auto_langs=list(wish.auto_langs),
        services=list(wish.services),
        features=list(wish.features),
        labels_required=dict(wish.labels),
        accept_public=wish.accept_public,
        exclude=list(wish.exclude),
    )
    for fact in world.facts:
        answer = why_not(stage.harness, fact.node_id, ask=ask)
        first = next((check.reason for check in answer.checks if not check.passes), "")
        fault = world.fault(fact, wish)
        assert answer.able == (fault == "")
        assert first == fault


# ---- the jobs of late


def test_an_owner_sees_what_the_node_took_and_what_it_was_skipped_for() -> None:
    host = Host(Config())
    host.node(0, slots=4)
    host.node(1, speech_class("de", "fr"), slots=4)
    harness = started(host, 0, 1)
    client = harness.open_session("s")
    for number in range(3):
        client.submit(f"r-{number}")
    client.submit("r-fr", src_lang="de", tgt_lang="fr")
    client.submit("r-ja", tgt_lang="ja", wait_none_s=0.0)
    answer = why_not(harness, "node-1")
    assert (answer.jobs_seen, answer.jobs_taken, answer.jobs_outranked) == (5, 1, 0)
    (skip,) = answer.skips
    assert (skip.reason, skip.jobs) == ("lang_pair_unsupported", 4)
    assert skip.example == "nmt en->es; nmt en->ja"
    assert skip.change == "let it translate these pairs"


def test_an_owner_sees_that_others_had_more_room_and_when_the_node_could_not() -> None:
    host = Host(Config())
    host.node(0, slots=4)
    host.node(1, slots=4)
    harness = started(host, 0, 1)
    host.burden(1, foreign=4)
    client = harness.open_session("s")
    client.submit("r-1")
    client.submit("r-2")
    host.stand(1, flags=RowFlag.PUBLIC | RowFlag.PAUSED)
    client.submit("r-3")
    host.stand(1, state=NodeState.SUSPECT)
    client.submit("r-4")
    client.submit("r-5", wait_busy_s=0.0)
    answer = why_not(harness, "node-1")
    assert (answer.jobs_taken, answer.jobs_outranked, answer.jobs_not_drawn) == (0, 2, 0)
    counts = {skip.reason: skip.jobs for skip in answer.skips}
    assert counts == {"owner_paused": 1, "status_not_ready": 2}


def test_a_node_of_another_pool_was_not_looked_at() -> None:
    host = Host(Config())
    host.node(0, slots=4)
    host.node(1, speech_class("en", "es", "fr"), slots=4)
    harness = started(host, 0, 1)
    client = harness.open_session("s")
    client.submit("r-1")
    client.submit("r-2")
    answer = why_not(harness, "node-1")
    assert (answer.jobs_seen, answer.jobs_not_drawn, answer.skips) == (2, 2, [])


def test_without_a_decision_there_is_nothing_to_count() -> None:
    host = Host(Config())
    host.node(0)
    answer = why_not(started(host, 0), "node-0")
    assert (answer.jobs_seen, answer.skips) == (0, [])
