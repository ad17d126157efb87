"""The shard: everything one worker holds, and the small services its desks share.

Desks (sessions, jobs, lanes) are the functions; this is the state they all write, one step at a
time.  There is no other mutator and no other thread.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import chain

from pointsman_shm.config_live import live_places, with_live
from pointsman_shm.memory.stats_names import Counter, Timing
from pointsman_wire.link import Connection
from pointsman_wire.messages import ErrorInfo
from pointsman_wire.session_messages import Submit
from pointsman_workers.core.held import HeldResults
from pointsman_workers.core.orphans import Orphans
from pointsman_workers.core.outbox import Outbox
from pointsman_workers.core.setup import WorkerSetup
from pointsman_workers.core.state import (
    Hold,
    Job,
    Key,
    Lane,
    Line,
    Lines,
    Orphan,
    Pairing,
    Peer,
    Postponed,
    Session,
    Utterances,
)
from pointsman_workers.core.timers import Timers
from pointsman_workers.core.turns.names import NamedCounts
from pointsman_workers.core.turns.tenants import Tenants
from pointsman_workers.core.turns.waiting import Turn, Waiting
from pointsman_workers.core.window import Window
from pointsman_workers.desks.entrance.crowd import Crowd
from pointsman_workers.explain.recorder import Recorder
from pointsman_workers.journal.book import JournalBook
from pointsman_workers.journal.entries import RecoveredResult
from pointsman_workers.journal.withheld import WithheldResults
from pointsman_workers.operating.reasons import ReasonCounts
from pointsman_workers.placement.fleet import Fleet
from pointsman_workers.placement.kinds import Kinds
from pointsman_workers.talk.hooks import Watcher
from pointsman_workers.talk.nouns import Hearing, Room, Said

Timed = Job | Session | Lane | Orphan | Pairing | Line | Utterances | Hearing | Room | Postponed
ID_POOL_BYTES = 4096
JOB_ID_BYTES = 16
_DECISIONS = Counter.DECISIONS.value
MILLISECOND_NS = 1_000_000
SECOND_NS = 1_000_000_000
PING_NS = SECOND_NS
_ACCEPTED, _COMPLETED = Counter.JOBS_ACCEPTED.value, Counter.JOBS_COMPLETED.value
_SESSION_HITS, _POOL_HITS = Counter.SESSION_HITS.value, Counter.POOL_HITS.value
_ATTEMPTS_OK, _RESERVES_OK = Counter.POOL_ATTEMPTS_OK.value, Counter.RESERVE_OK.value


class Shard:
    """The state of one dispatcher worker."""

    # More than 30 fields in a dict are looked for by name, each time that one is read.
    __slots__ = (
        *("setup", "config", "worker_index", "worker_count", "_live", "ack_ns", "timeout_ns"),
        *("now_ns", "started_ns", "is_settled", "is_stopping", "is_drained", "shelved"),
        *("peers", "sessions", "crowd", "names", "tenants", "session_placed", "talks", "talk"),
        *("fleet", "kinds", "lanes", "lanes_by_connection", "rows_by_node", "distant_count"),
        *("waiting", "wanted_by_others", "rows_wanted", "ready_lines", "freed_rows", "strays"),
        *("window", "withheld", "held", "orphans", "job_ids", "journal", "recorder", "timers"),
        *("open_job_count", "last_dispatch", "last_arrival", "last_session", "outbox", "reasons"),
        *("tally", "accepted_count", "completed_count", "assigned_at_once", "assigned_count"),
        *("decisions_ns", "count", "observe", "lines"),
    )

    def __init__(self, setup: WorkerSetup) -> None:
        self.setup, memory, jobs = setup, setup.memory, setup.config.jobs
        self._live = b""  # what the manager said last of keys that change while this worker runs
        # As this process began, with the manager's word for what may change while it runs.
        self.config, self.now_ns, self.started_ns = setup.config, 0, -1
        self._set_times()
        index = self.worker_index = setup.worker_index
        self.worker_count, words = setup.worker_count, memory.waiting
        self.job_ids = _job_ids(setup.entropy)
        self.outbox, self.reasons = Outbox(), ReasonCounts()
        self.fleet = Fleet(memory, seed=int.from_bytes(setup.entropy(8), "little"))
        self.kinds = Kinds(self.fleet.config)
        self.recorder = Recorder(self.fleet, setup.config.explain.bytes_max)
        self.timers, self.lines = Timers[Timed](), Lines()
        self.journal = JournalBook(setup.config.journal, setup.journal)
        self.withheld, self.held = WithheldResults(self.outbox), HeldResults(jobs.window_jobs_max)
        self.window = Window(jobs, self._left_window)
        own_words = words.own(index)
        names = self.names = NamedCounts(words, own_words, index, setup.ticket_key)
        self.tenants = Tenants(setup.config.tenants, words, own_words, index, names)
        self.waiting = Waiting(words, own_words, index, setup.config.limits, self.tenants)
        self.peers: dict[Connection, Peer] = {}
        self.sessions: dict[tuple[str, str], Session] = {}
        self.crowd = Crowd(setup.config.sessions, setup.config.limits, names)
        self.lanes: dict[int, Lane] = {}  # by row
        self.distant_count = 0  # of them, those of other instances' nodes
        self.rows_by_node = self.fleet.rows_by_node
        self.lanes_by_connection: dict[Connection, Lane | None] = {}  # None: not opened yet
        self.orphans = Orphans()
        # What nodes run and nobody waits for, until it stops; and whose session waits for that.
        self.strays: dict[Hold, tuple[str, str]] = {}
        self.freed_rows: dict[int, None] = {}  # rows on which a slot was freed in this step
        self.ready_lines: dict[Line, None] = {}  # of serial sessions in which something has ended
        self.open_job_count = self.last_dispatch = self.last_arrival = self.last_session = 0
        self.is_stopping = self.is_drained = False  # drained: an operator's wish, reversible
        # Jobs that wait when this worker stops: the journal has them for the shard's next life.
        self.shelved: list[Job] = []
        # Until the nodes have reported what they run from before, a repeated request waits.
        self.is_settled = False
        # What is counted with every job, by the number of its Counter; told with the next chores.
        self.tally, self.accepted_count, self.completed_count = self.fleet.tally, 0, 0
        self.assigned_at_once = 0  # jobs that this step has assigned and accepted,
        self.assigned_count = 0  # and steps before it, since that was told
        self.decisions_ns: list[int] = []  # what each decision took, since that was told
        self.count, self.observe = memory.stats.add, memory.stats.observe
        self.fleet.time_sessions(setup.stopwatch, memory.stats)
        self.talks: dict[Key, Said] = {}  # jobs of utterances that have not been told,
        self.talk = Watcher()  # and who is told what becomes of them
        self._be_alone()
        self.follow(self.fleet.config.live)

    def _be_alone(self) -> None:
        """What takes other instances to be there, for which Redis is needed."""
        # A slot of a row is free, and whose turn it would be here: did a borrower get it?
        self.wanted_by_others: Callable[[int, Turn | None, bool], bool] | None = None
        # Which rows of this class have a free slot that a borrower wants?
        self.rows_wanted: Callable[[int], Iterable[int]] | None = None
        # Told of each session whose job has got its node.
        self.session_placed: Callable[[Session], None] | None = None

    @property
    def is_traced(self) -> bool:
        """Is a collector told of ended jobs?"""
        return bool(self.config.otel.endpoint)

    def follow(self, live: bytes) -> None:
        """Take up what the manager says of keys that may change while this worker runs."""
        if not live or live == self._live:
            return
        self._live = live
        config = self.config = with_live(self.setup.config, live)
        self._set_times()
        self.waiting.relist(config.tenants, live_places(live, config.tenants.listed))
        self.waiting.configure(config.limits)
        self.crowd.configure(config.sessions, config.limits)
        self.kinds.read_anew()

    def _set_times(self) -> None:
        jobs = self.config.jobs
        self.ack_ns = int(jobs.ack_s * SECOND_NS)
        self.timeout_ns = int(jobs.timeout_s * SECOND_NS)

    def file(self, entry: Timed, deadline_ns: int) -> None:
        """See to it that the entry's timer fires no later than this; an earlier one is kept."""
        if entry.filed_ns and entry.filed_ns <= deadline_ns:
            return
        entry.filed_ns = deadline_ns
        self.timers.file(deadline_ns, entry)

    def due(self) -> list[Timed]:
        """Take out the entries whose time has come; those filed anew or ended are left."""
        found = []
        for entry in self.timers.due(self.now_ns):
            if 0 < entry.filed_ns <= self.now_ns:
                entry.filed_ns = 0
                found.append(entry)
        return found

    def watch(self, lane: Lane) -> None:
        """Have the lane looked at within a second, as long as jobs are on it."""
        due_ns = self.now_ns + PING_NS
        if not 0 < lane.filed_ns <= due_ns:
            self.file(lane, due_ns)

    def free(self, hold: Hold) -> None:
        """Release the slot of a hold, once."""
        lane = hold.lane
        if lane.holds.pop((hold.epoch, hold.dispatch), None) is not None:
            self.give_back(hold)

    def give_back(self, hold: Hold) -> None:
        """Release the slot of a hold that was taken off its lane."""
        if self.strays:
            self.strays.pop(hold, None)
        if hold.line is not None:
            hold.line.holds -= 1
            self.ready_lines[hold.line] = None
            hold.line = None
        if not hold.has_slot:
            return
        row = hold.lane.row
        self.freed_rows[row] = None
        if not self.fleet.release(row):
            self.count(Counter.LEDGER_UNDERFLOW)

    def tell_refused(
        self, session: Session | None, submit: Submit, error: ErrorInfo, told_on: Connection
    ) -> None:
        """A submit gets no job, and that was told; if it was an utterance, talk is to know."""
        if error.breakdown is None:  # one with it is counted where it is made
            self.reasons.note_refused(self.now_ns, error, submit.request_id)
        if session is not None and self.talks:
            key = (session.tenant, session.session_id, submit.request_id)
            if key in self.talks:
                self.talk.refused(key, error, told_on)

    def tell_tally(self) -> None:
        """Put on the page what was counted since the last time."""
        stats, fleet, tally = self.setup.memory.stats, self.fleet, self.tally
        if self.decisions_ns:
            tally[_DECISIONS] += len(self.decisions_ns)
            stats.observe_all(Timing.DECISION, self.decisions_ns)
            self.decisions_ns.clear()
        tally[_ACCEPTED] += self.accepted_count
        tally[_COMPLETED] += self.completed_count
        tally[_SESSION_HITS] += fleet.hit_count
        tally[_POOL_HITS] += fleet.hit_count
        tally[_ATTEMPTS_OK] += fleet.sampled_count
        tally[_RESERVES_OK] += tally[_ATTEMPTS_OK]  # each has reserved one slot
        self.accepted_count = self.completed_count = fleet.hit_count = fleet.sampled_count = 0
        stats.add_tally(tally)
        tally.clear()
        if self.assigned_count:
            stats.observe(Timing.SUBMIT_TO_ASSIGN, 0, self.assigned_count)
            self.assigned_count = 0

    def _left_window(self, job: Job | RecoveredResult) -> None:
        """Nobody can ask for the job any more: neither journal nor node need to keep it."""
        if isinstance(job, RecoveredResult):
            self.journal.forgotten(job.segment, job.kept.job)
        else:
            if self.held.count:
                self.held.left_window(self.sessions.get(job.key[:2]), job)
            if self.withheld.release(job) and job.segment:
                self.journal.ended(job, is_forgotten=True)
            self.journal.forgotten(job.segment, job.arrival)

    def let_go(self, job: Job) -> None:
        """The client has a result, or has left without it: its node may forget it."""
        if not self.withheld.release(job) or not job.segment:
            return
        # Its key stays taken, with or without its output: what was read must not run again.
        if not self.journal.ended_whole(job):
            job.is_result_gone = True
            self.journal.ended(job, is_forgotten=False)


def _job_ids(entropy: Callable[[int], bytes]) -> Iterator[str]:
    """Return ids for ever: 122 and more random bits each, as 32 hex digits."""
    return chain.from_iterable(
        iter(lambda: entropy(ID_POOL_BYTES).hex(" ", JOB_ID_BYTES).split(), [])
    )
