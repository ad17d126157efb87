"""What the tests of explanations share: a fleet of equal nodes, and questions to its worker."""

from typing import Any

from worker_harness import SECOND_NS, Host, Node, WorkerHarness

from pointsman_shm.config import Config, PoolsConfig
from pointsman_wire.queries.explain_messages import DecisionView, Explained, ExplainQuery
from pointsman_workers.core.state import Key
from pointsman_workers.explain.records import Placed, decode_record
from pointsman_workers.explain.replay import Grounds


def explained(harness: WorkerHarness, request_id: str, **fields: Any) -> list[DecisionView]:
    """What a worker says of a request, with replays."""
    answer = harness.core.answer(ExplainQuery(request_id=request_id, replay=True, **fields))
    assert isinstance(answer, Explained)
    return answer.decisions


def the_one(harness: WorkerHarness, request_id: str) -> DecisionView:
    (view,) = explained(harness, request_id)
    return view


def fleet_of(count: int, *, slots: int = 1, **pools: object) -> tuple[WorkerHarness, list[Node]]:
    """A worker with so many equal nodes, all of them ready and with a lane."""
    host = Host(Config(pools=PoolsConfig(**pools)), max_nodes=max(64, count))  # type: ignore[arg-type]
    for row in range(count):
        host.node(row, slots=slots)
    host.publish(SECOND_NS)
    harness = WorkerHarness(host)
    harness.feed()
    return harness, [harness.open_lane(row) for row in range(count)]


def recorded(harness: WorkerHarness, key: Key) -> Placed:
    (data,) = harness.core.shard.recorder.of(key)
    record = decode_record(data)
    assert isinstance(record, Placed)
    return record


def grounds_for(harness: WorkerHarness, key: Key, record: Placed) -> Grounds:
    shard = harness.core.shard
    pages = shard.recorder.pages
    latest = pages.latest()
    assert latest is not None
    return Grounds(key, shard.fleet.draws.seed, pages.of(record.version), latest)
