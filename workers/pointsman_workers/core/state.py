"""The nouns of a shard: peers, sessions, jobs, lanes, and the slots that jobs hold.

Only the core changes them, inside `step`.  Instants are the core's nanoseconds.  What nearly always
stands already is looked at first where every job comes by: to set a field costs twice as much.
"""

from collections import OrderedDict, deque
from enum import Enum, StrEnum
from weakref import WeakValueDictionary

import msgspec

from pointsman_shm.rules.languages import normalise, normalise_all
from pointsman_shm.rules.session_pool import PoolDecision, SessionBinding
from pointsman_shm.tokens.judging import Scope
from pointsman_wire.coordination.requests import SessionNotes
from pointsman_wire.errors import Code
from pointsman_wire.lane_messages import (
    Assign,
    JobRefused,
    NodePartial,
    NodeProgress,
    NodeResult,
    TurnAsk,
)
from pointsman_wire.link import Connection
from pointsman_wire.session_messages import (
    MissingResult,
    Placement,
    Result,
    SessionInit,
    Submit,
)
from pointsman_workers.core.lifecycle import FIRST_TERMINAL, JobState
from pointsman_workers.fields import plainly_set
from pointsman_workers.journal.entries import JobDispatched, RecoveredResult
from pointsman_workers.placement.kinds import Kind, Round, Terms
from pointsman_workers.placement.trail import NO_ROW
from pointsman_workers.sharing.keys.bond import Bond
from pointsman_workers.sharing.nodes.nouns import Guest, Link

Key = tuple[str, str, str]  # tenant, session id, request id
LINE_MAX = 1_000_000  # far above sessions.pending_results_max, which bounds it


@plainly_set
class Peer(msgspec.Struct, eq=False, kw_only=True):
    """A client's connection: one session, or a trunk of many."""

    connection: Connection
    is_trunk: bool
    address: str = ""  # where it dialled from, without the port
    sessions: dict[int, "Session"] = {}
    is_tls: bool = False
    must_prove: bool = False  # without a token it gets no session
    has_asked: bool = False  # for one: it has sent session_init
    is_congested: bool = False  # too much waits for it to read: results are held
    next_number: int = 0


@plainly_set
class Session(msgspec.Struct, eq=False, kw_only=True):
    """One client conversation; it outlives its connection by the resume window."""

    tenant: str
    session_id: str
    resume_token: str
    peer: Peer | None  # None while the client is away
    number: int = 0  # its small number on the peer
    serial: int = 0  # its number in the journal, never used twice
    segment: int = 0  # of the journal, where it stands; 0 = nowhere
    order: str = "free"
    src_lang: str = ""
    tgt_lang: str = ""
    auto_langs: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    token_id: str = ""  # of the token by which its client came in, "" for none
    scopes: Scope = Scope.ALL
    may_read: bool = True  # Scope.READ is among them
    trace_id: str = ""  # of its jobs that name none
    terms: Terms | None = None  # of its last request, as long as nothing of its own has changed
    binding: SessionBinding | None = None
    last_node_id: str = ""
    paired_node: str = ""  # its owner's node, preferred by jobs that prefer none themselves
    pairing_code: str = ""  # by which it was paired, spent; set exactly with paired_node
    last_row: int = NO_ROW  # where its last job went, and when: for spread
    last_placed_ns: int = 0
    pins: dict[tuple[str, ...], tuple[int, int]] = {}  # types -> (row, generation): for sticky
    # With Redis: what is known of it there, and pins to nodes that have not been needed yet.
    noted: SessionNotes | None = None
    noted_pins: dict[tuple[str, ...], str] = {}
    open_jobs: dict[str, "Job"] = {}
    binding_count: int = 0  # with Redis: submits whose key is being bound, not jobs yet
    # Results that were sent on its connection and are not acknowledged, by number, ascending.
    unread: dict[int, "Job"] = {}
    unread_bytes: int = 0
    # Those after them, which have yet to be sent, by number, ascending; None: there are none.
    held: "OrderedDict[int, Job | MissingResult] | None" = None
    copies_bytes: int = 0  # of what is held: results of others that it hears
    forgotten: int = 0  # so many more were held until the window forgot them
    is_told_waiting: bool = False  # has the client been told that results are held?
    next_result: int = 1
    line: "Line | None" = None  # set exactly when its order is serial
    utterances: "Utterances | None" = None  # set exactly when its order is utterance
    read: int = 0  # results up to this number have been read
    # Ended before this worker was born: whether they were read, the client tells on resume.
    restored: list[RecoveredResult] = []
    # Request ids that the client named as unfinished and we did not know: they may still run.
    repeats: set[str] = set()
    touched_at_ns: int = 0
    filed_ns: int = 0
    is_closing: bool = False  # set once session_close asked for a flush
    is_closed: bool = False

    def take_wishes(self, message: SessionInit) -> None:
        """What its jobs want that say nothing else counts as its client says it last."""
        is_auto = message.mode != "one_way" or normalise(message.src_lang) == "auto"
        self.src_lang = "auto" if is_auto else message.src_lang
        self.tgt_lang = message.tgt_lang
        narrowed = message.auto_langs or [lang for lang in (message.lang_a, message.lang_b) if lang]
        self.auto_langs = normalise_all(narrowed)
        self.features = tuple(sorted(set(message.features)))
        self.trace_id = message.trace_id
        self.terms = None


def listening(session: Session) -> Peer | None:
    """Return the connection of a client that may be told what becomes of its jobs."""
    return session.peer if session.may_read else None


# Real connections count up from 1, those of other instances' nodes down from -1.
NOBODY = Connection(0)


def away(session: Session, number: int) -> Peer:
    """Return the connection of a client that has none: what it is told is told to nobody."""
    return Peer(connection=NOBODY, is_trunk=False, sessions={number: session})


class Line(msgspec.Struct, eq=False, kw_only=True, weakref=True):
    """The jobs of a serial session: one at a time, in order of acceptance.

    A session of the same id that comes after one that has ended goes on with its line.
    """

    whose: tuple[str, str]  # tenant and session id
    jobs: "deque[Job]" = msgspec.field(default_factory=lambda: deque(maxlen=LINE_MAX))
    current: "Job | None" = None  # whose turn it is
    holds: int = 0  # dispatches of any of its jobs that a node may still be at work on
    sure_at_ns: int = 0  # until then a node that was lost may be, too
    filed_ns: int = 0


# By tenant and session id, as long as a session, a job, a hold or a timer has the line.
Lines = WeakValueDictionary[tuple[str, str], Line]


class Utterances(msgspec.Struct, eq=False, kw_only=True):
    """The results of an utterance session: told in the order of their indices."""

    session: Session
    next_index: int = -1  # of the result that is to be told next; -1: nothing was submitted yet
    last_index: int = -1  # the highest that was submitted
    is_begun: bool = False  # was a result told?
    open: dict[int, int] = {}  # index -> how many of its jobs have not ended
    held: "dict[int, list[Job]]" = {}  # ended jobs that wait for those before them
    held_since_ns: dict[int, int] = {}  # by index
    held_count: int = 0
    held_bytes: int = 0
    # Told and not acknowledged, by their number among the session's results.
    missing: dict[int, MissingResult] = {}
    filed_ns: int = 0


class Pairing(msgspec.Struct, eq=False, kw_only=True):
    """A session that is opened once the manager has looked up its pairing code."""

    peer: Peer
    message: SessionInit  # with its session id
    number: int  # of the question
    filed_ns: int = 0


class Postponed(msgspec.Struct, eq=False, kw_only=True):
    """A session_init from an address that was wrong too often: it is looked at later."""

    peer: Peer
    message: SessionInit
    filed_ns: int = 0


@plainly_set
class Job(msgspec.Struct, eq=False, kw_only=True, gc=False):
    """One piece of work; `state` changes only by the table of lifecycle.

    The garbage collector does not look at jobs, of which there are hundreds of thousands: what
    they refer to in circles (hold, session) is cut when they end.
    """

    job_id: str
    key: Key
    session: Session
    submit: Submit  # forgotten, as is the payload, when the job ends
    payload: bytes
    body: int  # length and crc32 of the payload: what a repeat must equal
    kind: Kind
    arrival: int  # counts up, over all lives of the shard: the order of acceptance
    accepted_at_ns: int
    durability: str = "memory"
    timeout_ns: int = 0  # of one attempt
    favoured: tuple[Kind, ...] = ()  # kinds that ask for its preferred labels as well, best first
    is_choosy: bool = True  # False: it never failed, and would go wherever others of its kind do
    usual: Assign | None = None  # what assignments of such jobs have in common, once it is known
    # So far what each new job is made with: fields that are named are looked for in this order.
    segment: int = 0  # of the journal, the oldest that has something of it; 0 = not in it
    is_safe: bool = True  # False: its acceptance waits for the disk
    is_end_safe: bool = True  # False: it has ended, and its result waits for the disk
    state: JobState = JobState.PENDING
    attempt: int = 0
    failovers: int = 0
    hold: "Hold | None" = None  # set exactly while DISPATCHED or RUNNING
    # A second dispatch of the attempt, on another node: the first result of the two counts.
    hedge: "Hold | None" = None  # only while `hold` is set
    hedge_at_ns: int = 0  # when that may be made, 0 = not
    is_hedged: bool = False  # one was made
    is_counted: bool = False  # among the open jobs of a tenant that may have so many
    is_queued: bool = False  # set exactly while it stands in the waiting queue
    line: Line | None = None  # in which it was accepted, if its session was serial then
    is_lined: bool = False  # waits there for what came before it
    filed_ns: int = 0  # deadline of its entry in the timers, 0 = none; never later than it is due
    wait_until_ns: int = 0  # meaningful while PENDING: then it expires
    ends_at_ns: int = 0  # the client's deadline for the whole job, 0 = none
    placement_ns: int = 0
    queued_ns: int = 0
    capacity_refusals: int = 0
    # Ids, which outlive rows: where an attempt failed, or there was no room after all.  They are
    # left out of the next choice, unless nobody else can do it.
    failed_nodes: tuple[str, ...] = ()
    blamed_on: tuple[str, ...] = ()  # nodes on which the job itself has failed, each once
    crash_count: int = 0  # how many of them went down with it
    round: Round | None = None  # its own search, when it has rows of its own to avoid
    decision: PoolDecision | None = None  # the last of its session decisions; None: single-level
    is_preferred_busy: bool = False  # the node it prefers could do it, and had no room
    reasons: tuple[str, ...] = ()  # of each failed attempt, oldest first
    placement: Placement | None = None
    result: Result | None = None  # set exactly while terminal
    output: bytes = b""
    extra_bytes: int = 0  # what its result takes beside the output, of what applications say
    is_result_gone: bool = False  # the journal knows of the end, and has no output of it
    ended_at_ns: int = 0
    dispatched: JobDispatched | None = None  # as the journal has it last, while it is open
    is_own: bool = False  # made by this worker for itself: nobody can ask for it
    bond: Bond | None = None  # how it stands to its key in the fleet; None: there is no Redis

    def __repr__(self) -> str:
        """Its payload may be what somebody said: it shows in no trace and no log."""
        return f"Job({self.job_id!r}, {self.state.name}, {len(self.payload)} bytes)"

    @property
    def is_followed(self) -> bool:
        """Does another instance run it?"""
        return self.bond is not None and self.bond.is_following

    @property
    def is_open(self) -> bool:
        """Is it in no terminal state yet?"""
        return self.state < FIRST_TERMINAL

    @property
    def is_beyond_telling(self) -> bool:
        """Has it ended with an output that nobody has any more?"""
        return self.is_result_gone and not self.output


@plainly_set
class Hold(msgspec.Struct, eq=False, kw_only=True, gc=False):
    """A slot of a node that this worker holds for one dispatch of a job.

    It is released once: by the node's result or refusal, by its report without the job, or by
    the node's end.  A hold whose job went elsewhere is `cancelling` and still counts.
    """

    lane: "Lane"
    # None: given up, a guest, or an orphan that a node reported and no client has named yet.
    job: Job | None
    job_id: str
    epoch: int
    dispatch: int
    number: int = 0  # of the assignment on the lane's connection
    is_cancelling: bool = False
    has_slot: bool = True  # False: the node has ended it and only holds its result
    is_started: bool = False  # the node acknowledged
    line: Line | None = None  # of a serial session, until it is certain that the node is done
    sent_at_ns: int = 0  # 0: before this worker was born
    alive_at_ns: int = 0  # when it started or last made progress
    guest: Guest | None = None  # whose it is, when it came from another instance
    # Its tenant was charged a turn here for a node of another instance, which may have no slot.
    is_our_turn: bool = False


@plainly_set
class Lane(msgspec.Struct, eq=False, kw_only=True):
    """A node as this worker reaches it; it outlives its connection by the grace period.

    One of another instance is reached over a link; its connection is then a virtual one.
    """

    node_id: str
    row: int
    generation: int
    epoch: int
    connection: Connection | None
    is_up: bool = False  # the node has reported: jobs may go
    lost_at_ns: int = 0  # meaningful while connection is None
    filed_ns: int = 0
    next_assignment: int = 1
    unacknowledged: deque[Hold] = msgspec.field(default_factory=lambda: deque(maxlen=65_536))
    holds: dict[tuple[int, int], Hold] = {}  # by (epoch, dispatch)
    last_result: int = 0  # highest result number read on this connection
    withheld: dict[int, None] = {}  # results read but not acknowledged yet
    untold_bytes: int = 0  # of results that it does not know to be safe yet
    ping_number: int = 0
    pong_number: int = 0
    asked_at_ns: int = 0  # when the oldest ping was sent that has no answer
    last_read: int = 0  # highest assignment the node said it has read
    is_stuck: bool = False  # its node does not answer, or takes no assignment: no more of them
    read_at_ns: int = 0  # when last_read moved last
    is_leaving: bool = False  # it drains: that it goes is no job's fault
    link: Link | None = None  # set exactly when the node is another instance's
    full_until_ns: int = 0  # its home had no room for us: until then it gets nothing, 0 = it may
    full_count: int = 0  # how often that was so in a row
    is_offered: bool = False  # its home has a slot for us, in its order: for who is placed just now

    def hold_of(self, message: JobRefused | NodePartial | NodeProgress | TurnAsk) -> Hold | None:
        """Return the dispatch that the node speaks of, None also when that is not of this job."""
        hold = self.holds.get((message.epoch, message.dispatch))
        return hold if hold is not None and hold.job_id == message.job_id else None


class Orphan(msgspec.Struct, eq=False, kw_only=True):
    """A job that a node runs or has ended, from before this worker was born.

    It waits for its client to repeat the request; then it is that job.
    """

    hold: Hold
    key: Key
    until_ns: int
    filed_ns: int = 0
    # What the node said of it before its client came.
    result: NodeResult | None = None
    payload: bytes = b""


class Cause(StrEnum):
    """Why an attempt was given up."""

    NO_ACK = "no_ack"  # the node did not acknowledge in time
    NO_RESULT = "no_result"  # the attempt's time is over
    NODE_LOST = "node_lost"  # the node is gone, or has lost what it ran
    NODE_REFUSAL = "node_refusal"  # the node did not start it
    NODE_ERROR = "node_error"  # the node failed it with an error that may help elsewhere
    LANE_BROKEN = "lane_broken"  # it never arrived: its lane broke on the way


class Blame(Enum):
    """What an attempt's end says of the job."""

    NONE = 0
    FAILED = 1  # the job ran and failed
    CRASHED = 2  # the node went down with it


class Failure(msgspec.Struct, frozen=True):
    """The end of an attempt without a result; `code` is what the client gets if it is the last."""

    cause: Cause
    reason: str
    code: Code
    blame: Blame = Blame.NONE
    excludes_node: bool = True
