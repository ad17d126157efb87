"""What operators order of a worker: cancel, drain, undrain, and a pause of the whole service."""

from collections import Counter

from msgspec.structs import replace
from worker_harness import Client, Host, WorkerHarness, one_node

from pointsman_shm.config import Config
from pointsman_shm.memory.catalog_writer import CatalogWriter
from pointsman_shm.memory.stats_names import Gauge
from pointsman_shm.snapshot.codec import encode_policy
from pointsman_shm.snapshot.records import OrdersRecord, PolicyPage
from pointsman_shm.uplink import Alternatives
from pointsman_wire.errors import Code
from pointsman_wire.lane_messages import CancelJob, LaneGoingAway
from pointsman_wire.link import Connection
from pointsman_wire.messages import Error, Message
from pointsman_wire.preamble import Role, Secured
from pointsman_wire.queries.operating_messages import (
    CancelOrder,
    DrainWorkerOrder,
    OrderDone,
    UndrainWorkerOrder,
)
from pointsman_wire.session_messages import (
    GoingAway,
    JobAccepted,
    Moved,
    Result,
    ResultAck,
    SessionInit,
)
from pointsman_workers.core.events import ManagerSaid, OrderAnswered, OrderGiven, StopWished


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


def test_who_loses_the_connection_to_a_drained_worker_comes_back_for_what_runs() -> None:
    _, h = one_node(slots=2)
    node = h.open_lane(3)
    client = h.open_session("s-1")
    client.submit("r-1")
    done(h, DrainWorkerOrder())
    for number in range(2):  # once before the end of the job, and once after it
        client.hang_up()
        client = h.open_session("s-1", resume_token=client.ack.resume_token, unfinished=["r-1"])
        assert client.ack.resumed
        if not number:
            node.end(node.assignment())
        assert client.one(Result).status == "completed"
        assert submit_code(client, "r-2") == Code.SHUTTING_DOWN
    number = client.ack.session_number
    h.receive(client.connection, ResultAck(results=[(number, 1 << 40)]))
    client.hang_up()
    back: Connection = h.dial(Role.SESSION)
    h.receive(back, SessionInit(session_id="s-1", resume_token=client.ack.resume_token))
    assert h.one(back, Error).error.code == Code.SHUTTING_DOWN


def test_the_sessions_of_a_drained_worker_are_sent_to_other_instances_some_after_others() -> None:
    """Lame duck: at once, by turns, only to where they can speak; nodes when it stops."""
    _, h = one_node()
    node = h.open_lane(3)
    clients = [h.open_session(f"s-{number}") for number in range(1001)]
    others = ("10.0.0.2:7400", "10.0.0.3:7400")
    h.feed(ManagerSaid(Alternatives(plain=others)))
    told = done(h, DrainWorkerOrder())
    assert "sends 1001 sessions to other instances" in told.words
    going = [client.one(GoingAway) for client in clients]
    assert {message.elsewhere_after_ms for message in going} == {0}
    assert Counter(message.alternatives[0] for message in going).most_common()[-1][1] >= 500
    assert going[-1].reconnect_after_ms - going[0].reconnect_after_ms == 2000
    assert not h.take(node.connection, LaneGoingAway)
    h.feed(StopWished(h.now_ns))
    assert h.one(node.connection, LaneGoingAway).elsewhere_after_ms == 0


def test_who_comes_to_a_drained_worker_is_told_where_else_to_go_if_there_is_a_place() -> None:
    _, h = one_node()
    h.feed(ManagerSaid(Alternatives(plain=("10.0.0.2:7400",))))
    done(h, DrainWorkerOrder())
    plain, over_tls = h.dial(Role.SESSION), h.dial(Role.SESSION, Secured())
    assert h.one(plain, GoingAway).alternatives == ["10.0.0.2:7400"]
    assert not h.take(over_tls, GoingAway)


def test_a_drained_worker_has_the_next_one_take_new_sessions() -> None:
    host = Host(Config(), worker_count=2)
    host.publish(10**9)
    h = WorkerHarness(host, worker_index=1)
    h.feed()
    done(h, DrainWorkerOrder())
    connection = h.dial(Role.SESSION)
    h.receive(connection, SessionInit())
    assert h.one(connection, Moved).shard == 0


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
