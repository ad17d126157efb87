"""I9: a peer that repeats anything without end finds every table of a process bounded.

Each hostile act is done some thousand times; the second half of them may leave next to nothing
behind.  What the core sends is thrown away here: how much may wait for a peer is the connection's
affair (test_bounds_of_sockets, tests/wire).
"""

import gc
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from agent_harness import AgentHarness
from client_harness import ClientHarness
from manager_harness import Harness, config_with, registration
from worker_harness import WorkerHarness, one_node

from pointsman.node_core.events import AgentLimits
from pointsman_shm.config import ExplainConfig, JobsConfig, LimitsConfig, SessionsConfig
from pointsman_shm.snapshot import fleet_index, pool_view
from pointsman_wire.lane_messages import (
    Assign,
    CancelJob,
    LaneAccepted,
    LaneOpen,
    NodePartial,
    NodeResult,
)
from pointsman_wire.link import Accepted, Closed, Connection, Received
from pointsman_wire.messages import Message
from pointsman_wire.preamble import Preamble, Role
from pointsman_wire.session_messages import (
    Cancel,
    Moved,
    Partial,
    Result,
    ResultAck,
    SessionInit,
    Submit,
)
from pointsman_workers.core.turns import tenants
from pointsman_workers.placement import kinds, refusal

ACTS = 1_000
SAMPLE = 250
KIB = 1024
# Tables that are full only after thousands of different requests: smaller, they are full here.
CACHE_BOUNDS = (
    (kinds, "KINDS_MAX"),
    (fleet_index, "CACHED_LISTS_MAX"),
    (fleet_index, "VERDICTS_MAX"),
    (pool_view, "QUESTIONS_MAX"),
    (refusal, "EVIDENCE_MAX"),
    (refusal, "SHARED_MAX"),
    (tenants, "NAMES_MAX"),
)
Act = Callable[[int], None]


def growth(act: Act, rounds: int) -> int:
    """By how many bytes the most that was ever held grows in the last of some rounds of acts.

    The most, because a table that drops half of what it has when it is full swings.
    """
    tracemalloc.start()
    try:
        before = _most_held(act, 0, ACTS * (rounds - 1))
        after = _most_held(act, ACTS * (rounds - 1), ACTS * rounds)
    finally:
        tracemalloc.stop()
    return after - before


def _most_held(act: Act, first: int, end: int) -> int:
    most = 0
    for number in range(first, end):
        act(number)
        if number % SAMPLE == SAMPLE - 1:
            gc.collect()
            most = max(most, tracemalloc.get_traced_memory()[0])
    return most


# ---- a worker


def worker() -> WorkerHarness:
    """A worker whose bounds are met soon."""
    _, h = one_node(
        slots=2,
        limits=LimitsConfig(
            queued_per_tenant_max=4, queued_per_shard_max=8, results_queue_bytes_max=4 * KIB
        ),
        jobs=JobsConfig(window_jobs_max=100, wait_busy_s=0.2),
        sessions=SessionsConfig(sessions_max=50),
        explain=ExplainConfig(bytes_max=64 * KIB),
    )
    return h


def hear(h: WorkerHarness, connection: Connection, message: Message, payload: bytes = b"") -> None:
    h.core.step(h.now_ns, [Received(connection, [(message, payload)])])


def on_a_session(make: Callable[[int], Message]) -> Callable[[], Act]:
    """Messages of a client whose session stands."""

    def prepare() -> Act:
        h = worker()
        client = h.open_session("s-1")

        def act(number: int) -> None:
            hear(h, client.connection, make(number), b"x" * 100)
            if number % 50 == 0:
                h.advance(0.5)
                h.commands.clear()
                h.sent.clear()

        return act

    return prepare


def submit(number: int, **fields: Any) -> Submit:
    wanted = {"services": ["nmt"], "src_lang": "en", "tgt_lang": "es", **fields}
    return Submit(request_id=f"r-{number}", **wanted)


def on_a_lane(make: Callable[[int], Message]) -> Callable[[], Act]:
    """Messages of a node whose lane stands."""

    def prepare() -> Act:
        h = worker()
        node = h.open_lane(3)
        return lambda number: hear(h, node.connection, make(number), b"x" * 100)

    return prepare


def dial_the_worker(role: Role, first: Callable[[int], Message] | None) -> Callable[[], Act]:
    """Connections that come, perhaps say something, and go."""

    def prepare() -> Act:
        h = worker()

        def act(number: int) -> None:
            connection = Connection(10_000 + number)
            events: list[object] = [Accepted(connection, Preamble(role, None), "10.0.0.1")]
            if first is not None:
                events.append(Received(connection, [(first(number), b"")]))
            h.core.step(h.now_ns, [*events, Closed(connection, "reset")])
            if number % 50 == 0:
                h.advance(0.5)
                h.commands.clear()
                h.sent.clear()

        return act

    return prepare


# ---- the manager


def dial_the_manager(first: Callable[[int], Message]) -> Callable[[], Act]:
    """Nodes that register, or try to, and go."""

    def prepare() -> Act:
        h = Harness(config_with(max_nodes=8, classes_max=16), is_checked=False)

        def act(number: int) -> None:
            connection = h.dial(peer=f"10.0.{number % 200}.1")
            h.say(connection, first(number))
            h.lose(connection)
            h.registry.clear()
            if number % 50 == 0:
                h.advance(500_000_000)
                h.registry.clear()

        return act

    return prepare


# ---- a node and a client


def on_a_nodes_lane(make: Callable[[int], Message]) -> Callable[[], Act]:
    """A worker that lies to a node."""

    def prepare() -> Act:
        limits = AgentLimits(seen_count_max=100, held_count_max=16, held_bytes_max=16 * KIB)
        h = AgentHarness(limits=limits)
        h.join()

        def act(number: int) -> None:
            if 0 not in h.lanes or number % 100 == 0:
                h.advance_answered(0.5)
            h.core.step(h.now_ns, [Received(h.lanes[0], [(make(number), b"x" * 100)])])

        return act

    return prepare


def on_a_clients_connection(make: Callable[[int], Message]) -> Callable[[], Act]:
    """A worker that lies to a client."""

    def prepare() -> Act:
        h = ClientHarness()
        h.open()
        h.submit("r-1")
        return lambda number: h.core.step(
            h.now_ns, [Received(h.connection, [(make(number), b"x" * 100)])]
        ).clear()

    return prepare


HOSTILE: dict[str, Callable[[], Act]] = {
    "a client submits new jobs": on_a_session(submit),
    "a client submits kinds of work without end": on_a_session(
        lambda n: submit(n, services=["nmt"], features=[f"f{n}"])
    ),
    "a client asks for unknown services": on_a_session(lambda n: submit(n, services=[f"s{n}"])),
    "a client names sessions that are none": on_a_session(
        lambda n: submit(n, session_number=n + 5)
    ),
    "a client cancels what nobody knows": on_a_session(lambda n: Cancel(request_id=f"c-{n}")),
    "a client acknowledges the future": on_a_session(
        lambda n: ResultAck(results=[(m, n) for m in range(20)])
    ),
    "clients come and go without a word": dial_the_worker(Role.SESSION, None),
    "clients open sessions and go": dial_the_worker(
        Role.SESSION, lambda n: SessionInit(session_id=f"s-{n}")
    ),
    "clients of ever new tenants": dial_the_worker(
        Role.SESSION, lambda n: SessionInit(tenant=f"t-{n}", src_lang=f"l{n}")
    ),
    "nodes dial lanes with forged tickets": dial_the_worker(
        Role.LANE,
        lambda n: LaneOpen(node_id=f"n-{n}", row=n % 64, generation=n, epoch=1, ticket=b"x"),
    ),
    "a node has results of unknown jobs": on_a_lane(
        lambda n: NodeResult(number=n + 1, job_id=f"j-{n}", epoch=1, dispatch=n)
    ),
    "a node streams pieces of unknown jobs": on_a_lane(
        lambda n: NodePartial(job_id=f"j-{n}", epoch=1, dispatch=n, seq=n)
    ),
    "nodes register under ever new ids": dial_the_manager(lambda n: registration(f"n-{n}")),
    "nodes register ever new capabilities": dial_the_manager(
        lambda n: registration(f"n-{n % 8}", features=[f"f-{n}"])
    ),
    "a worker assigns without end": on_a_nodes_lane(
        lambda n: Assign(number=n + 1, job_id=f"j-{n}", dispatch=n + 1)
    ),
    "a worker cancels what a node never had": on_a_nodes_lane(
        lambda n: CancelJob(job_id=f"j-{n}", epoch=1, dispatch=n)
    ),
    "a worker says ever new things of itself": on_a_nodes_lane(
        lambda n: LaneAccepted(instance_uid=f"u-{n}", shard=0, epoch=n)
    ),
    "a worker has results that nobody asked for": on_a_clients_connection(
        lambda n: Result(session_number=1, request_id=f"r-{n}", number=n + 1)
    ),
    "a worker streams pieces of other requests": on_a_clients_connection(
        lambda n: Partial(session_number=1, request_id=f"r-{n}", seq=n)
    ),
    "a worker sends a client away again and again": on_a_clients_connection(
        lambda n: Moved(ref=n, session_id=f"s-{n}", shard=n % 2, worker_count=2)
    ),
}

# Tables of several sizes fill one after the other.
ROUNDS = {"a client submits kinds of work without end": 5}


@pytest.mark.parametrize("name", HOSTILE)
def test_i9_what_a_peer_repeats_without_end_leaves_nothing_behind(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, bound in CACHE_BOUNDS:
        monkeypatch.setattr(module, bound, 64)
    grown = growth(HOSTILE[name](), ROUNDS.get(name, 2))
    assert grown < 64 * KIB, f"{grown} bytes more after {ACTS} more acts"
