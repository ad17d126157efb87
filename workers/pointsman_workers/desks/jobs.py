"""Creation: a submit becomes a job, once for each key.

    create_job    request -> known already? -> refused? -> placed at once, adopted, or waiting

Order of acts: limits, known, decide, reserve, acknowledge and dispatch in the same step.
"""

from functools import partial
from itertools import islice
from typing import Protocol
from zlib import crc32

from msgspec.structs import astuple, replace

from pointsman_shm.memory.stats_names import Counter
from pointsman_wire.errors import Code
from pointsman_wire.messages import ErrorInfo, error_info
from pointsman_wire.session_messages import AcceptedJob, Submit
from pointsman_workers.core.lifecycle import JobState
from pointsman_workers.core.shard import SECOND_NS, Shard
from pointsman_workers.core.state import Job, Key, Peer, Session, away
from pointsman_workers.desks.counting import is_fault_of_service
from pointsman_workers.desks.refusing import cancelled, not_open, refusal_of_repeat
from pointsman_workers.desks.reports import ReportDesk
from pointsman_workers.desks.sessions import SessionDesk
from pointsman_workers.desks.waiting.admission import AdmissionDesk
from pointsman_workers.desks.waiting.serving import ServingDesk
from pointsman_workers.desks.waiting.terms import WISH, TermsDesk, no_room, with_time_left
from pointsman_workers.journal.book import FSYNC, MEMORY
from pointsman_workers.ordering.orders import hindrance_of_order
from pointsman_workers.placement.deciding import memory_of
from pointsman_workers.placement.kinds import Terms
from pointsman_workers.sharing.keys.bond import Standing

UNSETTLED_MAX = 10_000
BEHIND_MAX = 64  # jobs of a session, newest first, among which an earlier one is looked for


class KeyBinding(Protocol):
    """Binds keys for the whole fleet (sharing/keys/binding.py)."""

    def begin(self, peer: Peer, job: Job) -> None:
        """Bind the key of a new job, then start it."""

    def is_pending(self, key: Key) -> bool:
        """Is this key being bound?"""

    def repeat(self, key: Key, peer: Peer, submit: Submit, body: int) -> None:
        """The same request, while its key is being bound."""

    def withdraw(self, session: Session, request_id: str) -> bool:
        """Cancel it, while its key is being bound; False when it is not."""


class JobDesk:
    """Answers submits."""

    def __init__(
        self,
        shard: Shard,
        sessions: SessionDesk,
        reports: ReportDesk,
        serving: ServingDesk,
        admission: AdmissionDesk,
    ) -> None:
        self.shard = shard
        self.sessions = sessions
        self.placing = serving.placing
        self.reports = reports
        self.serial = reports.attempts.serial
        self._payload_bytes_max = shard.config.limits.payload_bytes_max
        self._window_s = shard.window.window_s
        self.serving = serving
        self.admission = admission
        self.terms = TermsDesk(shard, serving.placing, admission.overload)
        # With Redis: where a key is bound before its job is started.
        self.fleet_wide: KeyBinding | None = None
        # Repeated submits of what may still run on a node that has not reported yet, since when.
        self._unsettled: list[tuple[Peer, Session, Submit, bytes, int]] = []

    def create_job(self, peer: Peer, submit: Submit, payload: bytes) -> None:
        """The one entry: answer a submit with its job, whether it is new or known."""
        shard = self.shard
        session = peer.sessions.get(submit.session_number)
        if session is None:
            self.refuse(peer, submit, not_open(submit.session_number))
            return
        session.touched_at_ns = shard.now_ns
        if len(payload) > self._payload_bytes_max:
            text = f"a payload of {len(payload)} bytes, at most {self._payload_bytes_max} may be"
            self.refuse(peer, submit, error_info(Code.INVALID_MESSAGE, text))
            return
        request_id = submit.request_id or "req-" + next(shard.job_ids)[:12]
        key = (session.tenant, session.session_id, request_id)
        if key in shard.window.by_key:
            self._repeat(peer, submit, key, body_check(payload))
            return
        if self.fleet_wide is not None and self.fleet_wide.is_pending(key):
            self.fleet_wide.repeat(key, peer, submit, body_check(payload))
            return
        if not shard.is_settled and self._may_still_run(session, submit, key):
            self._unsettled.append((peer, session, submit, payload, shard.now_ns))
            return
        job = self._new_job(session, submit, payload, key)
        if type(job) is not Job:  # at a tenth of what isinstance costs with structs
            assert isinstance(job, ErrorInfo)
            self.refuse(peer, submit, job)
        elif self.fleet_wide is None:
            self.start(peer, job)
        else:
            self.fleet_wide.begin(peer, job)

    def _new_job(
        self, session: Session, submit: Submit, payload: bytes, key: Key
    ) -> Job | ErrorInfo:
        """Make a job of a request that is not known, or say why there can be none."""
        shard = self.shard
        terms = session.terms
        if (
            terms is None
            or terms.reading != shard.kinds.reading
            or terms.wish != astuple(submit)[WISH]
        ):
            found = self.terms.find(session, submit)
            if isinstance(found, ErrorInfo):
                return found
            terms = found
        if terms.durability != MEMORY and not shard.journal.has_room(
            payload, submit.meta, shard.open_job_count
        ):
            return no_room(terms.durability, is_at_its_bound=shard.journal.is_at_its_bound)
        if not terms.is_plain:
            if (error := self._hindrance(session, submit, key)) is not None:
                return error
            submit = self._amended(session, submit, terms)
        kind = terms.kind
        if kind.version != shard.fleet.snapshot.version:
            shard.fleet.prepare(kind)
        shard.last_arrival = arrival = shard.last_arrival + 1
        job = Job(
            job_id=next(shard.job_ids),
            key=key,
            session=session,
            submit=submit,
            payload=payload,
            body=len(payload) << 32 | crc32(payload),  # body_check, at no call
            kind=kind,
            arrival=arrival,
            accepted_at_ns=shard.now_ns,
            durability=terms.durability,
            timeout_ns=terms.timeout_ns,
            favoured=terms.favoured,
            is_choosy=terms.is_choosy,
            usual=terms.usual,
        )
        job.line = session.line
        if submit.deadline_s is not None:
            job.ends_at_ns = shard.now_ns + int(submit.deadline_s * SECOND_NS)
        return job

    def _hindrance(self, session: Session, submit: Submit, key: Key) -> ErrorInfo | None:
        """What its session's order or its tenant's limits have against one more job."""
        if session.line is not None and self.serial.is_full:
            text = "too many jobs stand in the lines of serial sessions"
            return error_info(Code.QUEUE_FULL, text, retry_after_ms=1_000)
        pending_max = self.shard.config.sessions.pending_results_max
        if (error := hindrance_of_order(session, submit, pending_max)) is not None:
            return error
        if key in self.shard.orphans:  # it was taken long ago
            return None
        return self.admission.admit(session, submit.priority)

    def _amended(self, session: Session, submit: Submit, terms: Terms) -> Submit:
        """The request with what its session adds, and no higher than its tenant may be."""
        if session.utterances is not None:
            submit = self.sessions.utterances.numbered(session.utterances, submit)
        if session.paired_node and not submit.preferred_node:
            submit = replace(submit, preferred_node=session.paired_node)
        if submit.priority != terms.usual.priority:
            submit = replace(submit, priority=terms.usual.priority)
        return submit

    def _may_still_run(self, session: Session, submit: Submit, key: Key) -> bool:
        """Is this a repeated request that a node, not heard of since our start, may be running?

        One that a node has reported waits as well: another may yet report a newer dispatch of it.
        What is journalled cannot be: our journal would know it.
        """
        is_volatile = (submit.durability or self.terms.durability) == MEMORY
        is_repeated = (is_volatile and key[2] in session.repeats) or key in self.shard.orphans
        return is_repeated and len(self._unsettled) < UNSETTLED_MAX

    def is_pending(self, key: Key) -> bool:
        """Was it asked for, and will yet be a job, or be refused?"""
        if self.fleet_wide is not None and self.fleet_wide.is_pending(key):
            return True
        asked = ((session, submit.request_id) for _, session, submit, *_ in self._unsettled)
        return any((whose.tenant, whose.session_id, name) == key for whose, name in asked)

    def refuse(
        self, peer: Peer, submit: Submit, error: ErrorInfo, session: Session | None = None
    ) -> None:
        """Answer a submit that gets no job; its session is named if it may have left the peer."""
        self.shard.count(Counter.SUBMITS_FAILED, is_fault_of_service(error))
        self.shard.outbox.error(peer.connection, error, submit.session_number, submit.request_id)
        session = session or peer.sessions.get(submit.session_number)
        self.shard.tell_refused(session, submit, error, peer.connection)

    def _repeat(self, peer: Peer, submit: Submit, key: Key, body: int) -> None:
        """The same key again: the same job, or CONFLICT for another body."""
        job = self.shard.window.find(key)
        assert job is not None, key
        if (error := refusal_of_repeat(job, body)) is not None:
            self.refuse(peer, submit, error)
        else:
            self.repeat(peer, submit, job)

    def repeat(self, peer: Peer, submit: Submit, job: Job) -> None:
        """The very same request again: it gets the same job."""
        # The session of the first submit may have ended since, and been opened anew.
        session = self.sessions.adopt(job, peer.sessions[submit.session_number])
        if job.is_safe:
            self._accept(peer, job, is_duplicate=True)
        else:
            self.shard.journal.when_synced(partial(self._accept, peer, job, is_duplicate=True))
        if job.is_open or not job.is_end_safe:
            session.open_jobs[job.key[2]] = job  # its result is told when it is there, and safe
        else:
            self.sessions.repeat(session, job)

    def start(self, peer: Peer, job: Job) -> ErrorInfo | None:
        """Place a new job, or let it wait, or refuse it; accept it in the first two cases.

        Returns the error with which it was refused.
        """
        shard = self.shard
        if shard.orphans and (orphan := shard.orphans.pop(job.key)) is not None:
            job.job_id = orphan.hold.job_id
            self._register(peer, job)
            self.reports.adopt(job, orphan)
            return None
        if job.line is not None and not self.serial.has_turn(job.line, job):
            self._register(peer, job)
            return None
        if job.durability == FSYNC:
            if job.kind.waiting_count and (full := self.admission.queue_full(job)) is not None:
                return self._turn_away(peer, job, full)
            self._register(peer, job)
            return None
        if shard.freed_rows:
            self.serving.serve_before(job)
        has_turn = job.kind.waiting_count == 0 or (
            self.placing.is_apart(job) and not _is_behind(job)
        )
        if has_turn and self.placing.place(job):
            self._register(peer, job)
            return None
        may_wait = self.placing.wait_s(job) > 0 or memory_of(job).walk is not None
        if not may_wait or self.placing.is_hopeless(job):
            return self._turn_away(peer, job, self.placing.nobody(job))
        if (full := self.admission.queue_full(job)) is not None:
            return self._turn_away(peer, job, full)
        self._register(peer, job)
        self.placing.wait(job)
        return None

    def _turn_away(self, peer: Peer, job: Job, error: ErrorInfo) -> ErrorInfo:
        """Refuse a job that was made and is not accepted."""
        self.refuse(peer, job.submit, error, job.session)
        if job.line is not None:
            self.serial.left(job.line, job)
        return error

    def withdraw(self, peer: Peer, session: Session, request_id: str) -> bool:
        """Cancel what is no job yet; False when there is none: it may wait for nodes' reports."""
        if self.shard.talk.withdraw(session, request_id):
            return True
        if self.fleet_wide is not None and self.fleet_wide.withdraw(session, request_id):
            return True
        asked = peer, session.number, request_id
        left, withdrawn = [], None
        for entry in self._unsettled:
            whose, _, submit, *_ = entry
            if (whose, submit.session_number, submit.request_id) == asked:
                withdrawn = submit
            else:
                left.append(entry)
        if withdrawn is None:
            return False
        self._unsettled = left
        error = cancelled()
        self.refuse(peer, withdrawn, error, session)
        return True

    def settle(self) -> None:
        """The nodes have reported: answer the repeated submits that waited for it."""
        unsettled, self._unsettled = self._unsettled, []
        for peer, session, asked, payload, since_ns in unsettled:
            submit = with_time_left(asked, self.shard.now_ns - since_ns)
            if peer.connection in self.shard.peers:
                self.create_job(peer, submit, payload)
            elif not session.is_closed:  # its result waits for the client to come back
                self.create_job(away(session, submit.session_number), submit, payload)

    def _enter(self, job: Job) -> None:
        """Make a job known under its key and in its session."""
        session, key = job.session, job.key
        bound = self.shard.window.by_key.setdefault(key, job)
        assert bound is job, key
        session.open_jobs[key[2]] = job
        if session.repeats:
            session.repeats.discard(key[2])
        if session.utterances is not None:
            self.sessions.utterances.accepted(session.utterances, job)

    def follow(self, peer: Peer, job: Job) -> None:
        """Accept a job that another instance runs, or has run."""
        self._enter(job)
        if job.line is not None:
            self.serial.has_turn(job.line, job)
        self._accept(peer, job, is_duplicate=True)

    def take_up(self, job: Job) -> None:
        """A job that another instance had is ours now: place it, or let it wait."""
        shard = self.shard
        shard.open_job_count += 1
        job.is_counted = shard.tenants.opened(job.key[0])
        if job.durability != MEMORY and shard.journal.has_room(
            job.payload, job.submit.meta, shard.open_job_count
        ):
            shard.journal.accepted(job)
        if job.line is not None and (job.line.current is job or job.is_lined):
            job.is_lined = True
            shard.ready_lines[job.line] = None
        elif job.kind.waiting_count or not self.placing.place(job):
            self.placing.wait(job)

    def _register(self, peer: Peer, job: Job) -> None:
        shard = self.shard
        self._enter(job)
        shard.open_job_count += 1
        shard.accepted_count += 1
        if shard.tenants.has_counted:
            job.is_counted = shard.tenants.opened(job.key[0])
        if job.durability != MEMORY:
            shard.journal.accepted(job)
            if job.durability == FSYNC:
                job.is_safe = False
                shard.journal.when_synced(partial(self._synced, peer, job))
                return
        self._accept(peer, job, is_duplicate=False)

    def _synced(self, peer: Peer, job: Job) -> None:
        """The disk has it: it is accepted, and only now given to anybody."""
        job.is_safe = True
        if peer.sessions.get(job.session.number) is job.session:
            self._accept(peer, job, is_duplicate=False)
        if job.is_lined:
            assert job.line is not None, job.job_id
            self.shard.ready_lines[job.line] = None
            return
        if job.state is not JobState.PENDING:
            return
        if self.shard.is_stopping:
            if job not in self.shard.shelved:  # behind those that waited when the stop was wished
                self.shard.shelved.append(job)
            return
        if job.kind.waiting_count or not self.placing.place(job):
            self.placing.wait(job)

    def _accept(self, peer: Peer, job: Job, *, is_duplicate: bool) -> None:
        accepted = AcceptedJob(
            session_number=job.session.number,
            request_id=job.key[2],
            job_id=job.job_id,
            durability=job.durability,
            window_s=self._window_s,
            duplicate=is_duplicate,
        )
        if job.bond is not None and job.bond.standing is not Standing.LOCAL:
            accepted = replace(accepted, scope="cluster")
        self.shard.outbox.accepted[peer].append(accepted)


def _is_behind(job: Job) -> bool:
    """Does an earlier job of the session wait for the very same?  A free slot is that job's."""
    submit = job.submit
    return any(
        other.is_queued
        and other.kind is job.kind
        and other.submit.priority == submit.priority
        and other.submit.exclude == submit.exclude
        and other.submit.preferred_node == submit.preferred_node
        for other in islice(reversed(job.session.open_jobs.values()), BEHIND_MAX)
    )


def body_check(payload: bytes) -> int:
    """Return length and crc32 in one number: what the body of a repeated request must equal."""
    return len(payload) << 32 | crc32(payload)
