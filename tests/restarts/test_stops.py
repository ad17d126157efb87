"""Stories of a worker that is told to stop: what it still begins, and what it leaves.

What the journal has is left to the next life; what only memory holds has its turn in this one.
"""

import pytest
from journal.journalled import SECOND_NS, journalled, newest_write
from worker_harness import Node, WorkerHarness

from pointsman_wire.session_messages import Cancel, JobAccepted
from pointsman_workers.core.events import JournalSynced, Stopped, StopWished


def wish_to_stop(h: WorkerHarness) -> None:
    h.feed(StopWished(h.now_ns + 20 * SECOND_NS))


def has_stopped(h: WorkerHarness) -> bool:
    return any(isinstance(command, Stopped) for command in h.commands)


def ends_with_what_runs(h: WorkerHarness, node: Node) -> None:
    """Told to stop, it begins nothing more, and is gone when the job on the node has ended."""
    wish_to_stop(h)
    node.end(node.assignment())
    h.advance(0.2)
    assert not node.assignments()
    assert has_stopped(h)


def test_a_stop_leaves_journalled_jobs_that_wait_for_the_next_start() -> None:
    h = journalled()
    node, client = h.open_lane(3), h.open_session()
    client.submit("r-1")
    client.submit("r-2")  # waits
    wish_to_stop(h)
    h.advance(0.2)
    assert not has_stopped(h)
    node.end(node.assignment())
    h.advance(0.2)
    assert not node.assignments()
    assert has_stopped(h)


def test_a_stop_leaves_all_journalled_jobs_that_wait_however_many_of_a_kind() -> None:
    """I5: of those that the next life begins with, none is overtaken in this one."""
    h = journalled()
    node, client = h.open_lane(3), h.open_session()
    for number in range(600):
        client.submit(f"r-{number}")
    ends_with_what_runs(h, node)


def test_a_stop_waits_for_jobs_that_only_memory_holds() -> None:
    h = journalled()
    node, client = h.open_lane(3), h.open_session()
    client.submit("r-1")
    client.submit("r-2", durability="memory")  # waits
    wish_to_stop(h)
    node.end(node.assignment())
    h.advance(0.2)
    assert not has_stopped(h)
    node.end(node.assignment())
    h.advance(0.2)
    assert has_stopped(h)


@pytest.mark.parametrize(
    ("held", "began_here"),
    [
        (("journal", "journal"), []),
        (("memory", "journal"), ["r-1"]),
        (("journal", "memory"), ["r-1", "r-2"]),
        (("journal", "fsync"), []),
    ],
)
def test_a_stop_leaves_what_stands_in_line_but_not_before_what_only_memory_holds(
    held: tuple[str, ...], began_here: list[str]
) -> None:
    h = journalled(slots=2)
    node, client = h.open_lane(3), h.open_session(order="serial")
    client.submit("r-0")
    for number, durability in enumerate(held, start=1):
        client.submit(f"r-{number}", durability=durability)
    wish_to_stop(h)
    node.end(node.assignment())
    h.feed(JournalSynced(newest_write(h).number))
    began = []
    for _ in range(4):
        h.advance(0.2)
        for job in node.assignments():
            began.append(job.request_id)
            node.end(job)
    assert began == began_here
    assert has_stopped(h)


@pytest.mark.parametrize("order", ["free", "serial"])
def test_a_stop_leaves_nothing_that_waits_before_what_only_memory_holds(order: str) -> None:
    """I5: of one session, kind and priority; what others have waiting is left all the same."""
    h = journalled()
    node, before, client = h.open_lane(3), h.open_session(), h.open_session(order=order)
    before.submit("r-0")
    before.submit("r-of-another-session")
    for request_id, durability in (("r-1", "journal"), ("r-2", "memory"), ("r-3", "journal")):
        client.submit(request_id, durability=durability)
    wish_to_stop(h)
    began = []
    for _ in range(6):
        for job in node.assignments():
            began.append(job.request_id)
            node.end(job)
        h.advance(0.2)
    assert began == ["r-0", "r-1", "r-2"]
    assert has_stopped(h)


def test_a_stop_leaves_what_waits_before_jobs_that_were_cancelled() -> None:
    h = journalled()
    node, before, client = h.open_lane(3), h.open_session(), h.open_session(order="serial")
    before.submit("r-0")
    client.submit("r-1")
    client.submit("r-2", durability="memory")
    number = client.ack.session_number
    h.receive(client.connection, Cancel(session_number=number, request_id="r-2"))
    ends_with_what_runs(h, node)


def test_a_stop_leaves_journalled_jobs_before_those_of_another_priority_or_kind() -> None:
    h = journalled()
    node, client = h.open_lane(3), h.open_session()
    client.submit("r-0")
    client.submit("r-1")
    client.submit("r-2", durability="memory", priority="bulk")
    client.submit("r-3", durability="memory", features=["slow"])
    wish_to_stop(h)
    began = []
    for _ in range(6):
        for job in node.assignments():
            began.append(job.request_id)
            node.end(job)
        h.advance(0.2)
    assert began == ["r-0", "r-2"]


def test_what_reaches_the_disk_after_the_stop_goes_behind_what_waited() -> None:
    """I5: it is accepted, and both are the next life's, in their order."""
    h = journalled()
    node, client = h.open_lane(3), h.open_session()
    client.submit("r-1")
    client.submit("r-2")  # waits
    client.submit("r-3", durability="fsync")
    wish_to_stop(h)
    node.end(node.assignment())
    h.feed(JournalSynced(newest_write(h).number))
    assert [job.request_id for frame in client.all(JobAccepted) for job in frame.jobs][-1] == "r-3"
    h.advance(0.2)
    assert not node.assignments()
    assert has_stopped(h)
