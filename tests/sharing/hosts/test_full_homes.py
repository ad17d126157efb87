"""Stories of homes that take nothing in, and of where the nodes of others are said to be."""

from several import Several

from pointsman_shm.memory.stats import StatsPage
from pointsman_wire.coordination.inbox_requests import Place
from pointsman_wire.queries.explain_messages import Explained, ExplainQuery, WhyNot, WhyNotQuery
from pointsman_wire.session_messages import Result
from pointsman_workers.core.events import WayChanged
from pointsman_workers.shell.sharing.filling import FillingWatch


def two(slots: int = 2) -> Several:
    """Home A has a node in row 3; B has none, and sessions."""
    instances = Several("A", "B")
    instances.node(3, "A", slots=slots)
    return instances


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
