"""A worker on which everything happens at random: nodes, clients, talkers, operators, trouble.

`act` does one thing; `quiet` ends all that was begun and lets the time pass after which nothing of
it need be remembered.
"""

from collections.abc import Callable
from random import Random
from typing import Any

from worker_harness import WorkerHarness

from pointsman_shm.memory.rows import NodeState, RowFlag
from pointsman_wire.lane_messages import (
    Assign,
    AssignAck,
    CancelJob,
    JobFence,
    JobRefused,
    LaneReport,
    NodePartial,
    NodeProgress,
    NodeResult,
    TurnAsk,
)
from pointsman_wire.link import Closed, Congested, Connection, LoopWasLate, Relieved
from pointsman_wire.messages import Message
from pointsman_wire.preamble import Role
from pointsman_wire.queries.operating_messages import (
    CancelOrder,
    DrainWorkerOrder,
    UndrainWorkerOrder,
)
from pointsman_wire.session_messages import (
    Cancel,
    Result,
    ResultAck,
    SessionClose,
    SessionInit,
    SessionInitAck,
    Submit,
)
from pointsman_wire.talk.talk_messages import AudioChunk, RoomJoin, RoomLeave, Utterance
from pointsman_workers.core.events import OrderGiven, PressureMeasured
from pointsman_workers.core.overload import Pressure

HALF_A_SECOND = b"\x01\x02" * 8_000
TENANTS = ("", "acme", "other")
QUIET_S = 120


class BusyNode:
    """A node that does what it is told, nearly always."""

    def __init__(self, host: "BusyHost", row: int) -> None:
        self._host, self._row = host, row
        self._connection: Connection | None = None
        self._running: dict[int, JobFence] = {}
        self._number = 0

    def come(self) -> None:
        """Open the lane, and report."""
        running = [*self._running.values()]
        node = self._host.h.open_lane(self._row, report=LaneReport(running=running))
        self._connection, self._number = node.connection, 0

    def go(self) -> None:
        """Lose the lane."""
        if self._connection is not None:
            self._host.h.feed(Closed(self._connection))
            self._connection = None

    def begin_anew(self) -> None:
        """Come back without what ran."""
        self.go()
        self._running.clear()

    def read(self) -> None:
        """Take what was assigned, and what is to be stopped."""
        if self._connection is None:
            self.come()
        for message, _ in self._host.h.sent.pop(self._connection or Connection(0), []):
            if isinstance(message, Assign):
                self._take(message)
            elif isinstance(message, CancelJob) and message.dispatch in self._running:
                self._end(message.dispatch, "cancelled")

    def _take(self, job: Assign) -> None:
        h = self._host.h
        place: dict[str, Any] = {"job_id": job.job_id, "epoch": h.epoch, "dispatch": job.dispatch}
        chance = self._host.random.random()
        if chance < 0.03:
            self._say(JobRefused(code="NODE_OVERLOADED", **place))
            return
        names = (job.tenant, job.session_id, job.request_id, job.origin)
        self._running[job.dispatch] = JobFence(job.job_id, h.epoch, job.dispatch, *names)
        if chance > 0.06:
            self._say(AssignAck(number=job.number))
        if job.silence_ms:
            self._say(TurnAsk(**place))

    def work(self, share: float) -> None:
        """End some of what runs, and tell of the rest."""
        if self._connection is None:
            return
        for dispatch, fence in [*self._running.items()]:
            chance = self._host.random.random()
            place: dict[str, Any] = {"job_id": fence.job_id, "epoch": fence.epoch}
            place["dispatch"] = dispatch
            if chance < share:
                self._end(dispatch, "failed" if chance < share / 10 else "completed")
            elif chance < share + 0.1:
                self._say(NodeProgress(**place))
            elif chance < share + 0.2:
                self._say(NodePartial(meta={"stage": "asr"}, **place), b"words")

    def _end(self, dispatch: int, status: str) -> None:
        fence = self._running.pop(dispatch)
        self._number += 1
        result = NodeResult(
            number=self._number,
            job_id=fence.job_id,
            epoch=fence.epoch,
            dispatch=dispatch,
            status=status,  # type: ignore[arg-type]
            code="INTERNAL_ERROR" if status == "failed" else "",
        )
        self._say(result, b"x" * self._host.random.choice((1, 1_500)))

    def _say(self, message: Message, payload: bytes = b"") -> None:
        assert self._connection is not None
        self._host.h.receive(self._connection, message, payload)


class BusyHost:
    """A worker, its nodes, and the sessions of its clients."""

    def __init__(
        self, h: WorkerHarness, rows: tuple[int, ...], random: Random, wait: Callable[[float], None]
    ) -> None:
        self.h, self.random, self._wait = h, random, wait
        self.nodes = [BusyNode(self, row) for row in rows]
        self._sessions: dict[tuple[str, str], tuple[Connection, SessionInitAck]] = {}
        self._number = 0
        self._acts = [self._open] * 3 + [self._submit] * 8 + [self._cancel] * 2 + [self._talk] * 4
        self._acts += [self._close] * 2 + [self._trouble_nodes] * 2 + [self._trouble]
        self._acts += [lambda: wait(random.choice((0.01, 0.05, 0.3, 1.5)))] * 4

    def act(self) -> None:
        """One thing happens, and everybody reads."""
        self.random.choice(self._acts)()
        for node in self.nodes:
            node.read()
            if self.random.random() < 0.3:
                node.work(0.4)
        for connection in {connection for connection, _ in self._sessions.values()}:
            self._read(connection)
        self.h.commands.clear()
        self.h.closed.clear()

    def _read(self, connection: Connection) -> None:
        told = [message for message, _ in self.h.sent.pop(connection, [])]
        last = {m.session_number: m.number for m in told if isinstance(m, Result)}
        if last and self.random.random() < 0.8:
            self.h.receive(connection, ResultAck(results=[*last.items()]))

    def _any(self) -> tuple[tuple[str, str], Connection, int]:
        if not self._sessions:
            self._open()
        found = [*self._sessions] or [("", "nobody")]
        key = self.random.choice(found)
        connection, ack = self._sessions.get(key, (Connection(0), SessionInitAck()))
        return key, connection, ack.session_number

    def _open(self) -> None:
        random = self.random
        self._number += 1
        names = (f"s-{self._number}", f"s-{random.randrange(12)}")
        key = random.choice(TENANTS), random.choice(names)
        before = self._sessions.get(key)
        message = SessionInit(
            session_id=key[1],
            resume_token=before[1].resume_token if before is not None else "",
            tenant=key[0],
            src_lang="en",
            tgt_lang="es",
            hears=random.choice(("", "es")),
            order=random.choice(("free", "free", "utterance", "serial")),
        )
        connection = self.h.dial(Role.TRUNK)
        if self._sessions and random.random() < 0.3:
            connection = self._any()[1]
        self.h.receive(connection, message)
        for ack in self.h.take(connection, SessionInitAck):
            self._sessions[key] = (connection, ack)

    def _submit(self) -> None:
        random = self.random
        _, connection, session_number = self._any()
        for _ in range(random.choice((1, 1, 3))):
            self._number += 1
            submit = Submit(
                session_number=session_number,
                request_id=f"r-{self._number - random.choice((0, 0, 0, 20))}",
                services=[random.choice(("nmt", "nmt", "asr", "tts", "none"))],
                src_lang="en",
                tgt_lang=random.choice(("es", "es", "fr", "xx")),
                priority=random.choice(("interactive", "default", "bulk")),
                durability=random.choice((None, "memory", "journal")),
                timeout_s=random.choice((None, 0.5)),
                deadline_s=random.choice((None, None, 0.3)),
                wait_busy_s=random.choice((None, 0.0, 5.0)),
                idempotent=random.random() < 0.5,
                utterance_index=random.choice((None, self._number % 9)),
                stream=random.random() < 0.5,
                features=[f"f-{self._number}"] if random.random() < 0.05 else [],
            )
            self.h.receive(connection, submit, b"p" * random.choice((1, 900)))

    def _cancel(self) -> None:
        _, connection, session_number = self._any()
        for number in range(self._number - 5, self._number):
            name = f"r-{number}"
            self.h.receive(connection, Cancel(session_number=session_number, request_id=name))

    def _talk(self) -> None:
        random = self.random
        _, connection, number = self._any()
        utterance_id = f"u-{self._number % 7}"
        one: Message = AudioChunk(
            session_number=number,
            utterance_id=utterance_id,
            seq=random.randrange(4),
            partials=True,
            is_final=random.random() < 0.3,
        )
        to = random.choice(([], [f"s-{random.randrange(12)}"]))
        said = Utterance(session_number=number, utterance_id=utterance_id, text="hello", to=to)
        room = RoomJoin(session_number=number, room=f"room-{self._number % 5}", lang="en")
        left = RoomLeave(session_number=number)
        message = random.choice((one, one, one, said, room, left))
        self.h.receive(connection, message, HALF_A_SECOND if message is one else b"")

    def _close(self) -> None:
        key, connection, number = self._any()
        if self.random.random() < 0.5:
            flush = self.random.random() < 0.5
            self.h.receive(connection, SessionClose(session_number=number, flush=flush))
            self._sessions.pop(key, None)
        else:
            self._hang_up(connection)

    def _hang_up(self, connection: Connection) -> None:
        if connection in self.h.core.shard.peers:
            self.h.feed(Closed(connection))
        left = [key for key, (of, _) in self._sessions.items() if of == connection]
        for key in left:
            del self._sessions[key]

    def _trouble_nodes(self) -> None:
        random = self.random
        node = random.choice(self.nodes)
        random.choice((node.go, node.begin_anew))()
        for row in random.sample([*self.h.host.records], 1):
            state = random.choice((NodeState.READY, NodeState.SUSPECT, NodeState.DRAINING))
            self.h.host.stand(row, state=state, flags=self._flags(row))

    def _flags(self, row: int) -> RowFlag:
        is_distant = bool(self.h.host.records[row].instance)
        return RowFlag.PUBLIC | (RowFlag.REMOTE if is_distant else RowFlag(0))

    def _trouble(self) -> None:
        h, random = self.h, self.random
        _, connection, _ = self._any()
        chance = random.randrange(4)
        if chance == 0:
            h.feed(LoopWasLate(200_000_000))
        elif chance == 1:
            h.feed(PressureMeasured(Pressure(memory=random.choice((0.85, 0.92, 0.96)))))
            self._submit()
            h.feed(PressureMeasured(Pressure()))
        elif chance == 2:
            self._wait_while(Congested(connection), Relieved(connection))
        else:
            name = f"s-{random.randrange(12)}"
            order = CancelOrder(session_id=name, request_id=f"r-{self._number}")
            h.feed(OrderGiven(ticket=1, order=order))
            self._wait_while(OrderGiven(2, DrainWorkerOrder()), OrderGiven(3, UndrainWorkerOrder()))

    def _wait_while(self, begins: object, ends: object) -> None:
        self.h.feed(begins)
        self._submit()
        self._talk()
        self._wait(0.3)
        self.h.feed(ends)

    # -- the end -------------------------------------------------------------------------------

    def leave(self) -> None:
        """All clients are gone, and all nodes are well."""
        for connection in [*self.h.core.shard.peers]:
            self._hang_up(connection)
        for row in self.h.host.records:
            self.h.host.stand(row, flags=self._flags(row))

    def finish(self) -> None:
        """What still runs is ended."""
        for node in self.nodes:
            node.read()
            node.work(1.0)
        self.h.commands.clear()
