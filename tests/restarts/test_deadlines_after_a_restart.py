"""Deadlines over a restart: a job has the time that its client gave it, no less."""

from journalled_host import JournalledHost
from test_take_over_stories import back, lanes

from pointsman_wire.link import LoopWasLate
from pointsman_wire.session_messages import JobAccepted, Result

SECOND_NS = 1_000_000_000


def test_a_predecessor_that_was_stopped_for_a_while_takes_no_time_from_its_jobs() -> None:
    """P6, C2: it stood still for a minute long before the job came."""
    host = JournalledHost()
    worker = host.worker()
    worker.now_ns += 60 * SECOND_NS
    worker.feed(LoopWasLate(60 * SECOND_NS))
    nodes = lanes(worker)
    client = worker.open_session("s-1")
    client.submit("r-1", deadline_s=30.0)
    assert [job for node in nodes.values() for job in node.assignments()]
    successor = host.successor(worker)
    client = back(successor, client, unfinished=["r-1"])
    successor.advance(20.0)
    assert not client.all(Result)
    successor.advance(10.0)
    assert client.one(Result).status == "expired"


def test_the_time_in_which_nodes_report_is_part_of_a_repeated_requests_deadline() -> None:
    """C2: its client says what is left of it when it repeats the request, and waits no longer."""
    host = JournalledHost()
    worker = host.worker()
    nodes = lanes(worker)
    client = worker.open_session("s-1")
    client.submit("r-1", durability="memory", deadline_s=30.0)
    assert [job for node in nodes.values() for job in node.assignments()]
    successor = host.successor(worker)
    client = back(successor, client, unfinished=["r-1"])
    client.submit("r-1", durability="memory", deadline_s=29.5, wait_none_s=60.0)
    successor.advance(29.0)
    assert client.one(JobAccepted).jobs[0].request_id == "r-1"
    assert not client.all(Result)
    successor.advance(1.0)
    assert client.one(Result).status == "expired"


def test_a_repeated_request_whose_time_is_over_before_the_nodes_have_reported_expires() -> None:
    host = JournalledHost()
    successor = host.successor(host.worker())
    client = successor.open_session("s-1", unfinished=["r-1"])
    client.submit("r-1", durability="memory", deadline_s=0.5)
    successor.advance(10.0)
    assert client.one(Result).status == "expired"
