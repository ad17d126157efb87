"""Repeated submits meet their job in whatever session their client has by then."""

from worker_harness import SECOND_NS, Host, WorkerHarness, shared_config

from pointsman_wire.session_messages import JobAccepted, Result, ResultAck, SessionClose


def one_node() -> WorkerHarness:
    host = Host(shared_config())
    host.node(3)
    host.publish(SECOND_NS)
    return WorkerHarness(host)


def test_a_session_opened_anew_finds_the_result_of_the_one_before() -> None:
    h = one_node()
    node = h.open_lane(3)
    first = h.open_session("s-1")
    first.submit("r-1")
    node.end(node.assignment())
    accepted = first.one(JobAccepted).jobs[0]
    h.receive(first.connection, SessionClose(session_number=first.ack.session_number))

    second = h.open_session("s-1")
    second.submit("r-1")
    again = second.one(JobAccepted).jobs[0]
    assert (again.job_id, again.duplicate) == (accepted.job_id, True)
    assert second.one(Result).job_id == accepted.job_id
    assert node.assignments() == []


def test_a_session_opened_anew_joins_the_job_that_still_runs() -> None:
    h = one_node()
    node = h.open_lane(3)
    first = h.open_session("s-1")
    first.submit("r-1")
    job = node.assignment()
    close = SessionClose(session_number=first.ack.session_number, flush=False)
    h.receive(first.connection, close)

    second = h.open_session("s-1")
    second.submit("r-1")
    node.end(job)
    assert second.one(Result).job_id == job.job_id
    assert node.assignments() == []


def test_a_result_that_was_read_comes_again_under_a_number_that_is_news() -> None:
    h = one_node()
    node = h.open_lane(3)
    client = h.open_session("s-1")
    client.submit("r-1")
    node.end(node.assignment())
    first = client.one(Result)
    read = ResultAck(results=[(client.ack.session_number, first.number)])
    h.receive(client.connection, read)

    client.submit("r-1")
    assert client.one(Result).number == first.number + 1
