"""A saturated host by hand: a few workers, one pool of slots, tenants that always have more work.

Jobs take a fixed time on virtual time; rings between workers arrive in the next step, or never.
"""

from collections import Counter, deque
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Any

from worker_harness import SECOND_NS, Client, Host, Node, WorkerHarness

from pointsman_shm.config import Config
from pointsman_wire.lane_messages import Assign
from pointsman_workers.core.events import BellRang, RingWorker

JOB_NS = 20_000_000


class Crowd:
    """Clients of one tenant at one worker that keep so many jobs waiting."""

    def __init__(self, client: Client, tenant: str, depth: int, **fields: Any) -> None:
        self.client = client
        self.tenant = tenant
        self.depth = depth
        self.fields: dict[str, Any] = {"wait_busy_s": 3_600.0, **fields}
        self.submitted = 0
        self.served = 0

    def keep_up(self) -> None:
        """Submit until so many are open."""
        while self.submitted - self.served < self.depth:
            self.submitted += 1
            self.client.submit(f"{self.tenant}-{self.submitted}", **self.fields)


class SaturatedHost:
    """Workers that share nodes, each slot of which is always wanted."""

    def __init__(self, config: Config, *, workers: int, nodes: int, slots: int) -> None:
        self.host = Host(config, worker_count=workers)
        for row in range(nodes):
            self.host.node(row, slots=slots)
        self.host.publish(SECOND_NS)
        self.workers = [WorkerHarness(self.host, worker_index=index) for index in range(workers)]
        self.lanes: list[list[Node]] = []
        for worker in self.workers:
            worker.feed()
            self.lanes.append([worker.open_lane(row) for row in range(nodes)])
        self.crowds: list[Crowd] = []
        self.now_ns = SECOND_NS
        self.hears = True  # False: rings are lost
        self.served: Counter[tuple[int, str]] = Counter()
        self.order: list[tuple[int, str]] = []  # (worker, request id) as they were placed
        self._running: list[tuple[int, int, Node, Assign]] = []
        self._number = count()
        self._seen = [0] * workers

    def crowd(self, worker: int, tenant: str, depth: int = 50, **fields: Any) -> Crowd:
        """Clients of a tenant at a worker."""
        client = self.session(worker, tenant)
        found = Crowd(client, tenant, depth, **fields)
        self.crowds.append(found)
        return found

    def session(self, worker: int, tenant: str) -> Client:
        """One session of a tenant that belongs to this worker."""
        return self.workers[worker].open_session(tenant=tenant)

    def settle(self) -> None:
        """Let jobs run that were assigned, and rings be heard, until nothing moves."""
        rings: deque[tuple[int, RingWorker]] = deque(maxlen=10_000)
        moved = True
        while moved:
            moved = self._start_assigned()
            for index, worker in enumerate(self.workers):
                new, self._seen[index] = worker.commands[self._seen[index] :], len(worker.commands)
                rings.extend((index, ring) for ring in new if isinstance(ring, RingWorker))
                worker.sent.clear()  # nobody reads what else was sent
            while rings:
                index, ring = rings.popleft()
                if self.hears:
                    moved = True
                    self.workers[ring.worker_index].feed(BellRang(index, ring.class_number))

    def _start_assigned(self) -> bool:
        moved = False
        for index, lanes in enumerate(self.lanes):
            got = [(job.dispatch, lane, job) for lane in lanes for job in lane.assignments()]
            for _, lane, job in sorted(got, key=lambda one: one[0]):
                moved = True
                lane.acknowledge(job.number)
                self.served[index, job.tenant] += 1
                self.order.append((index, job.request_id))
                end_ns = self.now_ns + JOB_NS + next(self._number) % 7 * 1_000_000
                heappush(self._running, (end_ns, next(self._number), lane, job))
        return moved

    def run(self, jobs: int) -> Counter[tuple[int, str]]:
        """Go on until so many jobs have been placed; how many of each (worker, tenant)."""
        before = self.served.copy()
        wanted = self.served.total() + jobs
        while self.served.total() < wanted:
            for crowd in self.crowds:
                crowd.keep_up()
            self.settle()
            end_ns, _, lane, job = heappop(self._running)
            self.pass_time(end_ns)
            lane.end(job)
            for crowd in self.crowds:
                crowd.served += crowd.client.harness is lane.harness and crowd.tenant == job.tenant
        return self.served - before

    def replace(self, index: int) -> None:
        """A worker dies with all its jobs, and another takes over its shard."""
        dead = self.workers[index]
        self.crowds = [crowd for crowd in self.crowds if crowd.client.harness is not dead]
        self._running = [one for one in self._running if one[2].harness is not dead]
        heapify(self._running)
        rows = range(len(self.lanes[index]))
        worker = WorkerHarness(self.host, worker_index=index, epoch=2, now_ns=self.now_ns)
        worker.feed()
        self.workers[index], self._seen[index] = worker, 0
        self.lanes[index] = [worker.open_lane(row) for row in rows]

    def pass_time(self, to_ns: int) -> None:
        """Let time pass at all workers; they look when they want to."""
        self.now_ns = max(self.now_ns, to_ns)
        for worker in self.workers:
            worker.advance((self.now_ns - worker.now_ns) / SECOND_NS)
        for worker in self.workers:
            worker.now_ns = self.now_ns


def by_tenant(served: Counter[tuple[int, str]]) -> Counter[str]:
    """Sum over the workers."""
    found: Counter[str] = Counter()
    for (_, tenant), jobs in served.items():
        found[tenant] += jobs
    return found


def by_worker(served: Counter[tuple[int, str]]) -> Counter[int]:
    """Sum over the tenants."""
    found: Counter[int] = Counter()
    for (worker, _), jobs in served.items():
        found[worker] += jobs
    return found
