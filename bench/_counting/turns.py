"""The turns of one worker with its driver, connections and journal, and no sockets: for callgrind.

    python -m _counting.turns DEPTH=JOBS...

Ten nodes, each of which can do every job, and a trunk, as in `roundtrip.py`, are played by this
very process, outside of what is counted.  As in a service that has run for a while, for each job
that ends an old one is forgotten.  Everything of the worker runs inside `operator.call`, at which
callgrind begins and ends to collect, and `operator.length_hint` stands where it writes down what it
has collected.  Time is virtual, a fixed step for each look at the clock, so that each run does the
same.
"""

import asyncio
import gc
import sys
from collections.abc import Callable
from itertools import count
from operator import call, length_hint
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import msgspec
from _shared.dispatch import FIRST_LANE, TRUNK, Dispatch

from pointsman_shm.config import JobsConfig, JournalConfig, LimitsConfig
from pointsman_shm.memory.ledger import OwnLedger
from pointsman_wire.framing import FrameDecoder, HeaderDecoder, encode_frame
from pointsman_wire.lane_messages import Assign, AssignAck, LaneToNode, LaneToWorker, NodeResult
from pointsman_wire.limits import FRAME_BYTES_MAX
from pointsman_wire.link import Accepted, Connection
from pointsman_wire.messages import Message
from pointsman_wire.preamble import Preamble, Role
from pointsman_wire.session_messages import Result, ResultAck, Submit, ToClient, ToWorker
from pointsman_wire.sockets import driver as drivers
from pointsman_wire.sockets.connections import FrameConnection
from pointsman_wire.sockets.hosting import State
from pointsman_wire.sockets.reading import MessageReader
from pointsman_workers.core.setup import WorkerSetup
from pointsman_workers.journal.judging import JournalOwner
from pointsman_workers.journal.segment_files import JournalPlace
from pointsman_workers.journal.store import JournalStore
from pointsman_workers.shell.bounds import connection_limits
from pointsman_workers.shell.pulse import scheduling_observer
from pointsman_workers.shell.settling_in import settle_garbage_collector

NODES = 10
SLOTS = 256
CLOCK_STEP_NS = 20_000
BEAT_NS = 100_000_000
WARM_JOBS = 300
WINDOW_JOBS = 1_024
ALIKE = (("en", "es"),)
PAYLOAD = bytes(200)


class Wire(asyncio.Transport):
    """Stands for a socket: keeps what was written, and counts the writes."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytearray] = []
        self.write_count = 0

    def write(self, data: Any) -> None:
        """Take what a connection flushes; its own `send` would be one call of the system."""
        self.written.append(data)

    def pause_reading(self) -> None:
        """A connection has told its share of a turn."""

    def resume_reading(self) -> None:
        """It may tell more."""

    def is_closing(self) -> bool:
        """Nobody hangs up here."""
        return False

    def take(self) -> bytes:
        """Return all that was written since the last time."""
        written, self.written = self.written, []
        self.write_count += len(written)
        return b"".join(written)


class StillLoop:
    """The loop of a driver whose turns come when they are called for; its timers are real."""

    def __init__(self) -> None:
        self.call_later = asyncio.get_running_loop().call_later

    def call_soon(self, turn: object) -> None:
        """It comes when it is called for."""


def turned_by_hand(driver: drivers.Driver) -> drivers.Driver:
    """Take a driver off its loop."""
    driver._loop = cast(asyncio.AbstractEventLoop, StillLoop())
    return driver


class Journalled(Dispatch):
    """A worker with a journal, alone on its host."""

    jobs = JobsConfig(window_jobs_max=WINDOW_JOBS)

    def __init__(self, store: JournalStore) -> None:
        self._store = store
        super().__init__(NODES, worker_count=1, slots=SLOTS, languages=ALIKE)

    def _setup(self, worker_index: int, own_ledger: OwnLedger) -> WorkerSetup:
        setup = super()._setup(worker_index, own_ledger)
        return msgspec.structs.replace(setup, journal=self._store.state())

    def beat(self, now_ns: int) -> None:
        """The manager is alive."""
        self._writer.beat(now_ns)


class Peer:
    """The other end of one connection."""

    def __init__(self, driver: drivers.Driver, number: Connection, role: Role, sent: Any) -> None:
        self.wire = Wire()
        received = ToWorker if role is Role.TRUNK else LaneToWorker
        opening = Accepted(number, Preamble(role, 0))
        limits = connection_limits(LimitsConfig())
        connection = FrameConnection(driver, opening, MessageReader(received), limits)
        connection._transport = self.wire
        connection._state = State.OPEN
        connection._is_stranger = connection._is_careful = False
        connection._decoder.frame_bytes_max = FRAME_BYTES_MAX
        driver._connections[number] = connection
        self.hear = connection.data_received
        self._decode = HeaderDecoder[Message](sent).decode
        self._feed = FrameDecoder(FRAME_BYTES_MAX).feed

    def read(self) -> list[tuple[Message, bytes]]:
        """Return the frames that the worker has sent."""
        return [(self._decode(header), body) for header, body in self._feed(self.wire.take())]


class Turns:
    """The worker, its peers, and the jobs in flight."""

    def __init__(self, store: JournalStore, world: Journalled) -> None:
        self._world = world
        clock = count(world.now_ns, CLOCK_STEP_NS).__next__
        drivers.__dict__["monotonic_ns"] = clock
        world.stopwatch = clock
        self._clock = clock
        self._beat_at_ns = 0
        self._store = store
        self.driver = turned_by_hand(drivers.Driver(world.core, unions={}, execute=self._execute))
        stats = world.core.shard.setup.memory.stats
        turns_ns: list[int] = []  # told with the beats of a worker's pulse
        self.driver.observe_turn = turns_ns.append
        self.driver.observe_wait = scheduling_observer(stats, world.core.shard)
        self._trunk = Peer(self.driver, TRUNK, Role.TRUNK, ToClient)
        self._lanes = [
            Peer(self.driver, Connection(FIRST_LANE + row), Role.LANE, LaneToNode)
            for row in range(NODES)
        ]
        self._last_request = 0
        self._last_results = [0] * NODES
        self.turn_count = 0

    def _execute(self, command: Any) -> None:
        if hasattr(command, "entries"):
            self._store.write(command)

    @property
    def write_count(self) -> int:
        """How often the worker wrote to a socket."""
        return sum(peer.wire.write_count for peer in (self._trunk, *self._lanes))

    def _turn(self) -> None:
        now_ns = self._clock()
        if now_ns >= self._beat_at_ns:
            self._beat_at_ns = now_ns + BEAT_NS
            self._world.beat(now_ns)
        call(self.driver._turn)
        self.turn_count += 1

    def _submits(self, job_count: int) -> bytes:
        frames = []
        for _ in range(job_count):
            self._last_request += 1
            submit = Submit(
                request_id=f"r-{self._last_request:08}",
                services=["nmt"],
                src_lang="en",
                tgt_lang="es",
            )
            frames.append(encode_frame(submit, PAYLOAD))
        return b"".join(frames)

    def _answers(self, row: int) -> bytes:
        frames = []
        jobs = [(job, body) for job, body in self._lanes[row].read() if type(job) is Assign]
        if jobs:
            frames.append(encode_frame(AssignAck(number=jobs[-1][0].number)))
        for job, body in jobs:
            self._last_results[row] += 1
            result = NodeResult(
                number=self._last_results[row],
                job_id=job.job_id,
                epoch=1,
                dispatch=job.dispatch,
                duration_us=1,
            )
            frames.append(encode_frame(result, body))
        return b"".join(frames)

    def round(self, depth: int) -> None:
        """So many jobs at once: submitted in one read, answered by each node in one, read."""
        results = [m for m, _ in self._trunk.read() if type(m) is Result]
        acknowledged = b""
        if results:
            acknowledged = encode_frame(ResultAck(results=[(0, results[-1].number)]))
        call(self._trunk.hear, self._submits(depth) + acknowledged)
        self._turn()
        for row, lane in enumerate(self._lanes):
            if answers := self._answers(row):
                call(lane.hear, answers)
        self._turn()


def alone(store: JournalStore) -> Turns:
    """A worker without others."""
    return Turns(store, Journalled(store))


async def play(wanted: dict[int, int], make: Callable[[JournalStore], Turns]) -> None:
    """Play so many jobs at each depth, and say how many writes and turns there were for them."""
    with TemporaryDirectory() as directory:
        place = JournalPlace(
            directory=Path(directory) / "journal",
            owner=JournalOwner(("ab" * 16,), 0, 1, 1),
            epoch=1,
            config=JournalConfig(),
            ended_max=100,
        )
        store, _ = JournalStore.open(place)
        turns = make(store)
        store.start(turns.driver.post, _failed)
        settle_garbage_collector()
        await _jobs(turns, 64, WINDOW_JOBS)
        for depth, job_count in wanted.items():
            await _jobs(turns, depth, WARM_JOBS)
            length_hint(())
            before = turns.write_count, turns.turn_count
            await _jobs(turns, depth, job_count)
            length_hint(())
            print(turns.write_count - before[0], turns.turn_count - before[1])
        gc.disable()
        store.close()


async def _jobs(turns: Turns, depth: int, job_count: int) -> None:
    for _ in range(0, job_count, depth):
        turns.round(depth)
        await asyncio.sleep(0)  # the journal's next segment is allocated beside


def _failed(error: Exception) -> None:
    raise SystemExit(str(error))


if __name__ == "__main__":
    pairs = [word.partition("=") for word in sys.argv[1:]]
    asyncio.run(play({int(depth): int(jobs) for depth, _, jobs in pairs}, alone))
