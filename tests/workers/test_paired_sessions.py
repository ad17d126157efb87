"""Sessions with pairing codes: the manager is asked, the session waits, its node is preferred."""

from worker_harness import Host, WorkerHarness

from pointsman_shm.config import Config
from pointsman_shm.uplink import PairingAnswered, PairingAsked
from pointsman_wire.errors import Code
from pointsman_wire.link import Accepted, Closed, Connection
from pointsman_wire.messages import Error
from pointsman_wire.preamble import Preamble, Role
from pointsman_wire.session_messages import JobAccepted, SessionInit, SessionInitAck, Submit
from pointsman_workers.core.events import ManagerSaid, TellManager
from pointsman_workers.desks.pairing import WAITING_MAX

CODE = "7K3M-9QX2"


class Paired:
    """A worker, two nodes, and the manager's part played by hand."""

    def __init__(self) -> None:
        self.host = Host(Config())
        self.host.node(0, slots=4)
        self.host.node(1, slots=4)
        self.host.publish(1)
        self.h = WorkerHarness(self.host)
        self.nodes = [self.h.open_lane(0), self.h.open_lane(1)]

    def init(self, connection: Connection, **fields: object) -> None:
        fields = {"session_id": "s-1", "pairing_code": CODE, **fields}
        self.h.receive(connection, SessionInit(**fields))  # type: ignore[arg-type]

    def questions(self) -> list[PairingAsked]:
        """What the worker has asked since the last look."""
        told = [c.message for c in self.h.commands if isinstance(c, TellManager)]
        self.h.commands.clear()
        return [message for message in told if isinstance(message, PairingAsked)]

    def question(self) -> PairingAsked:
        (asked,) = self.questions()
        return asked

    def answer(self, asked: PairingAsked, node_id: str = "", **fields: object) -> None:
        message = PairingAnswered(number=asked.number, node_id=node_id, **fields)  # type: ignore[arg-type]
        self.h.feed(ManagerSaid(message))

    def opened(self, connection: Connection) -> SessionInitAck:
        return self.h.one(connection, SessionInitAck)

    def refusal(self, connection: Connection) -> Error:
        return self.h.one(connection, Error)

    def submit(self, connection: Connection, request_id: str, **fields: object) -> None:
        wanted = {"services": ["nmt"], "src_lang": "en", "tgt_lang": "es", **fields}
        self.h.receive(connection, Submit(request_id=request_id, **wanted), b"x")  # type: ignore[arg-type]
        assert self.h.one(connection, JobAccepted).jobs[0].request_id == request_id


def test_a_session_waits_for_the_managers_word_and_then_prefers_its_owners_node() -> None:
    p = Paired()
    connection = Connection(900)
    p.h.feed(Accepted(connection, Preamble(Role.SESSION, None), "192.0.2.7"))
    p.init(connection, tenant="t")
    asked = p.question()
    assert (asked.code, asked.tenant, asked.session_id) == (CODE, "t", "s-1")
    assert asked.address == "192.0.2.7"
    assert not p.h.take(connection, SessionInitAck)
    p.answer(asked, "node-1")
    assert p.opened(connection).paired_node == "node-1"
    for number in range(4):
        p.submit(connection, f"r{number}", explain=True)
    assert len(p.nodes[1].assignments()) == 4
    p.submit(connection, "r4")
    assert len(p.nodes[0].assignments()) == 1, "with its own node full, another one does"


def test_a_job_that_prefers_a_node_itself_gets_that_one() -> None:
    p = Paired()
    connection = p.h.dial(Role.SESSION)
    p.init(connection)
    p.answer(p.question(), "node-1")
    p.submit(connection, "r", preferred_node="node-0")
    assert len(p.nodes[0].assignments()) == 1


def test_a_wrong_code_is_refused_with_the_reference_and_words_of_the_manager() -> None:
    p = Paired()
    connection = p.h.dial(Role.SESSION)
    p.init(connection, ref=5)
    p.answer(p.question(), code="INVALID_PAIRING_CODE", words="wrong")
    error = p.refusal(connection)
    assert (error.ref, error.error.code, error.error.message) == (
        5,
        "INVALID_PAIRING_CODE",
        "wrong",
    )
    assert ("", "s-1") not in p.h.core.shard.sessions
    p.init(connection)
    p.answer(p.question(), code="RATE_LIMITED", words="slow down", retry_after_ms=900)
    assert p.refusal(connection).error.retry_after_ms == 900


def test_a_resumed_session_stays_paired_without_asking_again() -> None:
    p = Paired()
    connection = p.h.dial(Role.SESSION)
    p.init(connection)
    p.answer(p.question(), "node-1")
    token = p.opened(connection).resume_token
    p.h.feed(Closed(connection))
    for code in (CODE, ""):
        again = p.h.dial(Role.SESSION)
        p.init(again, resume_token=token, pairing_code=code)
        ack = p.opened(again)
        assert (ack.paired_node, ack.resumed) == ("node-1", True)
        assert not p.questions()
        p.h.feed(Closed(again))


def test_a_session_that_starts_anew_without_a_code_is_paired_no_more() -> None:
    p = Paired()
    connection = p.h.dial(Role.SESSION)
    p.init(connection)
    p.answer(p.question(), "node-1")
    other = p.h.dial(Role.SESSION)
    p.init(other, pairing_code="")
    assert p.opened(other).paired_node == ""


def test_another_code_pairs_a_standing_session_anew() -> None:
    p = Paired()
    connection = p.h.dial(Role.SESSION)
    p.init(connection)
    p.answer(p.question(), "node-1")
    token = p.opened(connection).resume_token
    other = p.h.dial(Role.SESSION)
    p.init(other, resume_token=token, pairing_code="00000000")
    p.answer(p.question(), "node-0")
    ack = p.opened(other)
    assert (ack.paired_node, ack.resumed) == ("node-0", True)


def test_a_manager_that_is_away_is_waited_for_two_seconds() -> None:
    p = Paired()
    connection = p.h.dial(Role.SESSION)
    p.init(connection)
    asked = p.question()
    p.h.advance(1.9)
    assert not p.h.take(connection, Error)
    p.h.advance(0.2)
    error = p.refusal(connection).error
    assert (error.code, error.retryable) == (Code.STALE, True)
    p.answer(asked, "node-1")
    assert not p.h.take(connection, SessionInitAck)


def test_a_client_that_left_meanwhile_gets_nothing_and_holds_nothing() -> None:
    p = Paired()
    connection = p.h.dial(Role.SESSION)
    p.init(connection)
    asked = p.question()
    p.h.feed(Closed(connection))
    p.answer(asked, "node-1")
    assert not p.h.core.shard.sessions
    p.answer(asked, "node-1")


def test_a_session_connection_that_asks_twice_gets_one_session() -> None:
    p = Paired()
    connection = p.h.dial(Role.SESSION)
    p.init(connection)
    p.init(connection, ref=1)
    first, second = p.questions()
    p.answer(first, "node-1")
    p.answer(second, "node-1")
    assert p.opened(connection).paired_node == "node-1"
    assert p.refusal(connection).ref == 1


def test_sessions_that_wait_are_bounded() -> None:
    p = Paired()
    connection = p.h.dial(Role.TRUNK)
    for number in range(WAITING_MAX + 1):
        p.init(connection, ref=number, session_id=f"s-{number}")
    error = p.refusal(connection)
    assert (error.ref, error.error.code) == (WAITING_MAX, Code.RATE_LIMITED)
    assert len(p.questions()) == WAITING_MAX
