"""What decides on messages: the cores of worker, manager, node and client, fed by a peer that lies.

The first byte says how far the peer has come before it sends the rest: a stranger, or one that
joined properly.  Whatever a core wants to send must be a frame; nothing may be raised.  A core is
used for some hundred cases, so that one peer finds what another has left behind.
"""

from collections.abc import Callable, Sequence
from typing import Any

from agent_harness import AgentHarness
from client_harness import ClientHarness
from fuzz.decoders import Feed, cut, frames_of
from manager_harness import Harness, registration
from manager_harness import config_with as manager_config
from worker_harness import WorkerHarness, one_node

from pointsman_wire.admin_messages import AdminQuery
from pointsman_wire.control_messages import ToManager, ToNode
from pointsman_wire.framing import FrameTooLarge, Unreadable, encode_frame
from pointsman_wire.lane_messages import LaneToNode, LaneToWorker
from pointsman_wire.link import Closed, Connection, Frame, Received, Send
from pointsman_wire.preamble import Role
from pointsman_wire.session_messages import ToClient, ToWorker
from pointsman_wire.sockets.reading import MessageReader

CASES_PER_CORE = 300
CASE_S = 0.4


def started_frames(union: Any) -> list[bytes]:
    """Seeds of a core: frames behind the byte that says how far the peer has come."""
    return [bytes([kind]) + frame for kind in range(3) for frame in frames_of(union)]


def read_frames(reader: MessageReader, data: bytes) -> list[Frame]:
    return [(reader.read(header), payload) for header, payload in cut(data)]


def check_sends(commands: Sequence[object]) -> None:
    """Everything that is to be sent can be."""
    for command in commands:
        if isinstance(command, Send):
            try:
                encode_frame(command.message, command.payload)
            except FrameTooLarge:
                continue


class FromTimeToTime:
    """Something made anew after some hundred uses."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._made: Any = None
        self._uses = 0

    def get(self) -> Any:
        if self._uses % CASES_PER_CORE == 0:
            self._made = self._make()
        self._uses += 1
        return self._made


def _worker() -> WorkerHarness:
    _, harness = one_node(slots=4)
    return harness


def worker_from_client() -> Feed:
    """The worker, spoken to by a stranger, a trunk, or a session that stands."""
    reader, some = MessageReader(ToWorker), FromTimeToTime(_worker)

    def feed(data: bytes) -> None:
        h: WorkerHarness = some.get()
        kind = data[0] % 3 if data else 0
        if kind == 2:
            connection = h.open_session("s-1").connection
        else:
            connection = h.dial(Role.TRUNK if kind else Role.SESSION)
        _speak(h, connection, read_frames(reader, data[1:]))

    return feed


def worker_from_node() -> Feed:
    """The worker, spoken to on a lane by a stranger, or by a node that runs a job."""
    reader, some = MessageReader(LaneToWorker), FromTimeToTime(_worker)

    def feed(data: bytes) -> None:
        h: WorkerHarness = some.get()
        if data and data[0] % 3:
            client = h.open_session("s-1")
            connection = h.open_lane(3).connection
            client.submit("r-1")
        else:
            connection = h.dial(Role.LANE)
        _speak(h, connection, read_frames(reader, data[1:]))

    return feed


def _speak(h: WorkerHarness, connection: Connection, frames: list[Frame]) -> None:
    check_sends(h.feed(Received(connection, frames)))
    h.advance(CASE_S)
    check_sends(h.feed(Closed(connection, "reset")))
    check_sends(h.commands)
    h.commands.clear()
    h.sent.clear()
    h.closed.clear()


def manager() -> Feed:
    """The manager, spoken to by a stranger or by a node that has registered."""
    reader = MessageReader(ToManager)
    some = FromTimeToTime(lambda: Harness(manager_config(max_nodes=20), is_checked=False))

    def feed(data: bytes) -> None:
        h: Harness = some.get()
        kind = data[0] % 3 if data else 0
        if kind:
            connection = (h.make_ready if kind == 2 else h.join)(registration("n1"))
        else:
            connection = h.dial()
        check_sends(h.feed(Received(connection, read_frames(reader, data[1:]))))
        check_sends(h.advance(int(CASE_S * 1e9)))
        check_sends(h.lose(connection))

    return feed


def _node() -> AgentHarness:
    h = AgentHarness()
    h.join()
    return h


def node_from_manager() -> Feed:
    """A node, spoken to by a manager that lies."""
    reader = MessageReader(ToNode)

    def feed(data: bytes) -> None:
        h = _node() if data[:1] > b"\0" else AgentHarness()
        if data[:1] == b"\0":
            h.dial(h.feed())
        check_sends(h.feed(Received(h.control, read_frames(reader, data[1:]))))
        check_sends(h.advance(CASE_S))

    return feed


def node_from_worker() -> Feed:
    """A node, spoken to on a lane by a worker that lies, while it runs a job or not."""
    reader = MessageReader(LaneToNode)

    def feed(data: bytes) -> None:
        h = _node()
        if data[:1] > b"\0":
            h.assign("job-0")
        check_sends(h.feed(Received(h.lanes[0], read_frames(reader, data[1:]))))
        check_sends(h.advance(CASE_S))

    return feed


def client() -> Feed:
    """A client, spoken to by a worker that lies, with a request open or not."""
    reader = MessageReader(ToClient)

    def feed(data: bytes) -> None:
        h = ClientHarness()
        if data[:1] > b"\0":
            h.open()
            h.submit("r-1")
        else:
            h.dial(h.wish())
        check_sends(h.feed(Received(h.connection, read_frames(reader, data[1:]))))
        check_sends(h.advance(CASE_S))

    return feed


def admin() -> Feed:
    """Whatever is asked at an admin socket, worker and manager answer with what can be sent."""
    reader = MessageReader(AdminQuery)
    workers = FromTimeToTime(_worker)
    managers = FromTimeToTime(lambda: Harness(manager_config(max_nodes=20), is_checked=False))

    def feed(data: bytes) -> None:
        cores = (workers.get().core, managers.get().core)
        for header, _ in cut(data):
            query = reader.read(header)
            if isinstance(query, Unreadable):
                continue
            for core in cores:
                answer = core.answer(query)
                assert answer is None or encode_frame(answer)

    return feed


def queries() -> list[bytes]:
    return frames_of(AdminQuery)
