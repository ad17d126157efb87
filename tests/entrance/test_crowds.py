"""How many sessions one may have: per address, per tenant, per worker; counted to the end."""

import pytest
from entrance.tokens_at_hand import ACME, RIVAL, dialled, refusal, strict_worker, strict_workers
from worker_harness import WorkerHarness

from pointsman_shm.config import LimitsConfig, SessionsConfig, TenantConfig, TenantsConfig
from pointsman_wire.errors import Code
from pointsman_wire.link import Closed
from pointsman_wire.messages import Error
from pointsman_wire.preamble import Role
from pointsman_wire.session_messages import SessionClose, SessionInit, SessionInitAck
from pointsman_wire.shards import shard_of

FEW = LimitsConfig(sessions_per_address_max=2)
NAMES = [f"s-{number}" for number in range(40)]
TWO_A_TENANT = TenantsConfig(with_tokens=TenantConfig(sessions_max=2))


def opened(worker: WorkerHarness, address: str, session_id: str, token: str = ACME) -> Error | None:
    """Open a session from an address on a connection of its own; None: it stands."""
    connection = dialled(worker, address)
    worker.receive(connection, SessionInit(session_id=session_id, token=token))
    if worker.take(connection, SessionInitAck):
        return None
    return worker.one(connection, Error)


def test_an_address_has_at_most_so_many_sessions_whatever_tenants_they_are_of() -> None:
    worker = strict_worker(limits=FEW)
    assert opened(worker, "10.0.0.1", "s-1") is None
    assert opened(worker, "10.0.0.1", "s-2", RIVAL) is None
    refused = opened(worker, "10.0.0.1", "s-3")
    assert refused is not None
    assert refused.error.code == Code.RATE_LIMITED
    assert refused.error.retry_after_ms == 1_000
    assert opened(worker, "10.0.0.1", "s-1") is None, "one that is there may be taken over"
    assert opened(worker, "10.0.0.2", "s-3") is None
    for number in range(5):
        assert opened(worker, "127.0.0.1", f"local-{number}") is None


@pytest.mark.parametrize("address", ["10.0.0.1", "127.0.0.1"])
def test_places_come_back_when_sessions_end_break_off_or_move_to_another_address(
    address: str,
) -> None:
    worker = strict_worker(limits=FEW)
    for turn in range(20):
        trunk = dialled(worker, address, Role.TRUNK)
        for number in range(2):
            worker.receive(trunk, SessionInit(session_id=f"s-{number}", token=ACME))
        assert len(worker.take(trunk, SessionInitAck)) == 2, turn
        if turn % 3 == 0:
            worker.receive(trunk, SessionClose(session_number=0))
            worker.receive(trunk, SessionClose(session_number=1))
        elif turn % 3 == 1:
            opened(worker, "10.0.0.9", "s-1")
        worker.feed(Closed(trunk))
    worker.advance(120)
    crowd = worker.core.shard.crowd
    assert (crowd._by_address, crowd._by_tenant, crowd._count) == ({}, {}, 0)


def test_a_tenant_has_at_most_so_many_sessions_those_that_may_be_resumed_included() -> None:
    worker = strict_worker(tenants=TWO_A_TENANT, sessions=SessionsConfig(resume_s=30))
    first = worker.open_session("s-1", token=ACME)
    worker.open_session("s-2", token=ACME)
    first.hang_up()
    error = refusal(worker, session_id="s-3", token=ACME).error
    assert (error.code, error.retryable) == (Code.RATE_LIMITED, True)
    assert "tenant 'acme' has 2 sessions" in error.message
    assert opened(worker, "10.0.0.1", "s-3", RIVAL) is None
    back = worker.open_session("s-1", token=ACME, resume_token=first.ack.resume_token)
    assert back.ack.resumed
    back.hang_up()
    worker.advance(31)
    assert opened(worker, "10.0.0.1", "s-3") is None
    assert worker.core.shard.setup.memory.stats.read().counters["sessions_refused"] == 1


# ---- over all workers of a host


def test_the_sessions_of_an_address_and_of_a_tenant_are_those_at_all_workers() -> None:
    """A2: two of one shard and two of the other, and not a third anywhere."""
    for limits in ({"limits": FEW}, {"tenants": TWO_A_TENANT}):
        here, there = strict_workers(**limits)
        ids = [[i for i in NAMES if shard_of(i, 2) == worker] for worker in range(2)]
        assert opened(here, "10.0.0.1", ids[0][0]) is None
        assert opened(there, "10.0.0.1", ids[1][0]) is None
        for worker, (_, second, *_more) in zip((here, there), ids, strict=True):
            refused = opened(worker, "10.0.0.1", second)
            assert refused is not None
            assert refused.error.code == Code.RATE_LIMITED
        assert opened(there, "10.0.0.2", ids[1][2], RIVAL) is None


def test_a_place_is_free_at_all_workers_when_a_session_has_ended_at_one() -> None:
    here, there = strict_workers(tenants=TWO_A_TENANT)
    ids = [[i for i in NAMES if shard_of(i, 2) == worker] for worker in range(2)]
    clients = [here.open_session(name, token=ACME) for name in ids[0][:2]]
    assert opened(there, "10.0.0.1", ids[1][0]) is not None
    here.receive(clients[0].connection, SessionClose(session_number=clients[0].ack.session_number))
    assert opened(there, "10.0.0.1", ids[1][0]) is None
