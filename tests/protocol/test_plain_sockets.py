"""The examples in plain sockets, led step by step through the flows of docs/protocol.md.

The test plays the server with the real messages, so what the examples send is judged by the real
decoders; tests/end_to_end runs the same programs against the whole service.
"""

import importlib.util
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman_wire import control_messages as control
from pointsman_wire import lane_messages as lanes
from pointsman_wire import session_messages as sessions
from pointsman_wire.errors import Code
from pointsman_wire.framing import FrameDecoder, HeaderDecoder, encode_frame
from pointsman_wire.messages import Error, Message, error_info
from pointsman_wire.preamble import PREAMBLE_BYTES, Preamble, Role, decode_preamble
from pointsman_wire.shards import session_key

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "plain_sockets"
TIMEOUT_S = 20.0
M = TypeVar("M", bound=Message)
UNIONS = {
    Role.SESSION: sessions.ToWorker,
    Role.CONTROL: control.ToManager,
    Role.LANE: lanes.LaneToWorker,
}


class Peer:
    """The server's end of one connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        sock.settimeout(TIMEOUT_S)
        self.preamble: Preamble = decode_preamble(sock.recv(PREAMBLE_BYTES, socket.MSG_WAITALL))
        self.headers: HeaderDecoder[Message] = HeaderDecoder(UNIONS[self.preamble.role])
        self.frames = FrameDecoder()
        self.waiting: list[tuple[Message, bytes]] = []

    def send(self, *messages: Message, payload: bytes = b"") -> None:
        self.sock.sendall(b"".join(encode_frame(message, payload) for message in messages))

    def receive(self, kind: type[M]) -> tuple[M, bytes]:
        """Return the next message, which must be of this kind, and its payload."""
        while not self.waiting:
            data = self.sock.recv(65_536)
            assert data, f"the connection ended before a {kind.__name__}"
            for header, payload in self.frames.feed(data):
                self.waiting.append((self.headers.decode(header), payload))
        message, payload = self.waiting.pop(0)
        assert isinstance(message, kind), message
        return message, payload


class Server:
    """A listening socket."""

    def __init__(self) -> None:
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.sock.settimeout(TIMEOUT_S)
        self.address = f"127.0.0.1:{self.sock.getsockname()[1]}"
        self.peers: list[Peer] = []

    def accept(self, role: Role) -> Peer:
        peer = Peer(self.sock.accept()[0])
        assert peer.preamble.role is role
        self.peers.append(peer)
        return peer


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    for peer in made.peers:
        peer.sock.close()
    made.sock.close()


@contextmanager
def running(program: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, str(FOLDER / program), *arguments]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, env=environment, **pipes) as process:
        try:
            yield process
        finally:
            process.kill()


def registered(worker_count: int, epoch: int = 1) -> control.Registered:
    return control.Registered(
        node_id="n-1",
        key="secret",
        generation=2,
        epoch=epoch,
        worker_count=worker_count,
        lane_ticket=b"ticket",
        instance_uid="uid",
        heartbeat_interval_s=0.5,
    )


def accept_lane(server: Server, epoch: int = 7) -> tuple[Peer, lanes.LaneReport]:
    lane = server.accept(Role.LANE)
    opened, _ = lane.receive(lanes.LaneOpen)
    assert (opened.node_id, opened.row, opened.generation) == ("n-1", 0, 2)
    assert opened.ticket == b"ticket"
    shard = lane.preamble.key
    assert shard is not None
    lane.send(lanes.LaneAccepted(instance_uid="uid", shard=shard, epoch=epoch))
    return lane, lane.receive(lanes.LaneReport)[0]


def join(server: Server, worker_count: int) -> tuple[Peer, dict[int, Peer]]:
    """Take the node in; return its control connection and its lanes by shard."""
    manager = server.accept(Role.CONTROL)
    register, _ = manager.receive(control.Register)
    assert register.nmt.pairs == [("en", "es")]
    manager.send(registered(worker_count))
    opened = [accept_lane(server)[0] for _ in range(worker_count)]
    manager.receive(control.LanesReady)
    beat, _ = manager.receive(control.Heartbeat)
    manager.send(control.HeartbeatAck(number=beat.number, state="ready"))
    return manager, {lane.preamble.key or 0: lane for lane in opened}


def test_the_node_joins_works_and_leaves(server: Server) -> None:
    with running("tiny_node.py", server.address) as node:
        manager, by_shard = join(server, worker_count=2)
        assert node.stdout is not None
        assert node.stdout.readline() == "ready: n-1\n"
        assert sorted(by_shard) == [0, 1]
        for shard, lane in by_shard.items():
            lane.send(lanes.Assign(number=1, job_id="j", dispatch=shard), payload=b"good morning")
            assert lane.receive(lanes.AssignAck)[0].number == 1
            result, output = lane.receive(lanes.NodeResult)
            assert (result.number, result.job_id, result.status) == (1, "j", "completed")
            assert (result.epoch, result.dispatch, output) == (7, shard, b"GOOD MORNING")
        node.send_signal(signal.SIGTERM)
        while not isinstance(manager.receive(Message)[0], control.Leave):
            pass  # a heartbeat was on its way
        assert node.wait(TIMEOUT_S) == 0


def test_the_node_holds_results_until_they_are_acknowledged(server: Server) -> None:
    with running("tiny_node.py", server.address):
        _, by_shard = join(server, worker_count=1)
        lane = by_shard[0]
        for number, job_id in enumerate(("a", "b"), 1):
            assign = lanes.Assign(number=number, job_id=job_id, dispatch=number, request_id="r")
            lane.send(assign, payload=b"x")
            lane.receive(lanes.AssignAck)
            lane.receive(lanes.NodeResult)
        lane.send(lanes.NodeResultAck(number=1))
        lane.sock.close()
        lane, report = accept_lane(server, epoch=8)
        assert report.held == [lanes.JobFence("b", 7, 2, request_id="r")]
        result, output = lane.receive(lanes.NodeResult)
        assert (result.number, result.job_id, result.epoch, output) == (1, "b", 7, b"X")
        lane.send(lanes.NodeResultAck(number=1))
        lane.sock.close()
        assert accept_lane(server, epoch=8)[1] == lanes.LaneReport()


def test_the_node_refuses_what_a_fence_forbids(server: Server) -> None:
    with running("tiny_node.py", server.address):
        _, by_shard = join(server, worker_count=1)
        lane = by_shard[0]
        lane.send(lanes.Assign(number=1, job_id="j", dispatch=5))
        lane.receive(lanes.AssignAck)
        lane.receive(lanes.NodeResult)
        lane.send(lanes.Assign(number=2, job_id="j", dispatch=4))
        lane.receive(lanes.AssignAck)
        refused, _ = lane.receive(lanes.JobRefused)
        assert (refused.job_id, refused.dispatch, refused.code) == ("j", 4, "STALE")
        lane.send(lanes.LanePing(number=3, last_assigned=2))
        assert lane.receive(lanes.LanePong)[0] == lanes.LanePong(number=3, last_read=2)
        lane.send(lanes.CancelJob(job_id="never seen", epoch=7, dispatch=6))
        result, _ = lane.receive(lanes.NodeResult)
        assert (result.number, result.status) == (2, "cancelled")
        lane.sock.close()
        older = server.accept(Role.LANE)
        older.receive(lanes.LaneOpen)
        older.send(lanes.LaneAccepted(instance_uid="uid", shard=0, epoch=6))
        assert older.sock.recv(1) == b"", "a worker of an older epoch gets no report"


def test_the_node_registers_again_under_its_id_and_key(server: Server) -> None:
    with running("tiny_node.py", server.address):
        manager, _ = join(server, worker_count=1)
        manager.sock.close()
        register, _ = server.accept(Role.CONTROL).receive(control.Register)
        assert (register.node_id, register.key) == ("n-1", "secret")


def test_the_node_gives_up_when_it_is_refused_for_good(server: Server) -> None:
    with running("tiny_node.py", server.address) as node:
        manager = server.accept(Role.CONTROL)
        manager.receive(control.Register)
        manager.send(Error(error_info(Code.FLEET_FULL, "the fleet is full")))
        assert node.wait(TIMEOUT_S) == 1
        assert node.stderr is not None
        assert "FLEET_FULL: the fleet is full" in node.stderr.read()


def test_the_client_finds_its_worker_and_survives_a_lost_connection(server: Server) -> None:
    with running("tiny_client.py", server.address, "good morning") as client:
        stranger = server.accept(Role.SESSION)
        assert stranger.preamble.key is None
        stranger.receive(sessions.SessionInit)
        stranger.send(sessions.Moved(session_id="s-9", shard=1, worker_count=2))
        worker = server.accept(Role.SESSION)
        assert worker.preamble.key == session_key("s-9")
        init, _ = worker.receive(sessions.SessionInit)
        assert (init.session_id, init.src_lang, init.tgt_lang) == ("s-9", "en", "es")
        worker.send(sessions.SessionInitAck(session_id="s-9", resume_token="t"))
        first, _ = worker.receive(sessions.Submit)
        worker.sock.close()
        worker = server.accept(Role.SESSION)
        init, _ = worker.receive(sessions.SessionInit)
        assert (init.resume_token, init.unfinished) == ("t", [first.request_id])
        ack = sessions.SessionInitAck(
            session_number=3, session_id="s-9", resume_token="t", resumed=True
        )
        worker.send(ack)
        again, payload = worker.receive(sessions.Submit)
        assert (again.session_number, again.request_id) == (3, first.request_id)
        accepted = sessions.AcceptedJob(session_number=3, request_id="r-1", job_id="j")
        worker.send(sessions.JobAccepted(jobs=[accepted]))
        result = sessions.Result(
            session_number=3, request_id="r-1", number=1, node_id="n-1", attempt=1
        )
        worker.send(result, payload=payload.upper())
        assert worker.receive(sessions.ResultAck)[0].results == [(3, 1)]
        assert worker.receive(sessions.SessionClose)[0].session_number == 3
        out, _ = client.communicate(timeout=TIMEOUT_S)
        assert out.splitlines()[0] == "GOOD MORNING"
        assert "by n-1, attempt 1" in out
        assert client.returncode == 0


def test_the_client_says_why_it_was_refused(server: Server) -> None:
    with running("tiny_client.py", server.address, "x") as client:
        worker = server.accept(Role.SESSION)
        worker.receive(sessions.SessionInit)
        worker.send(Error(error_info(Code.UNAUTHORIZED, "who are you?")))
        _, err = client.communicate(timeout=TIMEOUT_S)
        assert "UNAUTHORIZED: who are you? Send a valid token; nodes are enrolled" in err
        assert client.returncode == 1


# ---- the example's msgpack


@pytest.fixture(scope="module")
def plain_wire() -> ModuleType:
    spec = importlib.util.spec_from_file_location("plain_wire_example", FOLDER / "plain_wire.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(value=VALUES)
def test_the_examples_msgpack_says_the_same_as_ours(plain_wire: ModuleType, value: Any) -> None:
    assert msgspec.msgpack.decode(plain_wire.pack(value)) == value
    assert plain_wire.unpack(msgspec.msgpack.encode(value)) == value


@pytest.mark.parametrize("size", [15, 16, 31, 32, 255, 256, 65_535, 65_536])
def test_the_examples_msgpack_reads_every_length(plain_wire: ModuleType, size: int) -> None:
    keys = {str(number): number for number in range(size)}
    for value in ("x" * size, b"x" * size, [0] * size, keys):
        assert plain_wire.unpack(msgspec.msgpack.encode(value)) == value


def test_the_examples_import_nothing_but_the_standard_library() -> None:
    for path in FOLDER.glob("*.py"):
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith(("import ", "from ")):
                module = line.split()[1].partition(".")[0]
                assert module == "plain_wire" or module in sys.stdlib_module_names, line
