"""Stories of lanes to other instances' nodes that are made anew while their link stands."""

import pytest
from several import Several

from pointsman_shm.memory.rows import NodeState, RowFlag
from pointsman_wire.session_messages import Result
from pointsman_workers.core.events import InstanceMissed, WayChanged
from pointsman_workers.sharing.nodes import borrowers, remote_lanes

REMOTE = RowFlag.PUBLIC | RowFlag.REMOTE


def two(slots: int = 2) -> Several:
    """Home A has a node in row 3; B has none, and sessions."""
    instances = Several("A", "B")
    instances.node(3, "A", slots=slots)
    return instances


def test_a_node_that_was_thought_gone_for_a_moment_takes_jobs_again_on_the_same_link() -> None:
    """P2: the numbers of assignments go on, so that its home does not take them for old ones."""
    instances = two()
    home, borrower = instances["A"], instances["B"]
    client, node = borrower.open_session(), home.node(3)
    for name in ("b-1", "b-2", "b-3"):
        client.submit(name)
        instances.carry()
        job = node.assignment()
        node.acknowledge(job.number)
        node.end(job)
        instances.carry()
    borrower.host.stand(3, state=NodeState.OFFLINE, flags=REMOTE)
    instances.run(0.5)
    borrower.host.stand(3, flags=REMOTE)
    instances.run(1.5)
    client.submit("b-4")
    instances.carry()
    again = node.assignment()
    assert (again.request_id, again.attempt) == ("b-4", 1)
    node.acknowledge(again.number)
    node.end(again)
    instances.carry()
    assert [result.status for result in client.all(Result)] == ["completed"] * 4
    assert (home.held(3), borrower.held(3)) == (0, 0)


def test_a_link_that_opens_anew_while_its_way_is_stopped_is_used_when_the_way_is_free() -> None:
    """R7: what was out of reach before is in reach when the home has reported."""
    instances = two()
    home, borrower = instances["A"], instances["B"]
    borrower.feed(WayChanged("A", 0, "stopped"))
    assert borrower.core.shard.lanes[3].full_until_ns
    borrower.feed(WayChanged("A", 0, "lost"), WayChanged("A", 0, "open"))
    instances.run(2.0)
    client = borrower.open_session()
    client.submit("b-1")
    instances.carry()
    assert home.node(3).assignment().request_id == "b-1"


def test_a_node_that_registered_anew_at_its_home_gets_jobs_of_others_without_a_new_page() -> None:
    """P4: of its epoch alone no page is published, and its home takes jobs for this epoch only."""
    instances = two()
    home, borrower = instances["A"], instances["B"]
    for name in ("A", "B"):
        instances.hosts[name].rows.epoch[3] = 2
    home.open_lane(3, epoch=2)
    instances.run(0.5)
    client = borrower.open_session()
    client.submit("b-1")
    instances.carry()
    assert home.node(3).assignment().request_id == "b-1"


def test_an_assignment_that_redis_forgot_is_made_again_and_so_is_the_next_one() -> None:
    """R5, I1: the home's acknowledgement of the next one would have covered it."""
    instances = two()
    home, borrower = instances["A"], instances["B"]
    client, node = borrower.open_session(), home.node(3)
    client.submit("b-1")
    borrower.told.clear()
    client.submit("b-2")
    home.feed(InstanceMissed("B", 0))
    instances.carry()
    instances.run(1.0)
    jobs = node.assignments()
    assert sorted(job.request_id for job in jobs) == ["b-1", "b-2"]
    for job in jobs:
        node.acknowledge(job.number)
        node.end(job)
    instances.run(0.5)
    assert [result.status for result in client.all(Result)] == ["completed"] * 2
    assert (home.held(3), borrower.held(3)) == (0, 0)


def test_a_result_that_redis_forgot_is_told_again() -> None:
    """R5, I1: its home keeps it until the borrower has it for certain."""
    instances = two()
    home, borrower = instances["A"], instances["B"]
    client, node = borrower.open_session(), home.node(3)
    client.submit("b-1")
    instances.carry()
    job = node.assignment()
    node.acknowledge(job.number)
    instances.carry()
    node.end(job)
    home.told.clear()
    borrower.feed(InstanceMissed("A", 0))
    instances.run(0.5)
    assert client.one(Result).status == "completed"
    assert (home.held(3), borrower.held(3)) == (0, 0)


def test_a_node_that_died_before_it_read_an_assignment_starts_what_it_gets_when_it_is_back() -> (
    None
):
    """P3: else its starts would count as not told, and each of its jobs run again elsewhere."""
    instances = two()
    home, borrower = instances["A"], instances["B"]
    home.unread, client = {}, borrower.open_session()
    client.submit("b-1")
    instances.carry()
    assert home.node(3).assignment().request_id == "b-1"
    home.unread.clear()
    gone(instances, 3)
    for host, flags in ((home.host, RowFlag.PUBLIC), (borrower.host, REMOTE)):
        host.stand(3, flags=flags)
    home.open_lane(3)
    instances.run(1.5)
    node = home.node(3)
    again = node.assignment()
    instances.run(5.0)
    assert node.assignments() == []
    node.end(again)
    instances.carry()
    result = client.one(Result)
    assert (result.status, result.attempt) == ("completed", 2)


def gone(instances: Several, row: int) -> None:
    """A node of A dies, for both."""
    for name, flags in (("A", RowFlag.PUBLIC), ("B", REMOTE)):
        instances[name].host.stand(row, state=NodeState.OFFLINE, flags=flags)
    instances.run(0.5)


def forgotten(instances: Several, row: int) -> None:
    """And is forgotten."""
    gone(instances, row)
    for name in "AB":
        host = instances[name].host
        host.planner.remove(host.records.pop(row).node_id)
        host.rows.standing[row] = 0
    instances.publish()
    instances.run(1.5)


def test_i9_nodes_that_come_and_go_under_ever_new_ids_leave_nothing_on_a_link(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in (borrowers, remote_lanes):
        monkeypatch.setattr(module, "LEFT_MAX", 2)
    instances = Several("A", "B")
    home, borrower = instances["A"], instances["B"]
    client = borrower.open_session()

    def work(row: int, name: str) -> None:
        instances.node(row, "A", slots=1)
        for number in range(3):
            client.submit(f"{name}-{number}", wait_busy_s=20.0)
        for _ in range(3):
            instances.run(0.3)
            node = home.node(row)
            node.end(node.assignment())
        instances.run(0.3)
        assert [result.status for result in client.all(Result)] == ["completed"] * 3
        forgotten(instances, row)

    for row in range(3, 15):
        work(row, f"b-{row}")
    work(4, "again")
    ours, theirs = borrower.core._sharing, home.core._sharing
    assert ours is not None
    assert theirs is not None
    link = ours.nodes.links.links["A"]
    (known,) = theirs.nodes.guests.borrowers.all()
    assert max(len(link.assigned), len(link.offered), len(known.lanes)) <= 3
    assert (home.held(4), borrower.held(4)) == (0, 0)
