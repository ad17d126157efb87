"""A worker core in a small fleet, for stories: who got the job, and what the client was told."""

from collections import Counter
from typing import Any

from fleet_samples import speech_class
from msgspec.structs import replace
from worker_harness import SECOND_NS, Client, Host, Node, WorkerHarness

from pointsman_shm.config import Config, PoolsConfig
from pointsman_shm.snapshot.records import CapabilityClass
from pointsman_wire.lane_messages import Assign
from pointsman_wire.messages import Error, ErrorInfo
from pointsman_wire.session_messages import JobAccepted, Result

EN_ES = speech_class("en", "es")
Placed = tuple[int, Assign]


def labelled(**labels: str) -> CapabilityClass:
    """A class for en and es with these labels."""
    return replace(EN_ES, labels=tuple(sorted(labels.items())))


class Yard:
    """One worker; nodes by row, each with its lane up."""

    def __init__(self, pools: PoolsConfig | None = None, *, max_nodes: int = 64) -> None:
        self.host = Host(Config(pools=pools or PoolsConfig()), max_nodes=max_nodes)
        self.harness = WorkerHarness(self.host)
        self.nodes: dict[int, Node] = {}
        self.client: Client | None = None
        self._count = 0

    def add(self, *capabilities: CapabilityClass, slots: int = 1) -> None:
        """Nodes join, in the next free rows."""
        first = len(self.host.records)
        rows = range(first, first + len(capabilities))
        for row, capability in zip(rows, capabilities, strict=True):
            self.host.node(row, capability, slots=slots)
        self.publish()
        for row in rows:
            self.nodes[row] = self.harness.open_lane(row)

    def publish(self) -> None:
        """The manager publishes, and the worker sees it."""
        self.host.publish(self.harness.now_ns)
        self.harness.feed()

    def advance(self, seconds: float) -> None:
        """Time passes, and the manager lives."""
        self.host.writer.beat(self.harness.now_ns)
        self.harness.advance(seconds)
        self.host.writer.beat(self.harness.now_ns)

    def submit(self, client: Client | None = None, **fields: Any) -> None:
        """Submit one job, by default of the one session of this yard."""
        self._count += 1
        (client or self.own_client()).submit(f"r-{self._count}", **fields)

    def own_client(self) -> Client:
        """The one session of this yard."""
        if self.client is None:
            self.client = self.harness.open_session()
        return self.client

    def place(self, client: Client | None = None, **fields: Any) -> Placed:
        """Submit a job that is placed at once; the row that got it, and the job."""
        self.submit(client, **fields)
        (placed,) = self.placed()
        return placed

    def placed(self) -> list[Placed]:
        """What nodes got since the last look; they say that they have it."""
        found = [(row, job) for row, node in self.nodes.items() for job in node.assignments()]
        for row, job in found:
            self.nodes[row].acknowledge(job.number)
        return found

    def run(self, client: Client | None = None, **fields: object) -> int:
        """Submit a job and end it; the row that did it."""
        row, job = self.place(client, **fields)
        self.nodes[row].end(job)
        return row

    def rows(self, count: int, **fields: Any) -> Counter[int]:
        """Submit several jobs that stay; how many each row got."""
        return Counter(self.place(**fields)[0] for _ in range(count))

    def refuse(self, client: Client | None = None, **fields: Any) -> ErrorInfo:
        """Submit a job that does not wait; why nobody took it."""
        client = client or self.own_client()
        client.all(JobAccepted)
        self.submit(client, wait_busy_s=0.0, wait_none_s=0.0, **fields)
        assert not client.all(JobAccepted)
        return client.one(Error).error

    def results(self) -> list[Result]:
        """What the client got since the last look."""
        return self.own_client().all(Result)


def seconds(number: float) -> int:
    """Nanoseconds."""
    return int(number * SECOND_NS)
