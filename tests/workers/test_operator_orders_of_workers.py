"""What operators order of a worker: cancel, drain, undrain, and a pause of the whole service."""

from msgspec.structs import replace
from worker_harness import Client, WorkerHarness, one_node

from pointsman_shm.memory.catalog_writer import CatalogWriter
from pointsman_shm.memory.stats_names import Gauge
from pointsman_shm.snapshot.codec import encode_policy
from pointsman_shm.snapshot.records import OrdersRecord, PolicyPage
from pointsman_wire.errors import Code
from pointsman_wire.lane_messages import CancelJob
from pointsman_wire.link import Connection
from pointsman_wire.messages import Error, Message
from pointsman_wire.preamble import Role
from pointsman_wire.queries.operating_messages import (
    CancelOrder,
    DrainWorkerOrder,
    OrderDone,
    UndrainWorkerOrder,
)
from pointsman_wire.session_messages import JobAccepted, Result, SessionInit
from pointsman_workers.core.events import OrderAnswered, OrderGiven


def order(h: WorkerHarness, wish: Message) -> Message:
    """Give an order; return its answer."""
    [answer] = [c for c in h.feed(OrderGiven(3, wish)) if isinstance(c, OrderAnswered)]
    assert answer.ticket == 3
    return answer.message


def done(h: WorkerHarness, wish: Message) -> OrderDone:
    answer = order(h, wish)
    assert isinstance(answer, OrderDone), answer
    return answer


def refused(h: WorkerHarness, wish: Message) -> str:
    answer = order(h, wish)
    assert isinstance(answer, Error), answer
    return answer.error.code


def submit_code(client: Client, request_id: str) -> str:
    """Submit, and return the code of the refusal."""
    client.submit(request_id)
    return client.one(Error).error.code


def test_a_cancelled_job_ends_for_its_client_and_its_node_is_told() -> None:
    _, h = one_node()
    node = h.open_lane(3)
    client = h.open_session("s-1")
    client.submit("r-1")
    node.assignment()
    assert "is cancelled" in done(h, CancelOrder(session_id="s-1", request_id="r-1")).words
    assert client.one(Result).status == "cancelled"
    assert h.take(node.connection, CancelJob)
    assert refused(h, CancelOrder(session_id="s-1", request_id="r-1")) == Code.CONFLICT
    assert refused(h, CancelOrder(session_id="s-1", request_id="x")) == Code.NOT_FOUND
    other = CancelOrder(session_id="s-1", request_id="r-1", tenant="other")
    assert refused(h, other) == Code.NOT_FOUND


def test_a_drained_worker_takes_nothing_new_and_lets_what_runs_end() -> None:
    _, h = one_node(slots=2)
    node = h.open_lane(3)
    client = h.open_session()
    client.submit("r-1")
    job = node.assignment()
    told = done(h, DrainWorkerOrder())
    assert (told.sessions, told.jobs) == (1, 1)
    gauges = h.core.shard.setup.memory.stats.read().gauges
    assert gauges[Gauge.DRAINING.name.lower()] == 1
    client.all(JobAccepted)
    assert submit_code(client, "r-2") == Code.SHUTTING_DOWN
    stranger: Connection = h.dial(Role.SESSION)
    h.receive(stranger, SessionInit(session_id="s-9"))
    assert h.one(stranger, Error).error.code == Code.SHUTTING_DOWN
    node.end(job)
    assert client.one(Result).status == "completed"


def test_an_undrained_worker_takes_jobs_again() -> None:
    _, h = one_node()
    node = h.open_lane(3)
    client = h.open_session()
    assert refused(h, UndrainWorkerOrder()) == Code.CONFLICT
    done(h, DrainWorkerOrder())
    done(h, UndrainWorkerOrder())
    gauges = h.core.shard.setup.memory.stats.read().gauges
    assert gauges[Gauge.DRAINING.name.lower()] == 0
    client.submit("r-1")
    assert node.assignment().request_id == "r-1"


def test_while_the_service_is_paused_new_jobs_are_refused_and_known_ones_are_answered() -> None:
    host, h = one_node()
    node = h.open_lane(3)
    client = h.open_session()
    client.submit("r-1")
    job = node.assignment()
    publish_orders(host.writer, host.layout.policy, h, OrdersRecord(is_paused=True))
    client.all(JobAccepted)
    assert submit_code(client, "r-2") == Code.PAUSED
    client.submit("r-1")
    assert client.one(JobAccepted).jobs[0].duplicate
    node.end(job)
    assert client.one(Result).status == "completed"
    publish_orders(host.writer, host.layout.policy, h, OrdersRecord())
    client.submit("r-3")
    assert node.assignment().request_id == "r-3"


def publish_orders(
    writer: CatalogWriter, page: int, h: WorkerHarness, orders: OrdersRecord
) -> None:
    """Publish the policy page as the manager would."""
    h.now_ns += 100_000_000
    policy = replace(PolicyPage(), orders=orders)
    writer.publish({page: encode_policy(policy)}, h.now_ns)
    h.feed()
