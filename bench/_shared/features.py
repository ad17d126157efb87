"""One worker's whole turn, frames and journal included, with features switched on and off.

A turn takes what one read of the client's trunk and one of each lane brought, as bytes; its parts
are timed one by one, in CPU time of the thread.  Only the sockets are missing.
"""

import asyncio
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from time import thread_time_ns
from typing import Any

import msgspec

from _shared.dispatch import BEAT_NS, FIRST_LANE, SESSIONS, STEP_NS, TRUNK, Dispatch
from pointsman_shm.config import Config, JournalConfig
from pointsman_shm.memory.ledger import OwnLedger
from pointsman_wire.framing import FrameDecoder, encode_frame
from pointsman_wire.lane_messages import Assign, AssignAck, LaneToWorker, NodeResult
from pointsman_wire.limits import FRAME_BYTES_MAX
from pointsman_wire.link import Accepted, Connection, Received, Send
from pointsman_wire.messages import Message
from pointsman_wire.preamble import Preamble, Role
from pointsman_wire.session_messages import Order, Result, ResultAck, SessionInit, Submit, ToWorker
from pointsman_wire.sockets.reading import MessageReader
from pointsman_workers.core.events import WriteJournal
from pointsman_workers.core.setup import WorkerSetup
from pointsman_workers.journal.judging import JournalOwner
from pointsman_workers.journal.segment_files import JournalPlace
from pointsman_workers.journal.store import JournalStore

NODES = 10
SLOTS = 64
PAYLOAD = bytes(200)
STAGES = ("frames_in", "accept_and_choose", "results", "acknowledgements", "journal", "frames_out")

UNIONS: dict[Role, Any] = {Role.TRUNK: ToWorker, Role.LANE: LaneToWorker}

Frames = list[tuple[Message, bytes]]


class Feature(msgspec.Struct, frozen=True, kw_only=True):
    """A way to run the worker; the default is the product as installed."""

    name: str = ""
    order: Order = "free"
    submit: dict[str, Any] = {}
    change_config: Callable[[Config], Config] = lambda config: config
    has_journal: bool = True
    has_recorder: bool = True


class Host(Dispatch):
    """A fleet with one worker whose turns are timed."""

    def __init__(self, feature: Feature, directory: Path) -> None:
        self.feature = feature
        self._store: JournalStore | None = None
        self._directory = directory
        self._told: list[object] = []
        self.parts_ns = dict.fromkeys(STAGES, 0)
        self._readers = {role: MessageReader(union) for role, union in UNIONS.items()}
        self._requests = count(1)
        super().__init__(NODES, worker_count=1, slots=SLOTS)
        self.stopwatch = thread_time_ns
        if not feature.has_recorder:
            recorder: Any = self.core.shard.recorder
            recorder.note_placed = lambda *_: None

    def _setup(self, worker_index: int, own_ledger: OwnLedger) -> WorkerSetup:
        self._config = self.feature.change_config(self._config)
        setup = super()._setup(worker_index, own_ledger)
        if not self.feature.has_journal:
            return setup
        place = JournalPlace(
            directory=self._directory / "journal",
            owner=JournalOwner(("ab" * 16,), 0, 1, 1),
            epoch=1,
            config=JournalConfig(),
            ended_max=self._config.jobs.window_jobs_max,
        )
        self._store, _ = JournalStore.open(place)
        self._store.start(self._told.append, fail)
        return msgspec.structs.replace(setup, journal=self._store.state())

    def step(self, *events: object) -> list[Send]:
        """One turn that is not timed."""
        return self._turn("", events)

    def _connect(self) -> None:
        order = self.feature.order
        self.step(Accepted(TRUNK, Preamble(Role.TRUNK, None)))
        inits = [SessionInit(ref=ref, order=order) for ref in range(SESSIONS)]
        self.step(Received(TRUNK, [(init, b"") for init in inits]))
        self.open_lanes()

    def _turn(self, part: str, events: Sequence[object]) -> list[Send]:
        """One step, its journal write and its frames; their times go to the parts."""
        self.now_ns += STEP_NS
        if self.now_ns % BEAT_NS < STEP_NS:
            self._writer.beat(self.now_ns)
        told, self._told[:] = [*self._told], []
        began_ns = thread_time_ns()
        commands = self.core.step(self.now_ns, [*told, *events])
        stepped_ns = thread_time_ns()
        for command in commands:
            if type(command) is WriteJournal and self._store is not None:
                self._store.write(command)
        written_ns = thread_time_ns()
        sends = [command for command in commands if type(command) is Send]
        out: dict[Connection, bytearray] = {}
        for send in sends:
            buffer = out.setdefault(send.connection, bytearray())
            buffer += encode_frame(send.message, send.payload)
        if part:
            self.parts_ns[part] += stepped_ns - began_ns
            self.parts_ns["journal"] += written_ns - stepped_ns
            self.parts_ns["frames_out"] += thread_time_ns() - written_ns
        return sends

    def _read(self, role: Role, connection: Connection, frames: Frames) -> Received:
        """Decode what came, from its bytes."""
        data = b"".join(encode_frame(message, payload) for message, payload in frames)
        decode = self._readers[role].decode
        began_ns = thread_time_ns()
        feed = FrameDecoder(FRAME_BYTES_MAX).feed
        event = Received(connection, [(decode(header), body) for header, body in feed(data)])
        self.parts_ns["frames_in"] += thread_time_ns() - began_ns
        return event

    # ---- a batch of jobs

    async def run_batch(self, size: int) -> None:
        """Submit so many jobs in one read, end them in another, acknowledge in a third."""
        submits: Frames = [(self._submit(number), PAYLOAD) for number in range(size)]
        sent = self._turn("accept_and_choose", [self._read(Role.TRUNK, TRUNK, submits)])
        assigned = [send for send in sent if type(send.message) is Assign]
        told: list[Send] = []
        while assigned:
            reads = [
                self._read(Role.LANE, lane, frames) for lane, frames in self._answers(assigned)
            ]
            sent = self._turn("results", reads)
            told += [send for send in sent if type(send.message) is Result]
            assigned = [send for send in sent if type(send.message) is Assign]
        assert len(told) == size, f"{len(told)} of {size} jobs have ended"
        last: dict[int, int] = {}
        for send in told:
            assert isinstance(send.message, Result)
            last[send.message.session_number] = send.message.number
        acks: Frames = [(ResultAck(results=[*last.items()]), b"")]
        self._turn("acknowledgements", [self._read(Role.TRUNK, TRUNK, acks)])
        await asyncio.sleep(0)  # the journal's next segment is allocated beside

    def _submit(self, number: int) -> Submit:
        request = next(self._requests)
        fields = dict(self.feature.submit)
        if self.feature.order == "utterance":
            fields["utterance_index"] = (request - 1) // SESSIONS
        return Submit(
            session_number=(request - 1) % SESSIONS,
            request_id=f"r-{request:08}",
            services=["nmt"],
            src_lang="en",
            tgt_lang="es",
            **fields,
        )

    def _answers(self, assigned: Sequence[Send]) -> list[tuple[Connection, Frames]]:
        """Return what the nodes say: an acknowledgement, and the results."""
        by_lane: dict[Connection, list[Assign]] = {}
        for send in assigned:
            assert isinstance(send.message, Assign)
            by_lane.setdefault(send.connection, []).append(send.message)
        found = []
        for lane, jobs in by_lane.items():
            frames: Frames = [(AssignAck(number=jobs[-1].number), b"")]
            for job in jobs:
                self._result_numbers[lane - FIRST_LANE] += 1
                result = NodeResult(
                    number=self._result_numbers[lane - FIRST_LANE],
                    job_id=job.job_id,
                    epoch=1,
                    dispatch=job.dispatch,
                    duration_us=1,
                )
                frames.append((result, PAYLOAD))
            found.append((lane, frames))
        return found

    def close(self) -> None:
        """Let go of the journal."""
        if self._store is not None:
            self._store.close()


def fail(error: Exception) -> None:
    """The journal cannot be written: nothing that is measured after it would be true."""
    raise SystemExit(str(error))
