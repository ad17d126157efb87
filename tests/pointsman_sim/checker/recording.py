"""A history in order, and what can be told from it about each job, node and fault.

Facts of one recorder come in the order of its clock; those of different recorders are merged by
their instants, which is sound on one machine.  Nothing here judges.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from pointsman.recording.facts import Fact, decode_fact
from pointsman_sim.checker.verdicts import LEVELS

Fence = tuple[str, int, int, int]  # instance uid, shard, epoch, dispatch
JobKey = tuple[str, str, str]  # tenant, session, request


class HistoryError(Exception):
    """A history cannot be read: which file and line, and why."""


class Attempt(msgspec.Struct, kw_only=True, eq=False):
    """One dispatch of a job as one life of a node saw it."""

    who: str
    life: int
    node: str
    job_id: str
    key: JobKey
    fence: Fence
    number: int
    read_at_ns: int
    started_at_ns: int | None = None
    # None while it runs, and for ever if its node died with it.
    ended_at_ns: int | None = None
    status: str = ""
    # It was asked to stop; a second end is a fault of the node.
    is_stopping: bool = False
    ends: int = 0

    def is_later_than(self, other: "Attempt") -> bool:
        """Was it issued after that one?  Only fences of one issuer can be compared."""
        return self.fence[:2] == other.fence[:2] and self.fence[2:] > other.fence[2:]


class Job(msgspec.Struct, kw_only=True, eq=False):
    """One job as its client and its nodes saw it."""

    job_id: str
    session: str = ""
    request: str = ""
    who: str = ""
    level: str = ""
    window_s: float = 0.0
    accepted_at_ns: int | None = None
    # When the submit that this accepts was sent: the worker accepted it some time since.
    asked_at_ns: int = 0
    # Its first acceptance never came: when it was accepted nobody knows.
    is_told_late: bool = False
    cancelled_at_ns: int | None = None
    missing: Fact | None = None
    results: list[Fact] = []
    # Its worker says that it has ended; its client may never hear of it.
    is_over: bool = False
    attempts: list[Attempt] = []


class Strike(msgspec.Struct, kw_only=True, eq=False):
    """One fault; it lasts for the seconds that its fact tells, or until it was healed."""

    fact: Fact
    proofs: list[Fact] = []
    healed_at_ns: int | None = None

    @property
    def until_ns(self) -> int:
        """Return when its harm was over."""
        told_ns = self.fact.at_ns + int(self.fact.seconds * 1e9)
        return told_ns if self.healed_at_ns is None else max(told_ns, self.healed_at_ns)


def load(paths: Iterable[Path]) -> list[Fact]:
    """Read histories; a torn last line, of a writer that was killed, is left out.

    Raises HistoryError, OSError.
    """
    return [fact for path in paths for fact in _facts_of(path)]


def _facts_of(path: Path) -> Iterator[Fact]:
    *lines, torn = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines, 1):
        try:
            yield decode_fact(line)
        except msgspec.DecodeError as error:
            raise HistoryError(f"{path}, line {number}: {error}") from None
    if not torn:
        return
    try:
        yield decode_fact(torn)
    except msgspec.DecodeError:
        return


class Recording:
    """Everything that was recorded, sorted, with its index."""

    def __init__(self, facts: Iterable[Fact]) -> None:
        self.facts: Sequence[Fact] = sorted(facts, key=lambda fact: fact.at_ns)
        self.jobs: dict[str, Job] = {}
        self.accepted: list[Job] = []  # in the order in which their clients were told
        # In the order in which their clients first heard of them.
        self.jobs_of_request: dict[tuple[str, str], list[Job]] = {}
        self.attempts: list[Attempt] = []
        self.submits: dict[tuple[str, str], Fact] = {}  # the first of each session and request
        self.connects: dict[str, Fact] = {}  # the first of each session
        self.begins: dict[str, int] = {}  # the last life of each recorder
        self.strikes: list[Strike] = []
        self.rest_at_ns: int | None = None
        self.is_full = False
        self.instance_count = 1  # services that share a fleet, as who started them says
        self._asked_at_ns: dict[tuple[str, str], int] = {}
        self._asked_count: Counter[tuple[str, str]] = Counter()
        self._lives: dict[str, int] = {}
        self._running: dict[tuple[str, int, str, Fence], Attempt] = {}
        notes = {
            "begin": self._begin,
            "submit": self._submit,
            "accepted": self._accepted,
            "result": self._result,
            "missing": self._missing,
            "cancel": self._cancel,
            "connect": lambda f: self.connects.setdefault(f.session, f),
            "read": self._read,
            "started": self._started,
            "ended": self._ended,
            "stopping": self._stopping,
            "fault": self._fault,
            "proof": self._proof,
            "healed": self._healed,
            "rest": self._rest,
            "full": self._full,
            "instances": self._instances,
        }
        for fact in self.facts:
            if (note := notes.get(fact.what)) is not None:
                note(fact)

    def of(self, *what: str, by: str = "") -> Iterator[Fact]:
        """Return the facts that say this, in order."""
        return (f for f in self.facts if f.what in what and by in ("", f.by))

    # ---- index

    def _begin(self, fact: Fact) -> None:
        self._lives[fact.who] = self._lives.get(fact.who, 0) + 1
        self.begins[fact.who] = fact.at_ns

    def _submit(self, fact: Fact) -> None:
        self.submits.setdefault((fact.session, fact.request), fact)
        self._asked_at_ns[fact.session, fact.request] = fact.at_ns
        self._asked_count[fact.session, fact.request] += 1

    def _job(self, fact: Fact) -> Job:
        job = self.jobs.get(fact.job_id)
        if job is None:
            job = self.jobs[fact.job_id] = Job(job_id=fact.job_id)
        if fact.by == "client":
            job.session, job.request = fact.session, fact.request
        return job

    def _accepted(self, fact: Fact) -> None:
        job = self._job(fact)
        job.who = fact.who
        if job.accepted_at_ns is None:
            job.accepted_at_ns, job.level, job.window_s = fact.at_ns, fact.level, fact.seconds
            job.asked_at_ns = self._asked_at_ns.get((fact.session, fact.request), fact.at_ns)
            is_repeated = self._asked_count[fact.session, fact.request] > 1
            job.is_told_late = is_repeated or fact.status == "duplicate"
            self.accepted.append(job)
            self._belongs_to_request(job)

    def _result(self, fact: Fact) -> None:
        job = self._job(fact)
        job.results.append(fact)
        if fact.by == "client":
            self._belongs_to_request(job)  # whose acceptance may never have come

    def _belongs_to_request(self, job: Job) -> None:
        heard = self.jobs_of_request.setdefault((job.session, job.request), [])
        if job not in heard:
            heard.append(job)

    def _missing(self, fact: Fact) -> None:
        self._job(fact).missing = fact

    def _cancel(self, fact: Fact) -> None:
        if fact.job_id:
            self._job(fact).cancelled_at_ns = fact.at_ns

    def _read(self, fact: Fact) -> None:
        job = self._job(fact)
        fence = (fact.uid, fact.shard, fact.epoch, fact.dispatch)
        attempt = Attempt(
            who=fact.who,
            life=self._lives.get(fact.who, 0),
            node=fact.node,
            job_id=fact.job_id,
            key=(fact.tenant, fact.session, fact.request),
            fence=fence,
            number=fact.attempt,
            read_at_ns=fact.at_ns,
        )
        job.attempts.append(attempt)
        self.attempts.append(attempt)
        self._running[attempt.who, attempt.life, attempt.job_id, fence] = attempt

    def attempt_of(self, fact: Fact) -> Attempt | None:
        """Return the attempt that a node's fact is about."""
        fence = (fact.uid, fact.shard, fact.epoch, fact.dispatch)
        return self._running.get((fact.who, self._lives.get(fact.who, 0), fact.job_id, fence))

    def _started(self, fact: Fact) -> None:
        attempt = self.attempt_of(fact)
        if attempt is not None and attempt.started_at_ns is None:
            attempt.started_at_ns = fact.at_ns

    def _ended(self, fact: Fact) -> None:
        if fact.by == "worker":
            self._job(fact).is_over = True
            return
        attempt = self.attempt_of(fact)
        if attempt is not None:
            attempt.ends += 1
            attempt.ended_at_ns, attempt.status = fact.at_ns, fact.status

    def _stopping(self, fact: Fact) -> None:
        attempt = self.attempt_of(fact)
        if attempt is not None:
            attempt.is_stopping = True

    def _fault(self, fact: Fact) -> None:
        self.strikes.append(Strike(fact=fact))

    def _proof(self, fact: Fact) -> None:
        for strike in self._strikes_of(fact):
            strike.proofs.append(fact)

    def _strikes_of(self, fact: Fact) -> list[Strike]:
        return [s for s in self.strikes if s.fact.number == fact.number]

    def _healed(self, fact: Fact) -> None:
        for strike in self._strikes_of(fact):
            strike.healed_at_ns = fact.at_ns

    def _rest(self, fact: Fact) -> None:
        self.rest_at_ns = fact.at_ns

    def _full(self, fact: Fact) -> None:
        self.is_full = True

    def _instances(self, fact: Fact) -> None:
        self.instance_count = fact.number

    # ---- questions

    def shard_of(self, session: str) -> int:
        """Return which worker a session belongs to, as the server said; -1 when it did not."""
        connect = self.connects.get(session)
        return connect.shard if connect is not None else -1

    def losses(self, level: str, shard: int) -> list[Fact]:
        """Return the faults that jobs of this level and shard need not survive."""
        rank = LEVELS.get(level, 0)
        return [
            strike.fact
            for strike in self.strikes
            if LEVELS.get(strike.fact.level, 0) > rank
            and (strike.fact.shard in (-1, shard) or shard == -1)
        ]

    def is_lost(self, level: str, shard: int, since_ns: int, until_ns: int | None = None) -> bool:
        """Did a fault strike in this time that the level does not survive?"""
        return any(
            since_ns <= loss.at_ns and (until_ns is None or loss.at_ns <= until_ns)
            for loss in self.losses(level, shard)
        )

    def is_only_at_node(self, job_id: str, until_ns: int) -> bool:
        """Was the end of a job not written down by then, for a disk that was full?

        It stays at its node; should worker and node die before the client has it, it runs again.
        """
        is_full = any(strike.fact.status == "disk_full" for strike in self.strikes)
        kept = self.of("kept", by="worker")
        return is_full and not any(f.job_id == job_id and f.at_ns <= until_ns for f in kept)

    def usual_level(self) -> str:
        """Return the level of the first acceptance: what is assumed where nothing was said."""
        return next((f.level for f in self.of("accepted")), "memory")
