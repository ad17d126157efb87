"""The records of a client: requests in sessions, sessions on links.

Link     one connection to a worker, dialled again when it breaks while a session needs it
Session  WAITING for its link -> OPENING (session_init sent) -> OPEN -> gone
Turn     an utterance, kept with its sound until each of its jobs is answered
Request  kept with its body from the wish until its result or error came, whatever breaks
"""

from enum import Enum
from typing import NamedTuple

import msgspec

from pointsman.backoff import Backoff
from pointsman.secure.elsewhere import Elsewhere
from pointsman.session_core.events import ClientSetup
from pointsman.session_core.timers import Timers
from pointsman_wire.link import Connection
from pointsman_wire.messages import ErrorInfo
from pointsman_wire.preamble import Role
from pointsman_wire.session_messages import Moved, Partial, SessionInit, Submit
from pointsman_wire.talk.talk_messages import AudioChunk, RoomJoin, Utterance


class SessionState(Enum):
    """Where a session is; see the module's picture."""

    WAITING = "waiting"
    OPENING = "opening"
    OPEN = "open"


class NextPartial(NamedTuple):
    """The next partial of a job that is news; another job of the same request begins anew."""

    job_id: str
    attempt: int
    seq: int

    @classmethod
    def after(cls, told: Partial) -> "NextPartial":
        """Return what follows a partial that was told."""
        return cls(told.job_id, told.attempt, told.seq + 1)

    def is_past(self, partial: Partial) -> bool:
        """Is this one older than what was told?"""
        is_older = (partial.attempt, partial.seq) < (self.attempt, self.seq)
        return is_older and partial.job_id == self.job_id


class Request(msgspec.Struct, kw_only=True, eq=False):
    """One submit that has no answer yet."""

    # Its first ticket: what it is called as long as it is open.
    key: int
    handle: int
    submit: Submit
    payload: bytes
    # Who waits for the answer; a submit repeated while the first is open joins it.
    tickets: list[int]
    # Does the server know of it: sent on this connection, or named as running by the server?
    is_sent: bool = False
    # Does it count in its link's window: sent, and not yet accepted or refused?
    is_in_window: bool = False
    is_cancelled: bool = False
    deadline_at_ns: int | None = None
    next_partial: "NextPartial | None" = None
    due: dict[str, int] = {}


class Turn(msgspec.Struct, kw_only=True, eq=False):
    """One utterance that is not wholly answered yet."""

    key: int  # its ticket
    handle: int
    utterance_id: str
    frames: list[tuple[Utterance | AudioChunk, bytes]] = []
    size: int = 0  # of all its payloads
    # How many frames the server was sent, on this connection or one that it took up again.
    sent_count: int = 0
    is_complete: bool = False
    is_cancelled: bool = False
    # Request ids of its jobs as the server told them, and those that have a result or refusal.
    announced: dict[str, None] = {}
    answered: dict[str, None] = {}
    # Of those that are not answered: unknown to the server when the session was taken up again.
    doubted: set[str] = set()
    is_guessed: bool = False  # its own id stands in `announced`, and the server has not said so
    next_partial: "dict[str, NextPartial]" = {}

    def __repr__(self) -> str:
        return f"Turn({self.utterance_id!r}, {self.size} bytes)"

    def open_ids(self) -> list[str]:
        """Which of its jobs are not answered?"""
        return [request_id for request_id in self.announced if request_id not in self.answered]


class Session(msgspec.Struct, kw_only=True, eq=False):
    """One session, over all its connections."""

    handle: int
    init: SessionInit
    link: "Link"
    backoff: Backoff
    state: SessionState = SessionState.WAITING
    number: int = 0
    session_id: str = ""
    resume_token: str = ""
    payload_bytes_max: int = 0
    last_result: int = 0
    requests: dict[str, Request] = {}
    turns: dict[str, Turn] = {}  # utterances by their ids
    room: RoomJoin | None = None  # as it is to be entered on every connection
    # The room is another worker's: go there when what was sent here is answered.
    move: Moved | None = None
    # How many session_inits of this connection are not answered: two, after a late answer.
    asked: int = 0
    # How often it was sent elsewhere without ever opening.
    moves: int = 0
    was_open: bool = False
    is_closing: bool = False
    is_close_sent: bool = False
    has_given_up: bool = False  # closed at once, or as long as a flush may take is over
    # Closed at once: ids of what the server may have and nobody wants any more, and how many of
    # them were cancelled on this connection.
    unwanted: dict[str, None] = {}
    cancelled: int = 0
    # Utterances among them whose jobs the server has not told.
    untold: set[str] = set()
    # Was its owner told that it reads results slowly?
    is_slow: bool = False
    # Why it could not open so far, for the error when time is up.
    trouble: str = ""
    # Ids that the server called ended, and whose results have yet to come.
    doubted: set[str] = set()
    # Ids given up here whose Cancel is not answered on this connection: how many of each.
    given_up: dict[str, int] = {}
    due: dict[str, int] = {}

    def is_awaited(self) -> bool:
        """Does anybody wait for an answer, or is there something to be cancelled yet?"""
        return bool(self.requests or self.turns or self.unwanted)


class Link(msgspec.Struct, kw_only=True, eq=False):
    """One connection at a time to one worker."""

    role: Role
    key: int | None
    backoff: Backoff
    address: str = ""
    elsewhere: Elsewhere = msgspec.field(default_factory=Elsewhere)
    connection: Connection | None = None
    purpose: int | None = None
    sessions: dict[int, Session] = {}
    by_number: dict[int, Session] = {}
    # Requests that wait for the window, by key.
    unsent: dict[int, Request] = {}
    window_count: int = 0
    window_bytes: int = 0
    # Session number -> last result, for the next cumulative acknowledgement.
    unacknowledged: dict[int, int] = {}
    # The worker is stopping: nothing new is submitted here.
    is_leaving: bool = False
    leave_by_ns: int = 0
    interval_ns: int = 0
    beats: int = 0
    heard_at_ns: int = 0
    stood_since_ns: int = 0
    # The last thing that the worker said against the connection as a whole.
    error: ErrorInfo | None = None
    due: dict[str, int] = {}


def forget_number(session: Session) -> None:
    """Let go of the number under which the session's link knows it."""
    link = session.link
    if link.by_number.get(session.number) is session:
        del link.by_number[session.number]
        link.unacknowledged.pop(session.number, None)
    session.number = 0


class Book:
    """Everything a client's core knows, and the commands of the step that runs."""

    def __init__(self, setup: ClientSetup) -> None:
        self.setup = setup
        self.now_ns = 0
        self.out: list[object] = []
        self.timers = Timers()
        self.sessions: dict[int, Session] = {}
        self.requests: dict[int, Request] = {}
        self.turns: dict[int, Turn] = {}  # by ticket
        self.open_bytes = 0
        # Trunks by shard; None is the one whose worker is not known yet.
        self.trunks: dict[int | None, Link] = {}
        self.by_connection: dict[Connection, Link] = {}
        self.by_purpose: dict[int, Link] = {}
        # Links that have something to send at the end of the step.
        self.busy: dict[int, Link] = {}
        # Sessions whose last request may have ended while they wait to be closed.
        self.closing: dict[int, Session] = {}
        # Sessions that may go to their room's worker, once the last answer has come.
        self.moving: dict[int, Session] = {}
        self.worker_count = 0
        self.sessions_made = 0
        self._purposes = 0

    def new_purpose(self) -> int:
        """Return a number for the next dial."""
        self._purposes += 1
        return self._purposes

    def mark_busy(self, link: Link) -> None:
        """Look at this link at the end of the step."""
        self.busy[id(link)] = link

    def look_at_close(self, session: Session) -> None:
        """At the end of the step, see whether this session can be closed."""
        self.closing[session.handle] = session
        self.mark_busy(session.link)

    def check(self) -> None:
        """Assert what must hold after every step."""
        sounds = sum(turn.size for turn in self.turns.values())
        assert self.open_bytes == sounds + sum(len(r.payload) for r in self._open_requests())
        for turn in self.turns.values():
            assert self.sessions[turn.handle].turns[turn.utterance_id] is turn
            assert turn.size == sum(len(payload) for _, payload in turn.frames)
        for ticket, request in self.requests.items():
            assert ticket in request.tickets
            session = self.sessions[request.handle]
            assert session.requests[request.submit.request_id] is request
        for session in self.sessions.values():
            link = session.link
            assert link.sessions[session.handle] is session
            is_open = session.state is SessionState.OPEN
            assert is_open == (link.by_number.get(session.number) is session)
            assert not is_open or link.connection is not None
        for link in {id(s.link): s.link for s in self.sessions.values()}.values():
            assert link.window_count >= 0
            assert link.window_bytes >= 0
            in_window = [r for s in link.sessions.values() for r in s.requests.values()]
            assert link.window_count == sum(r.is_in_window for r in in_window)

    def _open_requests(self) -> list[Request]:
        return [r for s in self.sessions.values() for r in s.requests.values()]
