"""A large fleet without its processes: a console of its own over shared memory that is fed.

The console is the real process; what managers and workers would write is written here, and its
connections come from here as they would from a worker.
"""

import asyncio
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import combinations
from random import Random
from time import monotonic_ns

import msgspec
from fleet_samples import speech_class
from host_pages import HostPages
from supervised_service import Place, wait_until

from pointsman_sched.manager.segments import ManagerSegments
from pointsman_shm.config import Config
from pointsman_shm.memory.catalog_layout import CLASSES_PER_PAGE, CatalogLayout
from pointsman_shm.memory.rows import NodeState, RowFlag, pack_load, pack_standing
from pointsman_shm.memory.stats_names import Counter, Gauge, Timing
from pointsman_shm.paths import InstancePaths
from pointsman_shm.rules.pool_planner import PoolPlanner
from pointsman_shm.snapshot.codec import encode_classes
from pointsman_shm.snapshot.records import NodeRecord
from pointsman_wire.sockets.handover import HandoverSender

LANGUAGES = ("de", "en", "es", "fr", "it", "ja", "ko", "pl", "pt", "zh")
KINDS = [*combinations(LANGUAGES, 2), *combinations(LANGUAGES, 3)]
WORKERS = 2
SECOND_NS = 1_000_000_000


class FedFleet:
    """So many nodes in the segments of an instance; what they do is drawn from a seed."""

    def __init__(self, paths: InstancePaths, node_count: int) -> None:
        self.node_count = node_count
        self._random = Random(node_count)
        self._segments = ManagerSegments(paths, print)
        config = Config()
        self._max_nodes = config.nodes.max_nodes
        self.memory = self._segments.open(
            max_nodes=self._max_nodes, worker_count=WORKERS, crash=lambda _: None
        )
        self.classes = [speech_class(*kind) for kind in KINDS]
        self._planner = PoolPlanner(config.pools)
        self._config = config
        self.states = [NodeState.READY] * node_count
        self._records: dict[int, NodeRecord] = {}
        for row in range(node_count):
            self._join(row)
        self.publish()

    def _join(self, row: int) -> None:
        # A few kinds are frequent and many are rare, as people's machines are.
        number = int(self._random.paretovariate(0.6)) % len(KINDS)
        node_id = f"pc-{row + 1}"
        self._planner.add(node_id, number, self.classes[number], is_ready=True)
        self._records[row] = NodeRecord(
            row=row,
            generation=1,
            epoch=1,
            class_number=number,
            node_id=node_id,
            pools=(),
            slots_max=self._random.choice((1, 2, 2, 4, 8)),
        )
        draw = self._random.random()
        unusual = [NodeState.OFFLINE, NodeState.DRAINING, NodeState.DEGRADED, NodeState.SUSPECT]
        if self.node_count > 10 and draw < 0.04:
            self.states[row] = unusual[int(draw * 100)]

    def publish(self) -> None:
        """Publish the catalog."""
        records = {}
        for row, record in self._records.items():
            pools = self._planner.pools_of(record.node_id)
            records[row] = msgspec.structs.replace(record, pools=pools)
        pages = HostPages(self._config, self._planner, records, [], [])
        layout = CatalogLayout(self._max_nodes)
        encoded = pages.encode(layout)
        for first in range(0, len(self.classes), CLASSES_PER_PAGE):
            classes = self.classes[first : first + CLASSES_PER_PAGE]
            encoded[layout.class_page(first)] = encode_classes(first, classes)
        self.memory.catalog.publish(encoded, monotonic_ns())

    def move(self) -> None:
        """Let a second pass: everybody is heard, a tenth of the nodes begins or ends a job."""
        now_ns = monotonic_ns()
        memory, random = self.memory, self._random
        for row, record in self._records.items():
            state = self.states[row]
            flags = RowFlag.PUBLIC | (RowFlag.PAUSED if row % 61 == 60 else RowFlag(0))
            memory.rows.standing[row] = pack_standing(
                generation=1,
                class_number=record.class_number,
                state=state,
                flags=flags,
                slots_max=record.slots_max,
            )
            is_heard = state not in (NodeState.OFFLINE, NodeState.SUSPECT)
            beat_at_ns = now_ns if is_heard else now_ns - 30 * SECOND_NS
            memory.rows.heartbeat_at_ns[row] = beat_at_ns
            if state is NodeState.READY and random.random() < 0.1:
                held = random.randint(0, record.slots_max)
                memory.ledger.cells[row * memory.ledger.stride] = held
                memory.rows.load[row] = pack_load(
                    cpu=random.randint(5, 95),
                    gpu=255,
                    gpu_memory=255,
                    memory=random.randint(20, 80),
                    foreign=0,
                )
        self._beat(now_ns)

    def _beat(self, now_ns: int) -> None:
        memory = self.memory
        memory.catalog.beat(now_ns)
        memory.stats.beat(now_ns)
        for number, page in enumerate(memory.worker_stats):
            page.introduce(1_000 + number)
            page.beat(now_ns)
            page.gauge(Gauge.SESSIONS, self.node_count * 4)
            page.gauge(Gauge.QUEUE_LENGTH, self._random.randint(0, 9))
            page.gauge(Gauge.PRESSURE_PERCENT, 35)
            page.add(Counter.JOBS_COMPLETED, self.node_count // 4 + self._random.randint(0, 40))
            page.add(Counter.NO_AVAILABLE_NODE, self._random.randint(0, 3))
            page.observe(Timing.SCHEDULING, self._random.randint(60_000, 400_000), 20)

    def close(self) -> None:
        self._segments.close()


class FedConsole:
    """The console over a fed fleet, reached at a port of its own."""

    def __init__(self, fleet: FedFleet, pid: int, port: int) -> None:
        self.fleet = fleet
        self.pid = pid
        self.address = f"127.0.0.1:{port}"


@asynccontextmanager
async def fed_console(place: Place, node_count: int) -> AsyncIterator[FedConsole]:
    """Start one; the fleet moves once a second until it ends."""
    place.state_dir.mkdir(mode=0o700)
    place.runtime_dir.mkdir(mode=0o700)
    paths = InstancePaths(
        instance=place.instance, state_dir=place.state_dir, runtime_dir=place.runtime_dir
    )
    fleet = FedFleet(paths, node_count)
    fleet.move()
    words = ["--workers", str(WORKERS), "--instance", place.instance]
    words += ["--state-dir", str(place.state_dir), "--runtime-dir", str(place.runtime_dir)]
    process = subprocess.Popen([sys.executable, "-m", "pointsman_sched.console", *words])
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    sender = HandoverSender(paths.console_handover, ended=lambda _: None)
    tasks = [asyncio.create_task(_accept(listener, sender)), asyncio.create_task(_move(fleet))]
    try:
        await asyncio.to_thread(wait_until, paths.console_handover.exists, "the console")
        yield FedConsole(fleet, process.pid, listener.getsockname()[1])
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        sender.close()
        listener.close()
        process.terminate()
        process.wait(20)
        fleet.close()


async def _accept(listener: socket.socket, sender: HandoverSender) -> None:
    loop = asyncio.get_running_loop()
    while True:
        sock, _ = await loop.sock_accept(listener)
        loop.add_reader(sock, _give, sock, sender)


def _give(sock: socket.socket, sender: HandoverSender) -> None:
    """Hand over what has begun to ask, or left: the console looks at the first bytes at once."""
    asyncio.get_running_loop().remove_reader(sock)
    sender.give(sock)


async def _move(fleet: FedFleet) -> None:
    while True:
        await asyncio.sleep(1)
        fleet.move()
