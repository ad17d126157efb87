"""What was found of a request holds for equal ones, until what it is made of changes."""

from collections.abc import Callable
from typing import Any

import pytest
from worker_harness import Client, WorkerHarness, one_node

from pointsman_shm.config import TenantConfig, TenantsConfig
from pointsman_shm.tokens.judging import KnownToken, Scope
from pointsman_wire.messages import Error, Message
from pointsman_wire.queries.operating_messages import DrainWorkerOrder, UndrainWorkerOrder
from pointsman_wire.session_messages import (
    AcceptedJob,
    JobAccepted,
    SessionClose,
    Submit,
)
from pointsman_workers.core.events import (
    OrderGiven,
    PressureMeasured,
    StopWished,
    TokensChanged,
)
from pointsman_workers.core.overload import Pressure
from pointsman_workers.desks.waiting.terms import WISH


def answer(client: Client, request_id: str, **fields: Any) -> AcceptedJob | str:
    """Submit; return the acceptance, or the code of the refusal."""
    client.submit(request_id, **fields)
    h, connection = client.harness, client.connection
    refused = h.take(connection, Error)
    return refused[0].error.code if refused else h.one(connection, JobAccepted).jobs[0]


def order(h: WorkerHarness, wish: Message) -> None:
    h.feed(OrderGiven(1, wish))


def press(h: WorkerHarness, memory: float) -> None:
    h.feed(PressureMeasured(Pressure(memory=memory)))


Change = Callable[[WorkerHarness], object]


@pytest.mark.parametrize(
    ("change", "code", "back"),
    [
        (
            lambda h: order(h, DrainWorkerOrder()),
            "SHUTTING_DOWN",
            lambda h: order(h, UndrainWorkerOrder()),
        ),
        (lambda h: press(h, 0.96), "QUEUE_FULL", lambda h: press(h, 0.1)),
        (lambda h: h.feed(StopWished(deadline_ns=h.now_ns + 10**10)), "SHUTTING_DOWN", None),
    ],
    ids=["drained", "overloaded", "stopping"],
)
def test_an_equal_request_is_refused_from_when_none_is_taken(
    change: Change, code: str, back: Change | None
) -> None:
    _, h = one_node(slots=8)
    h.open_lane(3)
    client = h.open_session()
    assert isinstance(answer(client, "r-1"), AcceptedJob)
    change(h)
    assert answer(client, "r-2") == code
    if back is not None:
        back(h)
        assert isinstance(answer(client, "r-3"), AcceptedJob)


def test_an_equal_request_is_refused_once_its_session_is_being_closed() -> None:
    _, h = one_node(slots=8)
    h.open_lane(3)
    client = h.open_session()
    assert isinstance(answer(client, "r-1"), AcceptedJob)
    h.receive(client.connection, SessionClose())
    assert answer(client, "r-2") == "SESSION_CLOSED"


def test_an_equal_request_has_the_limits_of_who_has_a_token_once_there_is_one() -> None:
    tenants = TenantsConfig(with_tokens=TenantConfig(jobs_max=2))
    _, h = one_node(slots=8, tenants=tenants)
    h.open_lane(3)
    client = h.open_session(tenant="acme")
    assert isinstance(answer(client, "r-1"), AcceptedJob)
    known = KnownToken(token_id="t-1", digest=bytes(32), tenant="acme", scopes=Scope.ALL)
    h.feed(TokensChanged((known,)))
    assert {type(answer(client, f"r-{number}")) for number in (2, 3)} == {AcceptedJob}
    assert answer(client, "r-4") == "RATE_LIMITED"


def test_each_request_of_a_session_gets_what_it_says_itself() -> None:
    _, h = one_node(slots=64)
    node = h.open_lane(3)
    client = h.open_session()
    wishes: list[dict[str, Any]] = [
        {},
        {"timeout_s": 7.0},
        {"timeout_s": 8.0},
        {"services": ["nmt"]},
        {"priority": "bulk"},
        {"content_type": "text/plain"},
        {},
    ]
    for number, wish in enumerate([*wishes, *reversed(wishes)]):
        found = answer(client, f"r-{number}", **wish)
        assert isinstance(found, AcceptedJob), found
        job = node.assignment()
        assert job.timeout_ms == int(wish.get("timeout_s", 30.0) * 1e3)
        assert job.priority == wish.get("priority", "default")
        assert job.content_type == wish.get("content_type", "")
        assert "nmt" in job.services or not wish.get("services")
    assert answer(client, "r-98", services=["unheard-of"]) == "UNSUPPORTED_FEATURE"
    assert answer(client, "r-99", durability="redis") == "UNSUPPORTED_FEATURE"
    assert isinstance(answer(client, "r-100"), AcceptedJob)


def test_the_wish_of_a_request_is_all_but_its_name_and_what_is_passed_on() -> None:
    names = Submit.__struct_fields__
    apart = [name for name in names if name not in names[WISH]]
    assert apart == [
        "session_number",
        "request_id",
        "utterance_index",
        "content_type",
        "trace_id",
        "meta",
        "stream",
        "explain",
    ]
