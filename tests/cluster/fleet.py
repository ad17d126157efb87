"""A fleet of a run: one Redis, instances that share it, nodes, travellers, and what they recorded.

Everything is started here, lives in one folder, and is ended here.
"""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Sequence
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, monotonic_ns
from typing import Any

import msgspec
from cluster.instances import Instance, Shared, free_port, write_key, write_password
from cluster.networks import Network, networks, options_to_reach
from cluster.travellers import Traveller, Trip
from cluster.views import LOOK_AGAIN_S, PATIENCE_S, holds_no_slot, shows_ready
from faults.proxy import Proxy
from redis_yard.fleets import wait_until
from redis_yard.page_keys import unlike_the_page
from redis_yard.rights import acl_line
from redis_yard.server import RedisServer, running

from pointsman import Job, Node
from pointsman.recording.facts import Fact
from pointsman.recording.history_file import HistoryFile
from pointsman_sim.chaos.processes import Spot
from pointsman_sim.checker.judging import Judgement, judge
from pointsman_sim.checker.recording import load
from pointsman_sim.checker.verdicts import Limits
from pointsman_wire.session_messages import Durability

END_S = 20.0
COMPLAINTS_MAX = 10


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a fleet consists of; nodes by the number of their home, e.g. (0, 0, 1)."""

    program: str  # the Redis server
    instances: int = 2
    workers: int = 1  # of each instance
    homes: tuple[int, ...] = (0, 0)
    slots: int = 2
    travellers: int = 4
    starts_at: tuple[int, ...] = (0, 1)  # where travellers are at first, in turn
    at_a_time: int = 2
    job_s: float = 0.1
    durability: Durability = "journal"
    policy: str = "fail_closed"
    redis_options: tuple[str, ...] = ("appendonly yes", "appendfsync always")
    is_apart: bool = False  # each instance in a network of its own, which needs root


class Fleet:
    """What stands; `judged` ends the story."""

    def __init__(
        self, plan: Plan, directory: Path, redis: RedisServer, apart: Sequence[Network] = ()
    ) -> None:
        self.plan = plan
        self.directory = directory
        self.redis = redis
        self.redis_options = tuple(redis.options)
        self.networks = apart
        self.replica: RedisServer | None = None
        self.servers = [redis]
        self.ways: list[Proxy] = []
        self.instances: list[Instance] = []
        self.nodes: list[Node] = []
        self.travellers: list[Traveller] = []
        self._shared = Shared(
            key_file=write_key(directory),
            password_file=write_password(directory),
            policy=plan.policy,
            workers=plan.workers,
        )
        self._ports = [free_port() for _ in range(plan.instances)]
        self._running: list[asyncio.Task[None]] = []
        self._file = HistoryFile(directory / "nemesis.jsonl")
        self._faults = self._replicas = 0
        self._is_over = asyncio.Event()
        self._journeys: list[asyncio.Task[None]] = []

    @property
    def lease_s(self) -> float:
        """Return how long a silent owner keeps its jobs."""
        return self._shared.lease_s

    # ---- starting

    async def open_ways(self) -> None:
        """Give each instance a way of its own to Redis, which weather and cuts may befall.

        Not in networks of their own, which have links instead.
        """
        for number in range(0 if self.networks else self.plan.instances):
            way = Proxy(self.redis.port, number)
            await way.open()
            self.ways.append(way)

    def lead_to(self, server: RedisServer) -> None:
        """Have all ways lead there from now on; what leads elsewhere is cut."""
        for way in self.ways:
            way.lead_to(server.port)
            way.cut()

    def start_replica(self) -> None:
        """Start a server that follows, and wait until it has heard everything."""
        self._replicas += 1
        folder = self.directory / f"redis-{self._replicas}"
        folder.mkdir()
        follows = [*self.redis_options, f"replicaof 127.0.0.1 {self.redis.port}"]
        self.replica = RedisServer(self.plan.program, folder, follows)
        self.servers.append(self.replica.start())
        info = self.replica.command
        wait_until(lambda: b"master_link_status:up" in info("INFO"), "the replica follows")

    async def start_instance(self, number: int) -> Instance:
        """Start it, where it was before if it was there, and wait until it is ready."""
        name = "abcdef"[number]
        made = Instance(name, self.directory / name, *self._spot(number), self._shared)
        self.instances[number : number + 1] = [made]
        await asyncio.to_thread(made.wait_ready)
        return made

    def _spot(self, number: int) -> tuple[Spot, str]:
        """Return where an instance listens, and the url by which it comes to Redis."""
        port = self._ports[number]
        if not self.networks:
            return Spot(port=port), f"redis://{self.ways[number].address}"
        front, back = self.networks[number]
        spot = Spot(port=port, host=front.address, before=front.command())
        return spot, f"redis://{back.host_address}:{self.redis.port}"

    def start_node(self, number: int, home: int) -> Node:
        """Start a node that turns payloads round, at its home."""
        name = f"node-{number}"
        node = Node(
            self.instances[home].address,
            node_id=name,
            services=["nmt"],
            nmt=[("en", "es")],
            max_concurrency=self.plan.slots,
            state_dir=self.directory / name,
            history=self.directory / f"{name}.jsonl",
            report_load=False,
            drain_s=5.0,
        )
        node.handler(turn_round)
        self.nodes.append(node)
        self._running.append(asyncio.create_task(node.run()))
        return node

    def traveller(self, session_id: str, at: int) -> Traveller:
        """Have one more client, at this instance first."""
        trip = Trip(
            addresses=tuple(instance.address for instance in self.instances),
            history=self.directory / f"client-{session_id}.jsonl",
            job_s=self.plan.job_s,
            durability=self.plan.durability,
        )
        made = Traveller(session_id, trip, at)
        self.travellers.append(made)
        return made

    async def rise(self) -> None:
        """Start everything, and wait until every instance knows every node as ready."""
        self.note("instances", number=self.plan.instances)
        await self.open_ways()
        await asyncio.gather(*(self.start_instance(n) for n in range(self.plan.instances)))
        for number, home in enumerate(self.plan.homes):
            self.start_node(number, home)
        await self.all_know_all()

    def end_on_signals(self) -> None:
        """A signal ends the run in order; nodes, which drain on signals, are a part of it here."""
        this = asyncio.current_task()
        assert this is not None
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, this.cancel)

    def set_out(self) -> None:
        """Have all travellers work from now on."""
        for number in range(self.plan.travellers):
            at = self.plan.starts_at[number % len(self.plan.starts_at)]
            traveller = self.traveller(f"s-{number}", at)
            work = traveller.work(self._is_over, self.plan.at_a_time)
            self._journeys.append(asyncio.create_task(work))

    # ---- looking

    @property
    def ended_count(self) -> int:
        """How many jobs have come back."""
        return sum(len(traveller.results) for traveller in self.travellers)

    async def becomes(self, is_so: Any, what: str, patience_s: float = PATIENCE_S) -> None:
        """Wait until it is so.  A traveller that fails fails the run."""
        until_s = monotonic() + patience_s
        while not is_so():
            for journey in self._journeys:
                if journey.done() and not self._is_over.is_set():
                    journey.result()
            assert monotonic() < until_s, f"not within {patience_s:g} s: {what}"
            await asyncio.sleep(LOOK_AGAIN_S)

    async def ends_more(self, count: int, patience_s: float = PATIENCE_S) -> None:
        """Wait until so many more jobs have come back."""
        before = self.ended_count
        await self.becomes(
            lambda: self.ended_count >= before + count, f"{count} more jobs", patience_s
        )

    async def goes_on_without(self, number: int) -> None:
        """Wait until every traveller at another instance got more, if there are nodes for it."""
        if set(self.plan.homes) == {number}:
            return
        away = self.instances[number].address
        before = {t: len(t.results) for t in self.travellers if t.address != away and t.open_ids}
        await self.becomes(
            lambda: all(len(t.results) >= count + 2 for t, count in before.items()),
            "who is at another instance gets more results",
        )

    @property
    def open_jobs(self) -> list[tuple[Traveller, str]]:
        """What travellers wait for now."""
        return [(t, request_id) for t in self.travellers for request_id in t.open_ids]

    async def come_back(self, jobs: Sequence[tuple[Traveller, str]]) -> None:
        """Wait until these jobs have come back."""
        await self.becomes(
            lambda: not any(request_id in t.open_ids for t, request_id in jobs),
            f"{len(jobs)} jobs that were open come back",
        )

    async def all_know_all(self, numbers: Sequence[int] | None = None) -> None:
        """Wait until these instances (or all) show all nodes as ready, at their workers too."""
        wanted = {node.node_id for node in self.nodes}
        processes = ("manager", *(f"worker-{number}" for number in range(self.plan.workers)))
        for number in range(len(self.instances)) if numbers is None else numbers:
            for process in processes:
                await shows_ready(self.instances[number], wanted, process)

    async def holds_nothing(self) -> None:
        """I10: wait until no slot is held anywhere; keys in Redis are, and live, as documented."""
        for instance in self.instances:
            if instance.is_alive:
                await holds_no_slot(instance)
        unlike = [*islice(unlike_the_page(self.redis), COMPLAINTS_MAX)]
        assert not unlike, unlike

    # ---- harm

    def fault(self, status: str, victim: str, level: str = "memory") -> int:
        """Write down that harm is done; the number heals it."""
        self._faults += 1
        self.note("fault", number=self._faults, status=status, node=victim, level=level)
        return self._faults

    def healed(self, number: int) -> None:
        """Write down that it is over, and that it was there."""
        self.note("proof", number=number, words="seen")
        self.note("healed", number=number)

    def note(self, what: str, **more: Any) -> None:
        """Write a fact of this program."""
        fact = Fact(at_ns=monotonic_ns(), by="nemesis", who="nemesis", what=what, **more)
        self._file.write([fact])

    async def kill(self, number: int) -> int:
        """Kill an instance whole, and have its travellers go on; return the fault's number."""
        instance = self.instances[number]
        fault = self.fault("kill-instance", instance.nickname)
        await asyncio.to_thread(instance.kill_whole)
        for traveller in self.travellers:
            traveller.leave(instance.address)
        return fault

    async def end_in_order(self, number: int) -> int:
        """Stop an instance as an operator does, and have its travellers go on."""
        instance = self.instances[number]
        fault = self.fault("end-instance", instance.nickname)
        status = await asyncio.to_thread(instance.end, END_S)
        assert status == 0, [*instance.lines][-8:]
        for traveller in self.travellers:
            traveller.leave(instance.address)
        return fault

    # ---- ending

    async def rest(self) -> None:
        """Ask for nothing more, and wait until every job that was asked for has come back."""
        self._is_over.set()
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*self._journeys)
        for traveller in self.travellers:
            await traveller.close()
        await self.holds_nothing()
        self.note("rest")

    def judged(self) -> Judgement:
        """Hold what all have recorded against every promise."""
        return judge(load(sorted(self.directory.glob("*.jsonl"))), Limits())

    async def close(self) -> None:
        """End everything."""
        for task in (*self._journeys, *self._running):
            task.cancel()
        await asyncio.gather(*self._journeys, *self._running, return_exceptions=True)
        for traveller in self.travellers:
            await traveller.close()
        for instance in self.instances:
            instance.go_on() if instance.is_alive else None
        ends = (asyncio.to_thread(instance.end, END_S) for instance in self.instances)
        await asyncio.gather(*ends)
        for instance in self.instances:
            instance.clear_away()
        for way in self.ways:
            await way.close()
        for server in self.servers:
            server.stop()
        self._file.close()


async def turn_round(job: Job) -> bytes:
    """Take as long as the job says, and answer with its payload turned round."""
    await asyncio.sleep(job.meta.get("sleep_s", 0.0))
    return job.payload[::-1]


@contextlib.asynccontextmanager
async def fleet(plan: Plan) -> AsyncIterator[Fleet]:
    """A fleet that stands, and is gone afterwards."""
    with (
        TemporaryDirectory(prefix="pm-") as name,
        networks(plan.instances if plan.is_apart else 0) as apart,
    ):
        directory = Path(name)
        options = [*plan.redis_options, acl_line(), *options_to_reach(apart)]
        with running(plan.program, directory / "redis", options) as server:
            made = Fleet(plan, directory, server, apart)
            try:
                await made.rise()
                made.end_on_signals()
                yield made
            finally:
                await made.close()
