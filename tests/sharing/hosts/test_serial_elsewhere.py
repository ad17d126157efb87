"""A serial session whose only node is at another instance."""

from several import Several

from pointsman_wire.session_messages import Result


def test_jobs_of_a_serial_session_run_one_after_another_on_a_node_of_another_instance() -> None:
    """I4: the node has room for all, and yet each job begins when the one before it has ended."""
    instances = Several("A", "B")
    instances.node(3, "A", slots=4)
    home, client = instances["A"], instances["B"].open_session("s-1", order="serial")
    for number in range(4):
        client.submit(f"b-{number}", wait_busy_s=60.0)
    instances.carry()
    node, ran = home.node(3), []
    for _ in range(60):
        for job in node.assignments():
            assert home.held(3) == 1
            node.acknowledge(job.number)
            instances.run(0.2)
            assert not node.assignments(), "the next one waits for this one's end"
            node.end(job)
            ran.append(job.request_id)
        instances.run(0.1)
        if len(ran) == 4:
            break
    assert ran == [f"b-{number}" for number in range(4)]
    assert [result.request_id for result in client.all(Result)] == ran
