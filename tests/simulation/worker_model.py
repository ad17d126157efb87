"""One worker with its journal, two nodes and a client, driven by hand, and what must hold always.

    Machine     a cell of nodes as they really are: what each runs, and which results it keeps
    Cell        the worker, its successors, and the reference: what the client was promised

What a node sends back names the dispatch that made it, so that a result tells which attempt counts.
"""

import msgspec
from worker_harness import SECOND_NS, Client, Host, Node, WorkerHarness

from pointsman_shm.config import Config
from pointsman_shm.memory.rows import NodeState
from pointsman_wire.lane_messages import (
    Assign,
    CancelJob,
    JobFence,
    LaneReport,
    NodeResult,
    NodeResultAck,
)
from pointsman_wire.session_messages import JobAccepted, Result, ResultAck
from pointsman_workers.core.events import JournalState, JournalSynced, WriteJournal
from pointsman_workers.core.lifecycle import FIRST_TERMINAL
from pointsman_workers.core.state import Job
from pointsman_workers.journal.replay import Fold, FoundEntry

ROWS, SLOTS, SESSION = (3, 4), 2, "s-1"
MIB = 1 << 20
_decode = msgspec.msgpack.Decoder(list[FoundEntry]).decode
Place = tuple[str, int, int]  # job, epoch, dispatch


class Machine:
    """One node."""

    def __init__(self, row: int) -> None:
        self.row = row
        self.lane: Node | None = None
        self.running: dict[Place, JobFence] = {}
        self.held: dict[Place, tuple[JobFence, str]] = {}
        self.numbers: list[Place] = []  # of results, as they were sent on this lane

    def join(self, worker: WorkerHarness) -> None:
        """Open a lane, report, and tell again every result that is not acknowledged."""
        held = [fence for fence, _ in self.held.values()]
        report = LaneReport(running=[*self.running.values()], held=held)
        self.lane = worker.open_lane(self.row, report=report)
        self.numbers = []
        for place in [*self.held]:
            self._tell(place)

    def leave(self) -> None:
        """The lane breaks."""
        if self.lane is not None:
            self.lane.hang_up()
        self.lane = None

    def end(self, place: Place, status: str) -> None:
        """What it runs ends."""
        self.held[place] = (self.running.pop(place), status)
        if self.lane is not None:
            self._tell(place)

    def _tell(self, place: Place) -> None:
        assert self.lane is not None
        self.numbers.append(place)
        fence, status = self.held[place]
        code = "INTERNAL_ERROR" if status == "failed" else ""
        result = NodeResult(
            number=len(self.numbers),
            job_id=fence.job_id,
            epoch=fence.epoch,
            dispatch=fence.dispatch,
            status=status,  # type: ignore[arg-type]  # drawn by its name
            code=code,
        )
        output = b"" if code else f"{place}".encode()
        self.lane.harness.receive(self.lane.connection, result, output)

    def read(self, epoch: int) -> None:
        """Read what has arrived, in order: start, stop, forget.  I4 holds at every start."""
        if self.lane is None:
            return
        worker, connection = self.lane.harness, self.lane.connection
        for message, _ in worker.sent.pop(connection, []):
            if isinstance(message, Assign):
                job_id = message.job_id
                fence = JobFence(job_id, epoch, message.dispatch, "", SESSION, message.request_id)
                self.running[job_id, epoch, message.dispatch] = fence
                assert len(self.running) <= SLOTS, f"I4: {self.row} runs {self.running}"
                self.lane.acknowledge(message.number)
            elif isinstance(message, CancelJob):
                place = (message.job_id, message.epoch, message.dispatch)
                if place in self.running:
                    self.end(place, "cancelled")
            elif isinstance(message, NodeResultAck):
                self._forget(message)

    def _forget(self, message: NodeResultAck) -> None:
        kept = {self.numbers[number - 1] for number in message.withheld}
        for place in self.numbers[: message.number]:
            if place not in kept:
                self.held.pop(place, None)


class Promise(msgspec.Struct):
    """What the client knows of a request's job."""

    job_id: str
    level: str
    result: Result | None = None
    is_doubtful: bool = False  # at level memory, and its worker was killed


class Cell:
    """The whole of it."""

    def __init__(self) -> None:
        self.host = Host(Config())
        for row in ROWS:
            self.host.node(row, slots=SLOTS)
        self.journal: list[list[object]] = []
        self.machines = {row: Machine(row) for row in ROWS}
        self.promises: dict[str, Promise] = {}
        self.newest: dict[str, tuple[int, int]] = {}  # job -> epoch, dispatch
        self.read_number = 0
        self._begin(SECOND_NS)
        self.client: Client = self.worker.open_session(SESSION)
        for machine in self.machines.values():
            machine.join(self.worker)

    # ---- lives

    def _begin(self, now_ns: int) -> None:
        fold = Fold(200_000)
        for life, commands in enumerate(self.journal, start=1):
            for write in (c for c in commands if isinstance(c, WriteJournal)):
                fold.absorb(life, _decode(msgspec.msgpack.encode(write.entries)))
        recovered = fold.recovered(is_same_boot=True, lost_records=0)
        life = len(self.journal) + 1
        there = JournalState(segment=life, room_bytes=64 * MIB, held_bytes=16 * MIB, oldest=1)
        self.host.publish(now_ns)
        self.worker = WorkerHarness(
            self.host, epoch=life, now_ns=now_ns, journal=there, recovered=recovered
        )
        self.journal.append(self.worker.commands)
        self.seen = 0  # commands that were looked at
        self.arrivals: dict[str, int] = {}  # level -> the last that left the queue
        self.ends: dict[str, tuple[Job, int]] = {}
        self.worker.feed()

    def kill(self) -> None:
        """kill -9; the successor has the journal and nothing else."""
        for machine in self.machines.values():
            machine.lane = None
        for promise in self.promises.values():
            promise.is_doubtful |= promise.level == "memory"
        self._begin(self.worker.now_ns + SECOND_NS // 2)
        self.reconnect()

    def reconnect(self) -> None:
        """The client comes back with its token, and names what it waits for."""
        if self.client.harness is self.worker:
            self.client.hang_up()
        waits = [name for name, promise in self.promises.items() if promise.result is None]
        self.client = self.worker.open_session(
            SESSION,
            resume_token=self.client.ack.resume_token,
            last_result=self.read_number,
            unfinished=waits,
        )

    def sync(self) -> None:
        """The disk has everything."""
        writes = [c for c in self.worker.commands if isinstance(c, WriteJournal) and c.must_sync]
        if writes:
            self.worker.feed(JournalSynced(writes[-1].number))

    def tick(self, seconds: float) -> None:
        """Time passes, and the manager publishes."""
        self.worker.advance(seconds)
        self.host.publish(self.worker.now_ns)

    # ---- what the client hears

    def acknowledge(self) -> None:
        """The client has read everything."""
        number = self.client.ack.session_number
        message = ResultAck(results=[(number, self.read_number)])
        self.worker.receive(self.client.connection, message)

    def hear(self) -> None:
        """Take in what the client was sent: I2, I3 and I11 as it sees them."""
        for message, payload in self.worker.sent.pop(self.client.connection, []):
            if isinstance(message, JobAccepted):
                for job in message.jobs:
                    self._accepted(job.request_id, job.job_id, job.durability)
            elif isinstance(message, Result):
                self.read_number = max(self.read_number, message.number)
                self._ended(message, payload)

    def _accepted(self, name: str, job_id: str, level: str) -> None:
        known = self.promises.get(name)
        if known is None or known.job_id == job_id:
            self.promises.setdefault(name, Promise(job_id, level))
            return
        end = known.result
        is_void = end is not None and end.attempt == 0 and end.status in ("expired", "failed")
        assert is_void or known.is_doubtful, f"I2: {name} is {known} and {job_id}"
        self.promises[name] = Promise(job_id, level)

    def _ended(self, result: Result, payload: bytes) -> None:
        promise = self.promises.get(result.request_id)
        if promise is None or promise.job_id != result.job_id:
            promise = self.promises[result.request_id] = Promise(result.job_id, "journal")
        if promise.result is not None and not promise.is_doubtful:
            assert promise.result.status == result.status, f"I11: {promise.result} and {result}"
        promise.result = result
        if result.status == "completed":
            place = (result.job_id, *self.newest[result.job_id])
            assert payload == f"{place}".encode(), f"I3: {payload!r} is not of {place}"

    # ---- what must hold

    def judge(self) -> None:
        """Hold everything against the promises."""
        self._judge_dispatches()
        self.hear()
        self._judge_ledger()
        self._judge_ends()

    def _judge_dispatches(self) -> None:
        shard, epoch = self.worker.core.shard, self.worker.epoch
        commands = self.worker.commands[self.seen :]
        self.seen = len(self.worker.commands)
        for command in commands:
            message = getattr(command, "message", None)
            if not isinstance(message, Assign):
                continue
            fence = (epoch, message.dispatch)
            assert fence > self.newest.get(message.job_id, (0, 0)), f"I3: {message}"
            self.newest[message.job_id] = fence
            job = shard.window.find(("", SESSION, message.request_id))
            if message.attempt == 1 and job is not None and job.job_id == message.job_id:
                last = self.arrivals.get(job.durability, 0)
                assert job.arrival > last, f"I5: {message.request_id} was overtaken"
                self.arrivals[job.durability] = job.arrival

    def _judge_ledger(self) -> None:
        shard = self.worker.core.shard
        for row in ROWS:
            lane = shard.lanes.get(row)
            holds = lane.holds.values() if lane is not None else ()
            have = sum(hold.has_slot for hold in holds)
            counted = self.worker.held(row)
            if shard.is_settled:
                assert counted == have, f"I10: {counted} slots of {row} counted, {have} held"
            live = [hold.job_id for hold in holds if hold.job is not None]
            assert len(live) == len(set(live)), f"I3: {live} at {row}"
        assert not shard.fleet.own.underflow_count, "I10: released what was not held"

    def _judge_ends(self) -> None:
        for name in self.promises:
            job = self.worker.core.shard.window.find(("", SESSION, name))
            if job is not None and job.state >= FIRST_TERMINAL:
                _, state = self.ends.setdefault(job.job_id, (job, job.state))
            for job, state in self.ends.values():
                assert job.state == state, f"I11: {job.job_id} ended and is {job.state.name}"

    def come_to_rest(self) -> None:
        """Heal all; then everything ends by itself: I1, I10."""
        for row in ROWS:
            self.host.stand(row, state=NodeState.READY)
        shard = self.worker.core.shard
        for _ in range(80):
            for machine in self.machines.values():
                if machine.lane is None or machine.lane.connection in self.worker.closed:
                    machine.join(self.worker)
                machine.read(self.worker.epoch)
                for place in [*machine.running]:
                    machine.end(place, "completed")
            self.tick(1.0)
            self.sync()
            self.judge()
        holds = [hold for lane in shard.lanes.values() for hold in lane.holds.values()]
        assert not holds, f"I10: {holds}"
        assert not any(self.worker.held(row) for row in ROWS), "I10: slots are held for ever"
        assert not shard.open_job_count, f"I1: {shard.open_job_count} jobs never end"
        for name, promise in self.promises.items():
            is_over = promise.result is not None or promise.is_doubtful
            assert is_over, f"I1: {name} was accepted and never ended: {promise}"
