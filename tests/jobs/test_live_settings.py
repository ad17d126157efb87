"""P13: keys that change while a worker runs: what comes is judged by the new ones."""

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from job_trouble import node_error, node_lost
from msgspec.structs import replace
from worker_harness import SECOND_NS, Client, Host, Node, WorkerHarness, chosen

import pointsman_workers
from pointsman_shm.config import (
    LISTED_MAX,
    Config,
    LimitsConfig,
    ListedTenant,
    TenantConfig,
    TenantsConfig,
)
from pointsman_shm.config_live import HOT_KEYS, WORKER_SECTIONS, live_settings, with_live
from pointsman_shm.memory.waiting import Usage
from pointsman_wire.lane_messages import Assign
from pointsman_wire.messages import Error
from pointsman_wire.preamble import Role
from pointsman_wire.session_messages import JobAccepted, Result, SessionInit, SessionInitAck

# What does not follow a reload by itself is told by Shard.follow.
TOLD = {"tenants.py", "waiting.py", "crowd.py"}


class Running:
    """A worker with a few nodes of one slot each, whose manager can apply another file."""

    def __init__(self, *, nodes: int = 1, **sections: Any) -> None:
        self.host = Host(Config(**sections))
        for row in range(nodes):
            self.host.node(row)
        self.host.publish(SECOND_NS)
        self.h = WorkerHarness(self.host)
        self.h.feed()
        self.nodes: list[Node] = [self.h.open_lane(row) for row in range(nodes)]
        self.count = 0

    def reload(self, **keys: Any) -> None:
        """Change single keys, told as section_key; of all others nothing is touched."""
        config = self.host.config
        for name, value in keys.items():
            section, _, key = name.partition("_")
            changed = replace(getattr(config, section), **{key: value})
            config = replace(config, **{section: changed})
        self.host.config = config
        self.host.publish(self.h.now_ns)
        self.h.feed()

    def submit(self, client: Client, **fields: Any) -> str:
        """Submit one more job; the code of its refusal, "" if it was accepted."""
        self.count += 1
        client.submit(f"r-{self.count}", **fields)
        refused = client.all(Error)
        assert len(client.all(JobAccepted)) + len(refused) == 1
        return str(refused[0].error.code) if refused else ""

    def refused(self, client: Client, count: int, **fields: Any) -> list[str]:
        return [self.submit(client, **fields) for _ in range(count)]

    def assigned(self) -> Assign:
        """The one job that has come to a node since the last look."""
        return chosen(dict(enumerate(self.nodes)))[1]

    def ended(self, client: Client) -> list[tuple[str, str]]:
        """(request, code) of the jobs that have ended with an error."""
        results = client.all(Result)
        return [(r.request_id, str(r.error.code)) for r in results if r.error is not None]


# ---- tenants


def test_a_rate_holds_from_the_version_that_tells_of_it_until_one_that_takes_it_back() -> None:
    r = Running()
    client = r.h.open_session(tenant="acme")
    assert r.refused(client, 5) == [""] * 5
    r.reload(tenants_others=TenantConfig(jobs_per_s=1.0, burst=1))
    assert r.refused(client, 3) == ["", "RATE_LIMITED", "RATE_LIMITED"]
    r.reload(tenants_others=TenantConfig())
    assert r.refused(client, 5) == [""] * 5


@pytest.mark.parametrize(
    ("limit", "code"),
    [
        ({"jobs_per_s": 1.0, "burst": 2}, "RATE_LIMITED"),
        ({"jobs_max": 2}, "RATE_LIMITED"),
        # One job of 2 KiB runs, its payload waits no more.
        ({"queued_bytes_max": 2_048}, "QUEUE_FULL"),
    ],
)
def test_each_limit_of_a_listed_tenant_holds_at_a_reload(limit: dict[str, Any], code: str) -> None:
    r = Running(tenants=TenantsConfig(listed=(ListedTenant(name="acme"),)))
    client = r.h.open_session(tenant="acme")
    r.reload(tenants_listed=(ListedTenant(name="acme", **limit),))
    assert r.refused(client, 3, payload=b"x" * 2_048) == ["", "", code]
    r.reload(tenants_listed=(ListedTenant(name="acme"),))
    assert r.refused(client, 3, payload=b"x" * 2_048) == [""] * 3


def test_bytes_that_waited_before_a_quota_came_count_in_it_and_leave_nothing_behind() -> None:
    r = Running(tenants=TenantsConfig(listed=(ListedTenant(name="acme"),)))
    client = r.h.open_session(tenant="acme")
    assert r.refused(client, 3, payload=b"x" * 1_024) == [""] * 3
    r.reload(tenants_listed=(ListedTenant(name="acme", queued_bytes_max=2_048),))
    assert r.submit(client) == "QUEUE_FULL"
    for _ in range(3):
        r.nodes[0].end(r.assigned())
    place = r.h.core.shard.tenants.rules("acme").place
    assert r.host.memory(0).waiting.used(place, Usage.QUEUED_BYTES) == 0


def test_sessions_of_a_tenant_are_bounded_at_a_reload() -> None:
    r = Running()
    r.h.open_session(tenant="acme")
    r.reload(tenants_others=TenantConfig(sessions_max=1))
    assert session_refused(r, tenant="acme") == "RATE_LIMITED"


def test_weights_and_priorities_hold_for_jobs_that_wait_already() -> None:
    """The third job of two tenants that wait: the weight of now decides, not that of before."""
    names = ("acme", "bolt")
    listed = tuple(ListedTenant(name=name) for name in names)
    r = Running(tenants=TenantsConfig(listed=listed))
    r.submit(r.h.open_session())
    clients = {name: r.h.open_session(tenant=name) for name in names}
    for name in names:
        r.refused(clients[name], 20, wait_busy_s=3_600.0)
    r.reload(tenants_listed=(replace(listed[0], weight=4.0), listed[1]))
    served = []
    for _ in range(20):
        running = r.nodes[0].assignment()
        r.nodes[0].end(running)
        served += [name for name in names if clients[name].all(Result)]
    assert served.count("acme") > 2 * served.count("bolt")


def test_who_is_listed_while_it_has_jobs_takes_along_what_waits_and_what_is_open() -> None:
    """Into a place of its own, and back out of it; nothing is left behind in either."""
    counted = TenantConfig(jobs_max=4)
    r = Running(tenants=TenantsConfig(others=counted, listed=(ListedTenant(name="bolt"),)))
    client = r.h.open_session(tenant="acme")
    assert r.refused(client, 3, payload=b"x" * 1_024, wait_busy_s=3_600.0) == [""] * 3
    tenants, words = r.h.core.shard.tenants, r.host.memory(0).waiting

    def counts(place: int) -> tuple[int, int]:
        return words.used(place, Usage.OPEN), words.used(place, Usage.QUEUED_BYTES)

    shared = tenants.rules("acme").place
    r.reload(tenants_listed=(ListedTenant(name="acme", jobs_max=4, queued_bytes_max=2_048),))
    own = tenants.rules("acme").place
    assert own < LISTED_MAX <= shared
    assert counts(own) == (3, 2_048)
    assert words.used(shared, Usage.OPEN) == 0
    assert r.submit(client) == "QUEUE_FULL"
    r.reload(tenants_listed=(ListedTenant(name="new"),))
    assert (tenants.rules("acme").place, tenants.rules("new").place) == (shared, own)
    assert counts(own) == (0, 0)
    assert r.submit(client) == ""
    assert r.submit(client) == "RATE_LIMITED"
    for _ in range(4):
        r.nodes[0].end(r.assigned())
    assert [counts(place) for place in (own, shared)] == [(0, 0), (0, 0)]


def test_who_is_listed_while_he_waits_has_his_share_from_then_on() -> None:
    names = ("acme", "bolt")
    r = Running()
    r.submit(r.h.open_session())
    clients = {name: r.h.open_session(tenant=name) for name in names}
    for name in names:
        r.refused(clients[name], 20, wait_busy_s=3_600.0)
    r.reload(tenants_listed=(ListedTenant(name="bolt", weight=4.0),))
    served = []
    for _ in range(20):
        r.nodes[0].end(r.nodes[0].assignment())
        served += [name for name in names if clients[name].all(Result)]
    assert 0 < 2 * served.count("acme") < served.count("bolt")


def test_tenants_that_nobody_lists_keep_their_places_however_many_are_listed() -> None:
    r = Running()
    tenants = r.h.core.shard.tenants
    before = tenants.rules("nobody").place
    r.reload(tenants_listed=tuple(ListedTenant(name=f"t-{n}") for n in range(LISTED_MAX)))
    assert tenants.rules("nobody").place == before
    assert {tenants.rules(f"t-{n}").place for n in range(LISTED_MAX)} == {*range(LISTED_MAX)}


# ---- sessions and limits


@pytest.mark.parametrize(
    ("bound", "counts", "code"),
    [
        ({"limits_queued_per_shard_max": 1}, 2, "QUEUE_FULL"),
        ({"limits_queued_per_tenant_max": 1}, 2, "QUEUE_FULL"),
        ({"limits_queued_per_host_max": 1}, 2, "QUEUE_FULL"),
        ({"limits_queued_bytes_max": 1_024}, 2, "QUEUE_FULL"),
    ],
)
def test_each_bound_of_the_queue_holds_at_a_reload(
    bound: dict[str, int], counts: int, code: str
) -> None:
    r = Running()
    client = r.h.open_session()
    r.reload(**bound)
    assert r.refused(client, 3, payload=b"x" * 800) == [""] * counts + [code]


def test_a_lower_bound_of_sessions_refuses_those_that_come_and_ends_nobody() -> None:
    r = Running()
    client = r.h.open_session("s-1")
    r.reload(sessions_sessions_max=1)
    assert session_refused(r) == "QUEUE_FULL"
    r.submit(client)
    r.nodes[0].end(r.nodes[0].assignment())
    assert client.one(Result).status == "completed"


def test_fewer_sessions_may_come_from_one_address_at_a_reload() -> None:
    r = Running()
    crowd = r.h.core.shard.crowd
    crowd.came("192.0.2.1")
    assert crowd.full_address("192.0.2.1") is None
    r.reload(limits_sessions_per_address_max=1)
    assert crowd.full_address("192.0.2.1") is not None


def test_a_session_with_an_order_may_have_fewer_open_at_a_reload() -> None:
    r = Running()
    client = r.h.open_session(order="serial")
    r.reload(sessions_pending_results_max=2)
    assert r.refused(client, 3) == ["", "", "QUEUE_FULL"]


# ---- jobs


def test_a_new_timeout_is_that_of_jobs_that_come() -> None:
    r = Running(nodes=2)
    client = r.h.open_session()
    r.reload(jobs_timeout_s=7.0)
    r.submit(client)
    job = r.assigned()
    assert job.timeout_ms == 7_000


@pytest.mark.parametrize(
    ("keys", "timeout_ms"),
    [
        ({"jobs_duration_base_s": 20.0}, 35_000),
        ({"jobs_duration_factor": 3.0}, 40_000),
        ({"jobs_duration_timeout_min_s": 30.0}, 30_000),
        ({"jobs_duration_timeout_max_s": 20.0}, 20_000),
    ],
)
def test_a_timeout_from_a_duration_is_reckoned_anew(
    keys: dict[str, float], timeout_ms: int
) -> None:
    r = Running()
    client = r.h.open_session()
    r.reload(**keys)
    r.submit(client, expected_duration_ms=10_000)
    job = r.assigned()
    assert job.timeout_ms == timeout_ms


@pytest.mark.parametrize(("key", "nodes"), [("jobs_wait_busy_s", 1), ("jobs_wait_none_s", 0)])
def test_how_long_a_job_waits_changes_for_those_that_come(key: str, nodes: int) -> None:
    r = Running(nodes=nodes)
    r.h.advance(60.0)  # settled: no node is on its way back
    client = r.h.open_session()
    if nodes:
        r.submit(client)
    r.reload(**{key: 0.5})
    r.submit(client)
    r.h.advance(0.7)
    assert [name for name, _ in r.ended(client)] == [f"r-{r.count}"]


def test_a_node_has_another_time_to_acknowledge() -> None:
    r = Running(nodes=2)
    client = r.h.open_session()
    r.reload(jobs_ack_s=0.5)
    r.submit(client)
    first = r.assigned()
    r.h.advance(0.8)
    second = r.assigned()
    assert second.job_id == first.job_id


@pytest.mark.parametrize(
    ("keys", "trouble", "tries"),
    [
        ({"jobs_failovers_max": 0}, node_error, 1),
        ({"jobs_poison_failures": 2}, node_error, 2),
        ({"jobs_poison_crashes": 1}, node_lost, 1),
    ],
)
def test_a_job_that_fails_is_given_up_sooner_after_a_reload(
    keys: dict[str, int], trouble: Callable[[Node, Assign], None], tries: int
) -> None:
    r = Running(nodes=4)
    client = r.h.open_session()
    r.reload(**keys)
    r.submit(client)
    for _ in range(tries):
        assert r.ended(client) == []
        trouble(*chosen(dict(enumerate(r.nodes))))
    assert [name for name, _ in r.ended(client)] == ["r-1"]


# ---- all keys


def test_what_is_not_live_stays_as_the_worker_began_with_it() -> None:
    mine = Config()
    told = Config(limits=LimitsConfig(payload_bytes_max=8_192, queued_per_shard_max=7))
    seen = with_live(mine, live_settings(told, ()))
    assert seen.limits.payload_bytes_max == mine.limits.payload_bytes_max
    assert seen.limits.queued_per_shard_max == 7


def test_nobody_in_a_worker_keeps_a_live_key_from_its_start() -> None:
    """No constructor but of those that are told of a reload reads one."""
    keys = {key for section in WORKER_SECTIONS for key in HOT_KEYS[section]}
    root = Path(pointsman_workers.__file__).parent
    found = []
    for path in root.rglob("*.py"):
        for made in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(made, ast.FunctionDef) or made.name != "__init__":
                continue
            reads = [n for n in ast.walk(made) if isinstance(n, ast.Attribute)]
            found += [f"{path.name}: {read.attr}" for read in reads if read.attr in keys]
    assert [read for read in found if read.partition(":")[0] not in TOLD] == []


def session_refused(r: Running, **init: Any) -> str:
    """Ask for one more session; the code of its refusal."""
    connection = r.h.dial(Role.SESSION)
    r.h.receive(connection, SessionInit(**init))
    assert not r.h.take(connection, SessionInitAck)
    return str(r.h.one(connection, Error).error.code)
