"""Whose turn it is: shares of tenants by weight, of workers by turn, of priorities, and of age."""

from random import Random

import pytest
from waiting.saturated import SaturatedHost, by_tenant, by_worker
from worker_harness import SECOND_NS, Host, WorkerHarness

from pointsman_shm.config import Config, ListedTenant, TenantConfig, TenantsConfig
from pointsman_shm.memory.waiting import WaitingWords
from pointsman_wire.lane_messages import NodeResult
from pointsman_wire.link import LoopWasLate, Received
from pointsman_wire.session_messages import Result, Submit
from pointsman_workers.core.turns.waiting import OLDEST_TURN


def weighted(**weights: float) -> Config:
    listed = tuple(ListedTenant(name=name, weight=weight) for name, weight in weights.items())
    return Config(tenants=TenantsConfig(listed=listed))


def assert_shares(served: dict[str, int], **weights: float) -> None:
    """Within 10 % of what the weights say."""
    total = sum(served.values())
    for name, weight in weights.items():
        fair = total * weight / sum(weights.values())
        assert served[name] == pytest.approx(fair, rel=0.1), served


def test_one_worker_shares_by_weight_whoever_asks_more() -> None:
    host = SaturatedHost(weighted(small=1, large=3), workers=1, nodes=2, slots=2)
    host.crowd(0, "small", depth=400)
    host.crowd(0, "large", depth=20)
    assert_shares(by_tenant(host.run(800)), small=1, large=3)


def test_tenants_that_nobody_has_listed_share_alike() -> None:
    host = SaturatedHost(Config(), workers=1, nodes=1, slots=3)
    for name, depth in (("a", 10), ("b", 100), ("c", 30)):
        host.crowd(0, name, depth=depth)
    assert_shares(by_tenant(host.run(600)), a=1, b=1, c=1)


@pytest.mark.parametrize("workers", [2, 3])
def test_saturation_is_shared_between_workers_and_by_the_weight_of_tenants(workers: int) -> None:
    """4.3: the same over all workers of a host, within 10 %."""
    weights = {"small": 1, "middle": 2, "large": 3}
    host = SaturatedHost(weighted(**weights), workers=workers, nodes=4, slots=2)
    for index in range(workers):
        for name in weights:
            host.crowd(index, name, depth=30)
    served = host.run(900)
    assert_shares(by_tenant(served), **weights)
    shares = by_worker(served)
    for index in range(workers):
        assert shares[index] == pytest.approx(900 / workers, rel=0.1), shares


def test_a_tenant_at_two_workers_gets_no_more_than_one_that_is_at_one() -> None:
    host = SaturatedHost(weighted(here=1, both=1), workers=2, nodes=3, slots=2)
    host.crowd(0, "both")
    host.crowd(1, "both")
    host.crowd(1, "here")
    assert_shares(by_tenant(host.run(1_000)), here=1, both=1)


def test_without_rings_the_worker_that_frees_takes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: what the test above would find if nobody offered."""
    monkeypatch.setattr(WaitingWords, "worker_mask", lambda words, worker: 0)
    host = SaturatedHost(Config(), workers=2, nodes=3, slots=2)
    host.crowd(0, "a")
    host.crowd(1, "a")
    host.hears = False
    shares = by_worker(host.run(600))
    assert max(shares.values()) > 3 * (600 - max(shares.values())), shares


@pytest.mark.parametrize("seed", range(3))
def test_shares_hold_for_any_weights_depths_and_workers(seed: int) -> None:
    random = Random(seed)
    weights = {f"t{number}": random.choice([0.5, 1, 2, 5]) for number in range(4)}
    host = SaturatedHost(weighted(**weights), workers=2, nodes=5, slots=random.randint(1, 3))
    for name in weights:
        host.crowd(0, name, depth=random.randint(20, 60))
        if random.random() < 0.5:
            host.crowd(1, name, depth=random.randint(20, 60))
    assert_shares(by_tenant(host.run(1_200)), **weights)


def test_who_had_nothing_waiting_saves_up_no_turns() -> None:
    host = SaturatedHost(weighted(early=1, late=1), workers=1, nodes=1, slots=2)
    host.crowd(0, "early")
    host.run(400)
    host.crowd(0, "late")
    assert_shares(by_tenant(host.run(200)), early=1, late=1)


def test_a_worker_that_dies_takes_no_share_with_it() -> None:
    host = SaturatedHost(weighted(a=1, b=1), workers=2, nodes=2, slots=2)
    for index in range(2):
        host.crowd(index, "a")
        host.crowd(index, "b")
    host.run(300)
    host.replace(1)
    served = host.run(300)
    assert set(by_worker(served)) == {0}
    assert_shares(by_tenant(served), a=1, b=1)


def order_with_old_bulk(host: SaturatedHost) -> list[str]:
    """Let four bulk jobs wait before a crowd that goes first; return the order of placing."""
    bulk = host.session(0, "")
    for number in range(4):
        bulk.submit(f"bulk-{number}", priority="bulk", wait_busy_s=3_600.0)
    for index in range(2):
        host.crowd(index, "", depth=30, priority="interactive")
    host.run(5 * OLDEST_TURN + 4)
    return [request for _, request in host.order]


def test_t24_old_jobs_are_not_starved_by_new_ones_of_any_priority() -> None:
    """One turn of sixteen goes to the job that has waited longest."""
    host = SaturatedHost(Config(), workers=2, nodes=1, slots=1)
    order = order_with_old_bulk(host)
    placed = [request for request in order if request.startswith("bulk")]
    assert placed == [f"bulk-{number}" for number in range(4)], "oldest first"
    places = [order.index(request) for request in placed]
    assert places[3] > 2 * OLDEST_TURN, "and no sooner: priorities count"


def test_t24_a_worker_that_once_stood_still_does_not_pass_for_the_one_whose_jobs_are_oldest() -> (
    None
):
    host = SaturatedHost(Config(), workers=2, nodes=1, slots=1)
    host.pass_time(60 * SECOND_NS)
    host.workers[1].feed(LoopWasLate(50 * SECOND_NS))
    placed = [request for request in order_with_old_bulk(host) if request.startswith("bulk")]
    assert placed == [f"bulk-{number}" for number in range(4)]


def test_i5_jobs_of_one_session_leave_in_the_order_of_acceptance() -> None:
    host = SaturatedHost(Config(), workers=2, nodes=2, slots=1)
    host.crowd(0, "a")
    host.crowd(1, "a")
    host.crowd(1, "b")
    host.run(400)
    sessions: dict[tuple[int, str], list[int]] = {}
    for worker, request in host.order:
        tenant, _, number = request.partition("-")
        sessions.setdefault((worker, tenant), []).append(int(number))
    assert len(sessions) == 3
    for numbers in sessions.values():
        assert len(numbers) > 50
        assert numbers == sorted(numbers)


def test_a_newcomer_does_not_get_what_was_freed_in_the_same_read() -> None:
    host = Host(Config())
    host.node(3)
    host.publish(1_000_000_000)
    worker = WorkerHarness(host)
    worker.feed()
    node = worker.open_lane(3)
    first, second = worker.open_session(tenant="a"), worker.open_session(tenant="b")
    first.submit("runs")
    running = node.assignment()
    first.submit("waits", src_lang="en", tgt_lang="es")
    result = NodeResult(number=1, job_id=running.job_id, epoch=1, dispatch=running.dispatch)
    newcomer = Submit(request_id="new", services=["nmt"], src_lang="en", tgt_lang="es")
    worker.feed(
        Received(node.connection, [(result, b"")]), Received(second.connection, [(newcomer, b"")])
    )
    assert [job.request_id for job in node.assignments()] == ["waits"]
    assert first.one(Result).request_id == "runs"


def test_a_tenant_gets_no_higher_priority_than_it_may_have() -> None:
    config = Config(
        tenants=TenantsConfig(
            others=TenantConfig(priority_max="default"),
            listed=(ListedTenant(name="ours", priority_max="system"),),
        )
    )
    host = Host(config)
    host.node(3)
    host.publish(1_000_000_000)
    worker = WorkerHarness(host)
    worker.feed()
    node = worker.open_lane(3)
    theirs, ours = worker.open_session(tenant="theirs"), worker.open_session(tenant="ours")
    theirs.submit("r-0")
    running = node.assignment()
    theirs.submit("asks-for-more", priority="system")
    ours.submit("interactive", priority="interactive")
    ours.submit("system", priority="system")
    got = []
    for _ in range(3):
        node.end(running)
        running = node.assignment()
        got.append((running.request_id, running.priority))
    assert got == [
        ("system", "system"),
        ("interactive", "interactive"),
        ("asks-for-more", "default"),
    ]
