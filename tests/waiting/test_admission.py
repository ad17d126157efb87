"""What is refused before it is accepted: rates, quotas, and the bounds of the queue, each at it."""

from collections.abc import Callable
from typing import Any

import pytest
from worker_harness import SECOND_NS, Client, Host, Node, WorkerHarness

from pointsman_shm.config import Config, LimitsConfig, ListedTenant, TenantConfig, TenantsConfig
from pointsman_shm.config_load import ConfigError, parse_config
from pointsman_shm.memory.waiting import WaitingWords
from pointsman_wire.messages import Error, ErrorInfo
from pointsman_wire.session_messages import Cancel, JobAccepted
from pointsman_workers.core.turns import tenants as tenants_module
from pointsman_workers.core.turns.names import NamedCounts
from pointsman_workers.core.turns.tenants import Tenants


class Door:
    """Workers of one host with a single slot, and what they answer to submits."""

    def __init__(self, config: Config, *, workers: int = 1) -> None:
        self.host = Host(config, worker_count=workers)
        self.host.node(0, slots=1)
        self.host.publish(SECOND_NS)
        self.workers = [WorkerHarness(self.host, worker_index=index) for index in range(workers)]
        self.nodes: list[Node] = []
        for worker in self.workers:
            worker.feed()
            self.nodes.append(worker.open_lane(0))
        self._count = 0

    def client(self, tenant: str = "", worker: int = 0) -> Client:
        return self.workers[worker].open_session(tenant=tenant)

    def submit(self, client: Client, **fields: Any) -> ErrorInfo | None:
        """Submit one more job; why it was refused, None if it was accepted."""
        self._count += 1
        client.submit(f"r-{self._count}", **fields)
        errors = client.all(Error)
        assert len(client.all(JobAccepted)) + len(errors) == 1
        return errors[0].error if errors else None

    def accepted(self, client: Client, count: int, **fields: Any) -> int:
        """Submit so many; how many were accepted."""
        return sum(self.submit(client, **fields) is None for _ in range(count))

    def pass_time(self, seconds: float) -> None:
        for worker in self.workers:
            worker.advance(seconds)


def listed(**limits: Any) -> Config:
    tenant = ListedTenant(name="acme", **limits)
    return Config(tenants=TenantsConfig(listed=(tenant,)))


def unlisted(**limits: Any) -> Config:
    return Config(tenants=TenantsConfig(others=TenantConfig(**limits)))


whether_listed = pytest.mark.parametrize("config", [listed, unlisted])


# ---- rates


def test_a2_a_tenant_over_its_rate_is_refused_until_its_bucket_has_a_job_again() -> None:
    door = Door(listed(jobs_per_s=10, burst=3))
    acme, other = door.client("acme"), door.client("other")
    assert door.accepted(acme, 3) == 3
    error = door.submit(acme)
    assert error is not None
    assert (error.code, error.retryable) == ("RATE_LIMITED", True)
    assert "acme" in error.message
    assert error.retry_after_ms is not None
    assert 100 <= error.retry_after_ms <= 121, "a tenth of a second, and up to a fifth more"
    assert door.accepted(other, 20) == 20, "others are not concerned"
    door.pass_time(error.retry_after_ms / 1_000)
    assert door.accepted(acme, 2) == 1


def test_a2_the_rate_of_a_listed_tenant_holds_over_all_workers() -> None:
    door = Door(listed(jobs_per_s=10, burst=4), workers=2)
    clients = [door.client("acme", worker) for worker in (0, 1)]
    for client in clients:
        door.submit(client)
    assert sum(door.accepted(client, 5) for client in clients) == 2


def test_i13_those_who_are_refused_together_are_not_asked_back_together() -> None:
    door = Door(listed(jobs_per_s=1, burst=1))
    client = door.client("acme")
    assert door.submit(client) is None
    refused = [error for _ in range(50) if (error := door.submit(client)) is not None]
    waits = [error.retry_after_ms or 0 for error in refused]
    assert len(waits) == 50
    assert min(waits) >= 1_000
    assert max(waits) <= 1_201, "a second, and up to a fifth more"
    assert len({*waits}) > 25


def test_a_repeated_request_is_answered_whatever_the_rate() -> None:
    door = Door(listed(jobs_per_s=1, burst=1))
    acme = door.client("acme")
    acme.submit("same")
    acme.all(JobAccepted)
    for _ in range(5):
        acme.submit("same")
        assert acme.one(JobAccepted).jobs[0].duplicate


def test_the_burst_is_two_seconds_of_the_rate_if_nothing_is_said() -> None:
    """A2."""
    door = Door(listed(jobs_per_s=5))
    assert door.accepted(door.client("acme"), 20) == 10


def test_t16_a_million_names_cost_no_more_than_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Buckets are bounded; who is listed, or was there before, is not concerned."""
    monkeypatch.setattr(tenants_module, "BUCKETS_MAX", 100)
    monkeypatch.setattr(tenants_module, "NAMES_MAX", 100)
    words = WaitingWords(bytearray(WaitingWords.size(1)), worker_count=1, create=True)
    config = TenantsConfig(
        others=TenantConfig(jobs_per_s=1, burst=2),
        listed=(ListedTenant(name="acme", jobs_per_s=1, burst=2),),
    )
    own = words.own(0)
    tenants = Tenants(config, words, own, 0, NamedCounts(words, own, 0, b"key"))

    def is_admitted(name: str) -> bool:
        return tenants.over_rate(name, tenants.rules(name), SECOND_NS) is None

    assert is_admitted("early")
    admitted = sum(is_admitted(f"hostile-{number}") for number in range(100_000))
    assert admitted == 98 + 2, "each bucket's first, then one bucket for all the others"
    assert is_admitted("early")
    assert [is_admitted("acme") for _ in range(3)] == [True, True, False]
    assert len(tenants._buckets) <= 100
    assert len(tenants._at_hand) <= 1 + 100


def test_a2_the_rate_of_a_tenant_that_is_not_listed_holds_over_all_workers() -> None:
    """Each worker adds a part of a burst when it first hears of the tenant, and no rate."""
    door = Door(unlisted(jobs_per_s=10, burst=8), workers=4)
    clients = [door.client("acme", worker) for worker in range(4)]
    at_once = [door.accepted(client, 8) for client in clients]
    assert at_once == [8, 2, 2, 2]
    door.pass_time(1.0)
    assert sum(door.accepted(client, 8) for client in clients) <= 10
    stranger = [door.client("other", worker) for worker in range(2)]
    assert door.accepted(stranger[0], 9) == 8, "what others had is not theirs"


def test_a_worker_that_has_died_holds_nothing_of_a_tenants_limit_when_it_is_back() -> None:
    door = Door(unlisted(jobs_max=3), workers=2)
    assert door.accepted(door.client("acme", 0), 3) == 3
    there = door.client("acme", 1)
    assert door.accepted(there, 1) == 0
    WorkerHarness(door.host, worker_index=0, epoch=2).feed()
    assert door.accepted(there, 1) == 1


# ---- quotas


@whether_listed
def test_a_tenant_has_no_more_open_jobs_than_it_may_over_all_workers(
    config: Callable[..., Config],
) -> None:
    """A2."""
    door = Door(config(jobs_max=3), workers=2)
    here, there = door.client("acme", 0), door.client("acme", 1)
    assert door.accepted(here, 2) == 2
    assert door.accepted(there, 3) == 1
    error = door.submit(here)
    assert error is not None
    assert (error.code, error.retry_after_ms is not None) == ("RATE_LIMITED", True)
    door.workers[0].receive(here.connection, Cancel(request_id="r-2"))
    assert door.accepted(there, 2) == 1


@whether_listed
def test_a_tenants_waiting_bytes_are_bounded_over_all_workers(
    config: Callable[..., Config],
) -> None:
    """A2."""
    door = Door(config(queued_bytes_max=4_096), workers=2)
    here, there = door.client("acme", 0), door.client("acme", 1)
    assert door.accepted(here, 3, payload=b"x" * 1_500) == 3, "one runs, two wait"
    error = door.submit(there, payload=b"x" * 1_500)
    assert error is not None
    assert (error.code, "acme" in error.message) == ("QUEUE_FULL", True)
    assert door.submit(there, payload=b"x" * 1_000) is None


# ---- the queue


@pytest.mark.parametrize(
    ("limits", "word"),
    [
        (
            {"queued_per_tenant_max": 5},
            "name no tenant wait at this worker: limits.queued_per_t",
        ),
        ({"queued_per_shard_max": 5}, "at this worker: limits.queued_per_shard_max"),
        ({"queued_per_host_max": 5}, "on this host"),
        ({"queued_bytes_max": 5 * 1_024}, "bytes"),
    ],
)
def test_a_full_queue_refuses_before_acceptance_and_says_which_bound(
    limits: dict[str, int], word: str
) -> None:
    """I9."""
    door = Door(Config(limits=LimitsConfig(**limits)))
    client = door.client()
    assert door.accepted(client, 6, payload=b"x" * 1_024) == 6, "one runs, five wait"
    error = door.submit(client, payload=b"x" * 1_024)
    assert error is not None
    assert (error.code, error.retryable) == ("QUEUE_FULL", True)
    assert word in error.message
    assert error.retry_after_ms is not None
    node = door.nodes[0]
    node.end(node.assignment())
    assert door.submit(client, payload=b"x" * 1_024) is None, "one has left the queue"


def test_the_host_bound_counts_what_waits_at_other_workers() -> None:
    """I9."""
    door = Door(Config(limits=LimitsConfig(queued_per_host_max=6)), workers=2)
    assert door.accepted(door.client(worker=0), 4) == 4, "one runs, three wait"
    assert door.accepted(door.client(worker=1), 9) == 3


def test_a_full_queue_does_not_refuse_what_need_not_wait() -> None:
    door = Door(Config(limits=LimitsConfig(queued_per_shard_max=2)))
    client = door.client()
    assert door.accepted(client, 9) == 3
    node = door.nodes[0]
    door.host.node(1, slots=1)
    door.host.publish(door.workers[0].now_ns)
    assert node.assignments()
    door.workers[0].open_lane(1)
    door.pass_time(0.1)
    assert door.workers[0].core.shard.waiting.count == 1


def test_retry_after_follows_the_pace_at_which_the_queue_drains() -> None:
    door = Door(Config(limits=LimitsConfig(queued_per_shard_max=100)))
    client = door.client()
    door.accepted(client, 101, wait_busy_s=600.0)
    node, (job,) = door.nodes[0], door.nodes[0].assignments()
    for _ in range(40):  # ten a second, for four seconds
        door.pass_time(0.1)
        node.end(job)
        (job,) = node.assignments()
        door.submit(client, wait_busy_s=600.0)
    door.accepted(client, 5, wait_busy_s=600.0)
    error = door.submit(client)
    assert error is not None
    assert error.retry_after_ms is not None
    assert 800 <= error.retry_after_ms <= 2_000, "a tenth of 100 jobs, at ten a second"


# ---- the words of the file


def test_tenants_are_read_from_the_file() -> None:
    config = parse_config(
        """
        [[tenants.listed]]
        name = "acme"
        weight = 3
        priority_max = "system"
        jobs_per_s = 100
        burst = 200
        [tenants.others]
        priority_max = "default"
        """,
        "here.toml",
    )
    (acme,) = config.tenants.listed
    assert (acme.name, acme.weight, acme.priority_max) == ("acme", 3.0, "system")
    assert (acme.jobs_per_s, acme.burst, acme.jobs_max) == (100.0, 200, None)
    assert config.tenants.others.priority_max == "default"
    assert Config().tenants.others == TenantConfig(weight=1.0, priority_max="interactive")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[[tenants.listed]]\nname = "a"\nwieght = 2', "did you mean"),
        ('[[tenants.listed]]\nname = "a"\nweight = 0', "tenants.listed[0].weight"),
        ('[[tenants.listed]]\nname = "a"\n[[tenants.listed]]\nname = "a"', "is there twice"),
        ("[[tenants.listed]]\nweight = 2", "name"),
        ("[tenants.others]\nburst = 2", "jobs_per_s"),
        ('[tenants.others]\npriority_max = "highest"', "priority_max"),
    ],
)
def test_what_is_wrong_with_tenants_is_said(text: str, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_config(text, "here.toml")
    assert words in str(error.value)
