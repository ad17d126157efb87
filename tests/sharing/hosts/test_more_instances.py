"""Stories of three instances that use one node, and of a borrower that starts anew."""

from several import Several
from test_moving_stories import JOURNAL, written

from pointsman_wire.session_messages import Result


def test_three_instances_share_a_node_and_none_is_left_out() -> None:
    """I4, I2: two borrowers and the home itself; each job runs once, two at a time."""
    instances = Several("A", "B", "C")
    instances.node(3, "A", slots=2)
    home = instances["A"]
    clients = {name: instances[name].open_session() for name in "ABC"}
    for number in range(4):
        for name, client in clients.items():
            client.submit(f"{name}-{number}", wait_busy_s=60.0)
    instances.carry()
    node, ran = home.node(3), []
    for _ in range(120):
        for job in node.assignments():
            assert home.held(3) <= 2
            node.acknowledge(job.number)
            node.end(job)
            ran.append(job.request_id)
        instances.run(0.1)
        if len(ran) == 12:
            break
    assert sorted(ran) == sorted(f"{name}-{number}" for name in "ABC" for number in range(4))
    assert all(len(client.all(Result)) == 4 for client in clients.values())
    assert [instances[name].held(3) for name in "ABC"] == [0, 0, 0]


def test_a_borrower_that_starts_anew_from_its_journal_gets_the_result_of_its_guest() -> None:
    """P2, R10: the home keeps what runs for it and tells the next life, which asks for its jobs."""
    instances = Several("A", "B")
    instances.node(3, "A", slots=2)
    borrower = instances.start("B", epoch=2, journal=JOURNAL)
    instances.run(0.5)
    client = borrower.open_session("s-1")
    client.submit("b-1", timeout_s=600.0)
    client.submit("b-2", timeout_s=600.0)
    instances.carry()
    home, node = instances["A"], instances["A"].node(3)
    first, second = node.assignments()
    node.acknowledge(second.number)
    instances.carry()
    recovered = written(borrower)
    instances.kill("B")
    node.end(first, b"while nobody was there")
    instances.run(0.5)
    borrower = instances.start("B", epoch=3, journal=JOURNAL, recovered=recovered)
    instances.run(2.0)
    node.end(second, b"hola")
    instances.run(1.0)
    client = borrower.open_session("s-1")
    client.submit("b-1")
    client.submit("b-2")
    instances.run(1.0)
    results = client.all(Result)
    assert {(r.request_id, r.status, r.attempt) for r in results} == {
        ("b-1", "completed", 1),
        ("b-2", "completed", 1),
    }
    assert not node.assignments()
    assert (home.held(3), borrower.held(3)) == (0, 0)
