"""Stories of homes that take nothing in, and of where the nodes of others are said to be."""

from fleet_harness import count
from fleet_samples import speech_class
from several import Instance, Several

from pointsman_shm.config import JobsConfig
from pointsman_shm.memory.stats import StatsPage
from pointsman_shm.memory.stats_names import Counter
from pointsman_wire.coordination.inbox_requests import Place
from pointsman_wire.queries.explain_messages import Explained, ExplainQuery, WhyNot, WhyNotQuery
from pointsman_wire.session_messages import Result
from pointsman_workers.core.events import WayChanged
from pointsman_workers.placement.kinds import PRIORITY_RANK
from pointsman_workers.shell.sharing.filling import FillingWatch


def two(slots: int = 2) -> Several:
    """Home A has a node in row 3; B has none, and sessions."""
    instances = Several("A", "B")
    instances.node(3, "A", slots=slots)
    return instances


def busy_home(**config: JobsConfig) -> Several:
    """The one slot of the node is taken, by a job of its home's."""
    instances = Several("A", "B", **config)  # type: ignore[arg-type]
    instances.node(3, "A", speech_class("en", "es"))
    instances["A"].open_session().submit("a-1", timeout_s=3_600.0)
    job = instances["A"].node(3).assignment()
    instances["A"].node(3).acknowledge(job.number)
    return instances


def virtual_time(worker: Instance) -> int:
    """What those who name no tenant have had of their share."""
    return worker.core.shard.waiting.tag_of("", PRIORITY_RANK["default"])


def test_a_job_that_a_full_home_refuses_waits_no_longer_than_it_may() -> None:
    """From its first refusal on, however often it is asked for."""
    instances = busy_home()
    borrower = instances["B"]
    client = borrower.open_session()
    client.submit("b-1", wait_busy_s=3.0)
    instances.run(2.9)
    assert client.all(Result) == []
    instances.run(0.3)
    result = client.one(Result)
    assert (result.status, result.attempt, result.attempts) == ("expired", 0, [])
    assert count(borrower, Counter.HOME_REFUSALS) > 1


def test_a_turn_that_a_full_home_makes_vain_costs_a_tenant_nothing() -> None:
    instances = busy_home()
    borrower = instances["B"]
    borrower.open_session().submit("b-1", wait_busy_s=60.0)
    instances.run(0.1)
    before = virtual_time(borrower)
    refused = count(borrower, Counter.HOME_REFUSALS)
    instances.run(20.0)
    assert count(borrower, Counter.HOME_REFUSALS) > refused
    assert virtual_time(borrower) == before


def test_a_job_that_had_no_turn_is_given_none_back_when_a_home_is_full() -> None:
    """Another of its tenant waits, for nodes of its own; this one came and was tried at once."""
    instances = busy_home()
    instances.node(5, "B", speech_class("en", "fr"))
    borrower = instances["B"]
    client = borrower.open_session()
    for number in range(2):
        client.submit(f"fr-{number}", tgt_lang="fr", wait_busy_s=60.0)
    before = virtual_time(borrower)
    client.submit("b-1", wait_busy_s=60.0)
    instances.carry()
    assert count(borrower, Counter.HOME_REFUSALS) == 1
    assert virtual_time(borrower) == before


def test_a_full_home_that_is_asked_for_a_second_dispatch_changes_nothing() -> None:
    """I3: the first one goes on, and its result counts."""
    instances = busy_home(jobs=JobsConfig(hedge_after_percentile=95.0))
    instances.node(5, "B")
    borrower, node = instances["B"], instances["B"].node(5)
    client = borrower.open_session()
    for number in range(40):
        client.submit(f"w-{number}", idempotent=True)
        instances.run(0.1)
        node.end(node.assignment())
    client.all(Result)
    client.submit("slow", idempotent=True)
    instances.run(0.1)
    job = node.assignment()
    refused = count(borrower, Counter.HOME_REFUSALS)
    instances.run(1.0)
    assert count(borrower, Counter.HOME_REFUSALS) == refused + 1
    node.end(job, b"hola")
    result = client.one(Result)
    assert (result.status, result.attempt, result.failovers) == ("completed", 1, 0)
    assert borrower.held(5) == 0


def test_a_job_whose_only_nodes_are_behind_a_full_inbox_is_refused_with_queue_full() -> None:
    """R10: the sender learns of it; nothing is trimmed, and the job is not lost for its client."""
    instances = two()
    borrower = instances["B"]
    client = borrower.open_session()
    borrower.feed(WayChanged("A", 0, "full"))
    client.submit("b-1", wait_busy_s=0.5)
    instances.run(1.0)
    result = client.one(Result)
    assert result.error is not None
    assert (result.error.code, result.error.retryable) == ("QUEUE_FULL", True)
    assert "instance A, whose inbox is full" in result.error.message
    assert result.error.retry_after_ms

    borrower.feed(WayChanged("A", 0, "open"))
    client.submit("b-1", wait_busy_s=0.5)
    instances.carry()
    assert instances["A"].node(3).assignment().request_id == "b-1"


def test_with_a_busy_node_of_our_own_the_answer_is_that_all_are_busy() -> None:
    instances = two()
    instances.node(5, "B")
    borrower = instances["B"]
    client = borrower.open_session()
    client.submit("b-1")
    borrower.feed(WayChanged("A", 0, "full"))
    client.submit("b-2", wait_busy_s=0.5)
    instances.run(1.0)
    result = client.one(Result)
    assert result.error is not None
    assert result.error.code == "QUEUE_TIMEOUT"


def test_while_redis_is_away_nobody_says_that_an_inbox_is_full() -> None:
    instances = two()
    borrower = instances["B"]
    client = borrower.open_session()
    borrower.feed(WayChanged("A", 0, "stopped"))
    client.submit("b-1", wait_busy_s=0.5)
    instances.run(1.0)
    result = client.one(Result)
    assert result.error is not None
    assert result.error.code == "QUEUE_TIMEOUT"


def test_refusals_and_explanations_say_at_which_instance_a_node_is() -> None:
    instances = two(slots=1)
    borrower = instances["B"]
    client = borrower.open_session()
    client.submit("b-1")
    client.submit("b-2", wait_busy_s=0.5)
    instances.run(1.0)
    result = client.one(Result)
    assert result.error is not None
    breakdown = result.error.breakdown
    assert breakdown is not None
    assert [(miss.node_id, miss.instance) for miss in breakdown.nearest] == [("node-3", "A")]

    told = borrower.core.answer(ExplainQuery(request_id="b-1"))
    assert isinstance(told, Explained)
    (placed,) = told.decisions
    assert (placed.node_id, placed.instance) == ("node-3", "A")
    assert [node.instance for leg in placed.legs for node in leg.nodes] == ["A"]
    why = borrower.core.answer(WhyNotQuery(node_id="node-3"))
    assert isinstance(why, WhyNot)
    assert why.instance == "A"


def test_an_inbox_that_fills_up_is_told_of_once_and_once_more_when_it_has_room() -> None:
    """R10: an alarm at 80 %, which ends below 50 %."""
    said: list[str] = []
    stats = StatsPage(bytearray(StatsPage.size()), create=True)
    watch = FillingWatch(1_000, stats, said.append)
    place = Place("A", 1)
    watch.look(place, 799)
    assert not said
    watch.look(place, 800)
    watch.look(place, 1_000)
    watch.look(place, 500)
    assert len(said) == 1
    assert "worker 1 of instance A holds 800 of at most 1000" in said[0]
    assert stats.read().gauges["inboxes_filling"] == 1
    watch.look(place, 499)
    assert len(said) == 2
    assert "has room again" in said[1]
    assert stats.read().gauges["inboxes_filling"] == 0
