"""Weather: three instances over one Redis, the same few requests everywhere, and random trouble.

After each run the sky clears, and then every client that was promised a result has it.
"""

from collections import defaultdict
from random import Random

import pytest
from fleet_harness import LEASE_S, SESSION, Fleet, Member, count
from worker_harness import Client, Node

from pointsman_shm.memory.stats_names import Counter
from pointsman_wire.lane_messages import Assign
from pointsman_wire.messages import Message
from pointsman_wire.session_messages import JobAccepted, Result

NAMES = ("a", "b", "c")
REQUESTS = [f"r-{number}" for number in range(6)]
STEPS = 60


class Weather:
    """One run."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.is_deadly = seed % 2 == 1
        self.fleet = Fleet(*NAMES)
        self.nodes: dict[str, Node] = {}
        self.clients: dict[str, Client] = {}
        self.running: list[tuple[str, Node, Assign]] = []
        # Of each request: the job ids under which it started, and what clients were told.
        self.started: dict[str, set[str]] = defaultdict(set)
        self.told: dict[str, set[bytes]] = defaultdict(set)
        self.promised: dict[Client, set[str]] = defaultdict(set)
        self.given: dict[Client, set[str]] = defaultdict(set)
        for name in NAMES:
            self.join(name)

    def join(self, name: str) -> None:
        """The node and the client of an instance dial in."""
        member = self.fleet[name]
        self.nodes[name], self.clients[name] = member.open_lane(3), member.open_session(SESSION)

    def member(self) -> Member:
        """Any instance."""
        return self.fleet[self.random.choice(NAMES)]

    def step(self) -> None:
        """One thing happens."""
        acts = [self.submit] * 6 + [self.end] * 4 + [self.pass_time] * 4
        acts += [self.cut, self.mend, self.deafen, self.flush, self.jump]
        if self.is_deadly:
            acts.append(self.kill)
        self.random.choice(acts)()
        self.look()

    def submit(self) -> None:
        """A client asks, anywhere."""
        name = self.random.choice(NAMES)
        self.clients[name].submit(self.random.choice(REQUESTS), timeout_s=3600.0)

    def end(self) -> None:
        """A node has done its job."""
        if self.running:
            name, node, job = self.running.pop(self.random.randrange(len(self.running)))
            if self.nodes[name] is node:
                node.end(job, f"by {name}, dispatch {job.dispatch}".encode())

    def pass_time(self) -> None:
        """A moment, or more than a lease."""
        self.advance(self.random.choice([0.3, 2.0, 6.0, LEASE_S + 5]))

    def advance(self, seconds: float) -> None:
        """Let time pass; nodes acknowledge what they get soon enough."""
        while seconds > 0:
            self.fleet.advance(min(1.0, seconds))
            seconds -= 1.0
            self.look()

    def cut(self) -> None:
        """An instance does not reach Redis, nor the others."""
        self.member().is_cut = True

    def deafen(self) -> None:
        """An instance gets no answers."""
        self.member().is_deaf = True

    def mend(self) -> None:
        """All is well for everybody."""
        for member in self.fleet.living():
            member.is_cut = member.is_deaf = False

    def kill(self) -> None:
        """A worker dies, with what it had in memory, and is replaced; its node starts anew."""
        name = self.random.choice(NAMES)
        self.fleet.restart(name)
        self.running = [entry for entry in self.running if entry[0] != name]
        self.promised.pop(self.clients[name], None)
        self.join(name)

    def flush(self) -> None:
        """Redis forgets, while all instances are there to publish what they have."""
        self.mend()
        self.advance(3.0)
        self.fleet.model.flush()
        self.advance(5.0)

    def jump(self) -> None:
        """The clock of Redis jumps ahead by a lease."""
        self.fleet.clock_jump_ms += int(LEASE_S * 1000)

    def look(self) -> None:
        """Note what came where, and compare."""
        for name, node in self.nodes.items():
            for job in node.assignments():
                node.acknowledge(job.number)
                self.running.append((name, node, job))
                self.started[job.request_id].add(job.job_id)
        for name, client in self.clients.items():
            for message, payload in self.fleet[name].sent.pop(client.connection, []):
                self.hear(client, message, payload)

    def hear(self, client: Client, message: Message, payload: bytes) -> None:
        """A client is told something."""
        if isinstance(message, JobAccepted):
            self.promised[client] |= {job.request_id for job in message.jobs}
        elif isinstance(message, Result):
            self.given[client].add(message.request_id)
            if message.status == "completed":
                self.told[message.request_id].add(payload)

    def clear(self) -> None:
        """No more trouble: everything comes to its end."""
        self.mend()
        for _ in range(12):
            self.advance(10.0)
            while self.running:
                self.end()
                self.look()


@pytest.mark.parametrize("seed", range(8))
def test_in_any_weather_one_request_is_one_job_and_every_promise_is_kept(seed: int) -> None:
    """I1, I2, T26: job ids that started, results that clients got, and nobody left waiting.

    Memory alone holds the jobs here, so a worker that dies loses its own (every other seed).  But
    for that, and for what was reported as double, all clients of a request are told the same.
    """
    weather = Weather(seed)
    for _ in range(STEPS):
        weather.step()
    weather.clear()
    deaths = weather.is_deadly
    doubles = sum(count(member, Counter.JOBS_DUPLICATE) for member in weather.fleet.living())
    for request_id, job_ids in weather.started.items():
        assert len(job_ids) == 1 or deaths, (seed, request_id, job_ids)
    for request_id, told in weather.told.items():
        assert len(told) <= 1 or deaths or doubles, (seed, request_id, told)
    for client, promised in weather.promised.items():
        assert promised <= weather.given[client], (seed, promised - weather.given[client])
    for member in weather.fleet.living():
        sharing = member.core._sharing
        assert sharing is not None
        assert (sharing.binding.pending_count, sharing.ending.untold_count) == (0, 0)
        assert sharing.leases.doubt_count == len(sharing.unknown) == 0
