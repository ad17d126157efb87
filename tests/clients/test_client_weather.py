"""Weather for the client's core: a server that forgets, refuses, stops, and loses connections.

Every submit is answered exactly once; while a request is open it is always sent under one id; and
when the weather ends every request gets its answer.
"""

from collections import Counter
from typing import Any

from client_harness import ClientHarness, S, of, sent
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from pointsman.session_core.events import (
    CancelWished,
    ClientLimits,
    RequestFailed,
    ResultCame,
    SessionEnded,
)
from pointsman_wire.errors import Code
from pointsman_wire.link import Close, Closed, Connection, Dial, Dialled, LoopWasLate
from pointsman_wire.messages import Error, error_info
from pointsman_wire.session_messages import (
    AcceptedJob,
    Cancel,
    GoingAway,
    JobAccepted,
    ResultAck,
    SessionInit,
    Submit,
)

NAMES = st.sampled_from([f"r{n}" for n in range(8)])


class ClientWeather(RuleBasedStateMachine):
    """The reference model: what the server knows, and what each ticket was answered."""

    def __init__(self) -> None:
        super().__init__()
        self.h = ClientHarness(limits=ClientLimits(window_count=3))
        self.dials: list[Dial] = []
        self.open: Connection | None = None
        self.init: SessionInit | None = None
        self.known: dict[str, None] = {}  # request ids that the server runs
        self.taken: set[str] = set()  # of those, the ones it has accepted
        self.numbered = 0
        self.acknowledged = 0
        self.tickets: set[int] = set()
        self.answered: Counter[int] = Counter()

    @initialize()
    def begin(self) -> None:
        self.take(self.h.wish(within_s=None))
        self.let_it_connect()

    def take(self, commands: list[Any]) -> None:
        for answer in of(commands, ResultCame):
            self.answered[answer.ticket] += 1
        for failure in of(commands, RequestFailed):
            self.answered[failure.ticket] += 1
        assert not of(commands, SessionEnded)
        for submit in sent(commands, Submit):
            self.known.setdefault(submit.request_id)
        for ack in sent(commands, ResultAck):
            ((_, number),) = ack.results
            assert self.acknowledged <= number <= self.numbered
            self.acknowledged = number
        for cancel in sent(commands, Cancel):
            assert cancel.request_id
        for init in sent(commands, SessionInit):
            assert self.init is None
            self.init = init
        self.dials += of(commands, Dial)
        for close in of(commands, Close):
            self.gone()
            self.take(self.h.feed(Closed(close.connection, "closed")))

    def gone(self) -> None:
        self.open = self.init = None
        self.taken = set()

    def is_session_open(self) -> bool:
        session = self.h.core.session(1)
        return session is not None and session.number == 1 and self.open is not None

    @rule()
    def let_it_connect(self) -> None:
        if self.dials:
            dial = self.dials.pop()
            self.h._connections += 1
            self.open = self.h.connection = Connection(self.h._connections)
            self.take(self.h.feed(Dialled(self.open, dial.purpose)))

    @rule()
    def let_it_not_connect(self) -> None:
        if self.dials:
            self.take(self.h.refuse_dials([self.dials.pop()]))

    @rule(remembers=st.booleans())
    def answer_the_session(self, remembers: bool) -> None:
        if self.init is None or self.open is None:
            return
        init, self.init = self.init, None
        if not remembers or not init.resume_token:
            self.known.clear()
            self.numbered = self.acknowledged = 0
        answers = {i: "running" if i in self.known else "unknown" for i in init.unfinished}
        resumed = bool(remembers and init.resume_token)
        self.take(self.h.accept(session_number=1, resumed=resumed, unfinished=answers))

    @rule()
    def refuse_the_session(self) -> None:
        if self.init is not None and self.open is not None:
            self.init = None
            info = error_info(Code.RATE_LIMITED, "slowly", retry_after_ms=100)
            self.take(self.h.say(Error(info, ref=1)))

    @rule(name=NAMES, body=st.sampled_from([b"a", b"a", b"b"]))
    def submit(self, name: str, body: bytes) -> None:
        commands = self.h.submit(name, body)
        self.tickets.add(self.h.tickets)
        self.take(commands)

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        waiting = sorted(self.tickets - set(self.answered))
        if waiting:
            self.take(self.h.feed(CancelWished(data.draw(st.sampled_from(waiting)))))

    @rule()
    def accept_all(self) -> None:
        if self.is_session_open() and self.known:
            jobs = [AcceptedJob(session_number=1, request_id=r) for r in self.known]
            self.taken |= set(self.known)
            self.take(self.h.say(JobAccepted(jobs=jobs)))

    @rule(data=st.data())
    def deliver(self, data: st.DataObject) -> None:
        if self.is_session_open() and self.known:
            name = data.draw(st.sampled_from(sorted(self.known)))
            del self.known[name]
            self.taken.discard(name)
            self.numbered += 1
            self.take(self.h.result(name, number=self.numbered))

    @rule(data=st.data(), code=st.sampled_from([Code.QUEUE_FULL, Code.SHUTTING_DOWN]))
    def refuse(self, data: st.DataObject, code: Code) -> None:
        names = sorted(set(self.known) - self.taken)
        if self.is_session_open() and names:
            name = data.draw(st.sampled_from(names))
            del self.known[name]
            error = Error(error_info(code, "no"), session_number=1, request_id=name)
            self.take(self.h.say(error))

    @rule()
    def lose_the_connection(self) -> None:
        if self.open is not None:
            connection = self.open
            self.gone()
            self.take(self.h.lose(connection))

    @rule()
    def forget_the_session(self) -> None:
        if self.is_session_open():
            self.known.clear()
            error = error_info(Code.INVALID_SESSION, "unknown")
            self.take(self.h.say(Error(error, session_number=1)))

    @rule()
    def go_away(self) -> None:
        if self.open is not None:
            self.take(self.h.say(GoingAway(reconnect_after_ms=200)))

    @rule(seconds=st.sampled_from([0.1, 1.0, 40.0]))
    def let_time_pass(self, seconds: float) -> None:
        until_ns = self.h.now_ns + int(seconds * S)
        for _ in range(200):
            due = self.h.core.next_deadline_ns()
            if due is None or due > until_ns:
                break
            self.h.now_ns = max(self.h.now_ns, due)
            self.take(self.h.feed())
        self.h.now_ns = until_ns

    @rule(late_s=st.integers(1, 100))
    def be_late(self, late_s: int) -> None:
        self.h.now_ns += late_s * S
        self.take(self.h.feed(LoopWasLate(late_s * S)))

    @invariant()
    def each_submit_is_answered_at_most_once(self) -> None:
        assert max(self.answered.values(), default=1) == 1
        assert set(self.answered) <= self.tickets
        assert self.h.core.open_requests == len(self.tickets) - len(self.answered)

    def teardown(self) -> None:
        """The weather ends: a good server answers everything that is still open."""
        for _ in range(400):
            if self.tickets == set(self.answered):
                return
            self.let_it_connect()
            self.answer_the_session(True)
            while self.is_session_open() and self.known:
                name = next(iter(self.known))
                del self.known[name]
                self.numbered += 1
                self.take(self.h.result(name, number=self.numbered))
            self.let_time_pass(1.0)
        raise AssertionError(f"never answered: {self.tickets - set(self.answered)}")


TestClientWeather = ClientWeather.TestCase
TestClientWeather.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
