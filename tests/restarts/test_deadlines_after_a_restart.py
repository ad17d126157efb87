"""Deadlines over a restart: a job has the time that its client gave it, no less."""

from journalled_host import JournalledHost
from test_take_over_stories import back, lanes

from pointsman_wire.link import LoopWasLate
from pointsman_wire.session_messages import Result

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
