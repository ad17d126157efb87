"""A service in miniature over real sockets: one manager, one worker, no memory, no choice.

It speaks the protocol as far as the tests of the client side need it, and does what they ask:
refuse, forget, break connections.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from live.fake_web import WebSide

from pointsman_wire import control_messages as control
from pointsman_wire import lane_messages as lane
from pointsman_wire import session_messages as session
from pointsman_wire.errors import Code
from pointsman_wire.framing import FrameDecoder, HeaderDecoder, encode_frame
from pointsman_wire.messages import ErrorInfo, Message, error_info
from pointsman_wire.preamble import PREAMBLE_BYTES, Role, decode_preamble

UNIONS: dict[Role, Any] = {
    Role.SESSION: session.ToWorker,
    Role.TRUNK: session.ToWorker,
    Role.CONTROL: control.ToManager,
    Role.LANE: lane.LaneToWorker,
}


class Peer:
    """One connection."""

    def __init__(self, writer: asyncio.StreamWriter, role: Role) -> None:
        self.writer = writer
        self.role = role
        self.assigned = 0
        self.sessions = 0
        self.web: WebSide | None = None  # set where it speaks WebSocket

    def send(self, message: Message, payload: bytes = b"") -> None:
        if self.writer.is_closing():
            return
        if self.web is not None:
            self.web.say(message, payload)
        else:
            self.writer.write(encode_frame(message, payload))

    def cut(self) -> None:
        """Break the connection without a word."""
        self.writer.transport.abort()


class FakeService:
    """What was heard stands in `heard`; jobs go to the node whose lane stands last."""

    def __init__(self) -> None:
        self.port = 0
        self.heard: list[Message] = []
        self.peers: list[Peer] = []
        self.epoch = 1
        self.registrations = 0
        self.silence_ms = 0  # of assignments
        self.confirms = True  # that their jobs are still wanted
        self.web_status = 101  # how requests for a WebSocket are answered
        self.targets: list[str] = []  # of those requests
        # Set to answer a kind of message otherwise than usual; True means "that was all".
        self.special: Callable[[Peer, Message], bool] = lambda peer, message: False
        self.jobs: dict[str, tuple[Peer, session.Submit, bytes]] = {}
        self.news = asyncio.Condition()
        self.all_gone = asyncio.Event()
        self.all_gone.set()
        self._delivered = 0

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def wait_for(self, kind: type[Message], count: int = 1) -> list[Any]:
        """Return all messages of a type once so many were heard."""
        async with asyncio.timeout(10), self.news:
            await self.news.wait_for(lambda: len(self.all(kind)) >= count)
        return self.all(kind)

    def all(self, kind: type[Message]) -> list[Any]:
        return [message for message in self.heard if type(message) is kind]

    def of_role(self, *roles: Role) -> list[Peer]:
        return [peer for peer in self.peers if peer.role in roles]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            first = await reader.readexactly(PREAMBLE_BYTES)
            if first.startswith(b"GET "):
                await self._serve_web(first, reader, writer)
                return
            preamble = decode_preamble(first)
            peer = self._new_peer(writer, preamble.role)
            decoder, headers = FrameDecoder(), HeaderDecoder[Any](UNIONS[preamble.role])
            while data := await reader.read(65_536):
                for header, payload in decoder.feed(data):
                    await self._hear(peer, headers.decode(header), payload)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.peers = [other for other in self.peers if other.writer is not writer]
            if not self.peers:
                self.all_gone.set()
            writer.close()

    async def _serve_web(
        self, data: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        peer = self._new_peer(writer, Role.SESSION)
        peer.web = WebSide(writer)
        while data:
            for message, payload in peer.web.take(data, status=self.web_status):
                await self._hear(peer, message, payload)
            if peer.web.target:
                self.targets.append(peer.web.target)
                peer.web.target = ""
            data = await reader.read(65_536)

    def _new_peer(self, writer: asyncio.StreamWriter, role: Role) -> Peer:
        peer = Peer(writer, role)
        self.peers.append(peer)
        self.all_gone.clear()
        return peer

    async def _hear(self, peer: Peer, message: Message, payload: bytes) -> None:
        async with self.news:
            self.heard.append(message)
            self.news.notify_all()
        if self.special(peer, message):
            return
        answer = getattr(self, f"on_{message.__struct_config__.tag}", None)
        if answer is not None:
            answer(peer, message, payload)

    # ---- the manager

    def on_register(self, peer: Peer, message: control.Register, _: bytes) -> None:
        self.registrations += 1
        registered = control.Registered(
            node_id=message.node_id or "made-here",
            key="" if message.key else "a-key",
            epoch=self.registrations,
            instance_uid="uid",
            lane_ticket=b"ticket",
            heartbeat_interval_s=0.1,
        )
        peer.send(registered)

    def on_lanes_ready(self, peer: Peer, _: Message, __: bytes) -> None:
        peer.send(control.NodeStateChanged(state="ready"))

    def on_heartbeat(self, peer: Peer, message: control.Heartbeat, _: bytes) -> None:
        peer.send(control.HeartbeatAck(number=message.number, state="ready"))

    # ---- the worker's lanes

    def on_lane_open(self, peer: Peer, _: Message, __: bytes) -> None:
        peer.send(lane.LaneAccepted(instance_uid="uid", shard=0, epoch=self.epoch))

    def on_lane_report(self, peer: Peer, message: lane.LaneReport, _: bytes) -> None:
        known = {fence.job_id for fence in (*message.running, *message.held)}
        for job_id in self.jobs.keys() - known:
            self._assign(job_id)

    def on_turn_ask(self, peer: Peer, message: lane.TurnAsk, _: bytes) -> None:
        if self.confirms:
            peer.send(lane.TurnGranted(**msgspec.structs.asdict(message)))

    def on_node_result(self, peer: Peer, message: lane.NodeResult, payload: bytes) -> None:
        peer.send(lane.NodeResultAck(number=message.number))
        error = None
        if message.code:
            error = ErrorInfo(message.code, message.message, retryable=bool(message.retryable))
        result = session.Result(
            status=message.status,
            job_id=message.job_id,
            node_id="n1",
            attempt=1,
            placement_us=5.0,
            content_type=message.content_type,
            meta=message.meta,
            error=error,
        )
        self._deliver(message.job_id, result, payload)

    def on_job_refused(self, peer: Peer, message: lane.JobRefused, _: bytes) -> None:
        error = ErrorInfo(message.code, message.message)
        self._deliver(message.job_id, session.Result(status="failed", error=error), b"")

    def on_node_partial(self, peer: Peer, message: lane.NodePartial, payload: bytes) -> None:
        to, submit, _body = self.jobs[message.job_id]
        partial = session.Partial(
            session_number=submit.session_number,
            request_id=submit.request_id,
            attempt=1,
            seq=message.seq,
        )
        to.send(partial, payload)

    def on_node_progress(self, peer: Peer, message: lane.NodeProgress, _: bytes) -> None:
        to, submit, _body = self.jobs[message.job_id]
        progress = session.Progress(
            session_number=submit.session_number,
            request_id=submit.request_id,
            percent=message.percent,
        )
        to.send(progress)

    # ---- the worker's sessions

    def on_session_init(self, peer: Peer, message: session.SessionInit, _: bytes) -> None:
        peer.sessions += 1
        open_ids = {submit.request_id for _, submit, _ in self.jobs.values()}
        ack = session.SessionInitAck(
            ref=message.ref,
            session_number=peer.sessions,
            session_id=message.session_id or "made-here",
            resume_token="token",
            resumed=bool(message.resume_token),
            unfinished={i: "running" if i in open_ids else "unknown" for i in message.unfinished},
            heartbeat_interval_s=0.2,
            instance="fake",
        )
        for job_id, (_peer, submit, payload) in self.jobs.items():
            if submit.request_id in message.unfinished:
                self.jobs[job_id] = (peer, submit, payload)
        peer.send(ack)

    def on_submit(self, peer: Peer, message: session.Submit, payload: bytes) -> None:
        job_id = f"job-{message.request_id}"
        accepted = session.AcceptedJob(
            session_number=message.session_number, request_id=message.request_id, job_id=job_id
        )
        self.jobs[job_id] = (peer, message, payload)
        peer.send(session.JobAccepted(jobs=[accepted]))
        if self.of_role(Role.LANE):
            self._assign(job_id)
        elif message.wait_none_s == 0:
            error = error_info(Code.NO_AVAILABLE_NODE, "no node is there")
            self._deliver(job_id, session.Result(status="expired", error=error), b"")

    def on_cancel(self, peer: Peer, message: session.Cancel, _: bytes) -> None:
        job_id = f"job-{message.request_id}"
        if job_id in self.jobs and self.of_role(Role.LANE):
            to = self.of_role(Role.LANE)[-1]
            to.send(lane.CancelJob(job_id=job_id, epoch=self.epoch, dispatch=1))

    def on_client_heartbeat(self, peer: Peer, message: session.ClientHeartbeat, _: bytes) -> None:
        peer.send(session.ClientHeartbeatAck(number=message.number))

    def on_session_close(self, peer: Peer, message: session.SessionClose, _: bytes) -> None:
        peer.send(session.SessionClosed(session_number=message.session_number))

    # ---- inside

    def give(self, job_id: str) -> None:
        """Let a node have a job that no client has asked for."""
        self.jobs[job_id] = (self.of_role(Role.LANE)[-1], session.Submit(request_id=job_id), b"")
        self._assign(job_id)

    def _assign(self, job_id: str) -> None:
        _, submit, payload = self.jobs[job_id]
        to = self.of_role(Role.LANE)[-1]
        to.assigned += 1
        assign = lane.Assign(
            number=to.assigned,
            job_id=job_id,
            dispatch=1,
            silence_ms=self.silence_ms,
            services=submit.services,
            features=submit.features,
            src_lang=submit.src_lang,
            tgt_lang=submit.tgt_lang,
            content_type=submit.content_type,
            meta=submit.meta,
            request_id=submit.request_id,
            stream=submit.stream,
            timeout_ms=30_000,
        )
        to.send(assign, payload)

    def _deliver(self, job_id: str, result: session.Result, payload: bytes) -> None:
        if job_id not in self.jobs:
            return
        to, submit, _ = self.jobs.pop(job_id)
        self._delivered += 1
        told = msgspec.structs.replace(
            result,
            session_number=submit.session_number,
            request_id=submit.request_id,
            number=self._delivered,
        )
        to.send(told, payload)


@asynccontextmanager
async def fake_service(tls: ssl.SSLContext | None = None) -> AsyncIterator[FakeService]:
    """Listen on a free port until the block is left."""
    service = FakeService()
    server = await asyncio.start_server(service.serve, "127.0.0.1", 0, ssl=tls)
    service.port = server.sockets[0].getsockname()[1]
    try:
        yield service
    finally:
        server.close()
        for peer in [*service.peers]:
            peer.cut()
        await server.wait_closed()
        async with asyncio.timeout(10):
            await service.all_gone.wait()
