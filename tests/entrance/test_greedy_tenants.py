"""A2, A5: a tenant that wants a hundred times what it may have, beside one that keeps to it."""

from collections.abc import Iterator
from heapq import heappop, heappush
from itertools import count

import pytest
from entrance.tokens_at_hand import ACME, RIVAL, strict_worker
from worker_harness import SECOND_NS, Client, Node, WorkerHarness

from pointsman_shm.config import TenantConfig, TenantsConfig
from pointsman_wire.lane_messages import Assign
from pointsman_wire.messages import Error
from pointsman_wire.session_messages import JobAccepted, Result

MILLISECOND_NS = 1_000_000
SLOTS = 8
RUN_NS = 25 * MILLISECOND_NS
NO_LIMIT = TenantsConfig(with_tokens=TenantConfig())


class Fleet:
    """One worker and its node on virtual time; each job runs as long as every other."""

    def __init__(self, tenants: TenantsConfig) -> None:
        self.worker: WorkerHarness = strict_worker(slots=SLOTS, tenants=tenants)
        self.node: Node = self.worker.open_lane(3)
        self._running: list[tuple[int, int, Assign]] = []
        self._order = count()

    def until(self, now_ns: int) -> None:
        """Let jobs end, and others take their slots, up to an instant."""
        self._start()
        while self._running and self._running[0][0] <= now_ns:
            ends_at_ns, _, job = heappop(self._running)
            self._advance_to(ends_at_ns)
            self.node.end(job)
            self._start()
        self._advance_to(now_ns)

    def _advance_to(self, now_ns: int) -> None:
        self.worker.advance(max(0, now_ns - self.worker.now_ns) / SECOND_NS)

    def _start(self) -> None:
        for job in self.node.assignments():
            entry = (self.worker.now_ns + RUN_NS, next(self._order), job)
            heappush(self._running, entry)


def quantile_ms(
    tenants: TenantsConfig, *, greedy_per_s: int, greedy_token: str = RIVAL
) -> tuple[float, int, int]:
    """Return the p99 of a modest tenant's jobs in ms; what the greedy got, and was refused."""
    fleet = Fleet(tenants)
    modest = fleet.worker.open_session("s-1", token=ACME)
    greedy = fleet.worker.open_session("s-2", token=greedy_token)
    asked: dict[str, int] = {}
    took: list[int] = []
    for now_ns, who, name in arrivals(greedy_per_s):
        fleet.until(SECOND_NS + now_ns)
        client = modest if who == "modest" else greedy
        if client is modest:
            asked[name] = fleet.worker.now_ns
        client.submit(name, wait_busy_s=3_600.0)
        told(modest, asked, took, fleet.worker.now_ns)
    for _ in range(4_000):
        if not asked:
            break
        fleet.until(fleet.worker.now_ns + MILLISECOND_NS)
        told(modest, asked, took, fleet.worker.now_ns)
    assert not asked
    given = sum(len(accepted.jobs) for accepted in greedy.all(JobAccepted))
    refused = greedy.all(Error)
    assert all(error.error.retry_after_ms for error in refused)
    return sorted(took)[len(took) * 99 // 100] / MILLISECOND_NS, given, len(refused)


def arrivals(greedy_per_s: int) -> Iterator[tuple[int, str, str]]:
    """One second: the modest one every 20 ms, the greedy one in a stream between."""
    every_ns = SECOND_NS // greedy_per_s if greedy_per_s else 0
    for number in range(50):
        at_ns = number * 20 * MILLISECOND_NS
        yield at_ns, "modest", f"m-{number}"
        for step in range(20 * MILLISECOND_NS // every_ns if every_ns else 0):
            yield at_ns + step * every_ns, "greedy", f"g-{number}-{step}"


def told(client: Client, asked: dict[str, int], took: list[int], now_ns: int) -> None:
    """Note the results that have come."""
    for result in client.all(Result):
        took.append(now_ns - asked.pop(result.request_id))


@pytest.fixture(scope="module")
def alone_ms() -> float:
    return quantile_ms(TenantsConfig(), greedy_per_s=0)[0]


def test_a5_a_tenant_at_a_hundred_times_its_rate_hardly_moves_the_others(alone_ms: float) -> None:
    p99_ms, given, refused = quantile_ms(TenantsConfig(), greedy_per_s=10_000)
    assert p99_ms <= 1.2 * alone_ms, f"{p99_ms:.1f} ms instead of {alone_ms:.1f} ms"
    assert given <= 200 + 100 + 1, "its burst, and its rate for a second"
    assert refused == 10_000 - given


def test_a5_without_a_rate_its_turns_keep_it_from_being_felt(alone_ms: float) -> None:
    p99_ms, given, refused = quantile_ms(NO_LIMIT, greedy_per_s=1_000)
    assert p99_ms <= 1.2 * alone_ms
    assert (given, refused) == (1_000, 0)


def test_the_same_load_of_one_and_the_same_tenant_would_be_felt(alone_ms: float) -> None:
    """So the two tests above can fail."""
    p99_ms, _, _ = quantile_ms(NO_LIMIT, greedy_per_s=1_000, greedy_token=ACME)
    assert p99_ms > 2 * alone_ms
