"""An utterance session after its worker's death: its order begins with what its client repeats."""

from journalled_host import JournalledHost
from worker_harness import Client, Node, WorkerHarness

from pointsman_wire.lane_messages import Assign
from pointsman_wire.session_messages import MissingResult, Result


def told(client: Client) -> list[int | tuple[int, int, str]]:
    """What the client was told since the last look: indices, and what is missing."""
    found: list[int | tuple[int, int, str]] = []
    for message, _ in client.harness.sent.pop(client.connection, []):
        if isinstance(message, Result):
            assert message.utterance_index is not None
            found.append(message.utterance_index)
        elif isinstance(message, MissingResult):
            found.append((message.utterance_index, message.count, message.reason))
    return found


def begun(*durabilities: str) -> tuple[JournalledHost, WorkerHarness, Client, dict[str, Assign]]:
    """A session with one job for each; that of the last index has ended."""
    host = JournalledHost()
    worker = host.worker()
    node = worker.open_lane(3)
    client = worker.open_session("s-1", order="utterance")
    jobs: dict[str, Assign] = {}
    for index, durability in enumerate(durabilities):
        client.submit(f"r-{index}", utterance_index=index, durability=durability)
        jobs |= {job.request_id: job for job in node.assignments()}
    node.end(jobs[f"r-{len(durabilities) - 1}"])
    assert told(client) == []
    return host, worker, client, jobs


def back(worker: WorkerHarness, client: Client, *unfinished: str) -> Client:
    token = client.ack.resume_token
    return worker.open_session(
        "s-1", resume_token=token, order="utterance", unfinished=[*unfinished]
    )


def repeat(client: Client, node: Node, index: int) -> None:
    client.submit(f"r-{index}", utterance_index=index)
    node.end(node.assignment())


def test_what_the_worker_kept_waits_for_what_its_client_repeats() -> None:
    host, worker, client, _ = begun("memory", "flushed")
    successor = host.successor(worker)
    node = successor.open_lane(3)
    client = back(successor, client, "r-0", "r-1")
    assert client.ack.unfinished == {"r-0": "unknown", "r-1": "ended"}
    assert told(client) == []
    repeat(client, node, 0)
    assert told(client) == [0, 1]


def test_what_is_never_repeated_is_not_waited_for_longer_than_a_gap() -> None:
    host, worker, client, _ = begun("memory", "flushed")
    successor = host.successor(worker)
    successor.open_lane(3)
    client = back(successor, client, "r-0", "r-1")
    successor.advance(9.5)
    assert told(client) == []
    successor.advance(1.0)
    assert told(client) == [1]


def test_who_names_nothing_unknown_is_told_at_once() -> None:
    host, worker, client, _ = begun("memory", "flushed")
    successor = host.successor(worker)
    successor.open_lane(3)
    assert told(back(successor, client, "r-1")) == [1]


def test_the_repeated_may_come_in_any_order() -> None:
    host, worker, client, _ = begun("memory", "memory")
    successor = host.successor(worker)
    node = successor.open_lane(3)
    client = back(successor, client, "r-0", "r-1")
    repeat(client, node, 1)
    assert told(client) == []
    repeat(client, node, 0)
    assert told(client) == [0, 1]
