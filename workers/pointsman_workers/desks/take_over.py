"""Take-over: what a predecessor's journal holds becomes this worker's, job by job.

A job that had been dispatched is expected to be reported by its node:

    reported as running      kept, under the fence it has
    reported as held         its result is taken
    lane up, not reported    it never arrived or was lost: dispatched anew, under a new fence
    node not back in time    elsewhere; should the node report it later, it is cancelled

All of it waits for nothing: the shard answers at once, and times count from that moment.
"""

from collections.abc import Callable, KeysView
from functools import partial

import msgspec

from pointsman_shm.snapshot.records import Requirement
from pointsman_wire.lane_messages import JobFence
from pointsman_wire.session_messages import Submit
from pointsman_workers.core.held import extra_bytes
from pointsman_workers.core.lifecycle import FIRST_TERMINAL, JobState, moved
from pointsman_workers.core.shard import SECOND_NS, Shard
from pointsman_workers.core.state import Hold, Job, Lane, Session
from pointsman_workers.desks.placing import PlacingDesk
from pointsman_workers.journal.entries import (
    Key,
    Recovered,
    RecoveredJob,
    RecoveredResult,
    RecoveredSession,
)
from pointsman_workers.ordering.orders import line_of, set_order
from pointsman_workers.ordering.serial import SerialDesk, bind
from pointsman_workers.ordering.utterances import index_of, note_accepted

_decode_requirement = msgspec.msgpack.Decoder(Requirement).decode
_STATES = {state.name.lower(): state for state in JobState if state >= FIRST_TERMINAL}
_FORGOTTEN = Submit()
NUMBERS_PER_LIFE = 1 << 32
Place = tuple[int, int]  # epoch, dispatch


class TakeOverDesk:
    """Brings back sessions, jobs and the window; then settles each expected job once."""

    def __init__(self, shard: Shard, placing: PlacingDesk, serial: SerialDesk) -> None:
        self.shard = shard
        self.placing = placing
        self.serial = serial
        self._grace_ns = int(shard.config.jobs.lane_grace_s * SECOND_NS)
        self._expected: dict[Place, tuple[Job, str]] = {}  # with the node that shall report it
        self._places_by_node: dict[str, dict[Place, None]] = {}
        self._sessions_by_serial: dict[int, Session] = {}
        # With Redis: told of each job that came back; an act with a job that waits until it is
        # sure that the job is still ours; told of everything.
        self.recovered: Callable[[Job], None] = lambda job: None
        self.when_sure: Callable[[Job, Callable[[], None]], None] = lambda job, act: act()
        self.begun: Callable[[Recovered], None] = lambda recovered: None
        shard.window.make_job = self._awaken

    @property
    def expected_count(self) -> int:
        """How many jobs no node has accounted for yet."""
        return len(self._expected)

    def expected_nodes(self) -> KeysView[str]:
        """The nodes that have yet to account for something."""
        return self._places_by_node.keys()

    def begin(self, recovered: Recovered) -> None:
        """Take over everything; the first act of this worker's life."""
        shard = self.shard
        shard.started_ns = shard.now_ns
        shard.last_arrival, shard.last_session = recovered.last_job, recovered.last_session
        for found in recovered.sessions:
            self._restore_session(found)
        for job in recovered.jobs:
            self._restore_job(job, is_same_boot=recovered.is_same_boot)
        shard.window.restore(recovered.ended, shard.now_ns)
        for result in recovered.ended:
            self._restore_result(result)
        # Results that only memory held had numbers too: ours are above them all.
        first_number = (shard.setup.epoch - 1) * NUMBERS_PER_LIFE + 1
        for session in self._sessions_by_serial.values():
            session.next_result = max(session.next_result, first_number)
        self._sessions_by_serial = {}
        self.begun(recovered)

    def _restore_result(self, result: RecoveredResult) -> None:
        shard, number = self.shard, result.kept.result.number
        if shard.window.is_remembered(result):
            shard.journal.adopt_result(result)
        session = self._written_with(result.kept.key, result.kept.session)
        if session is not None:
            session.next_result = max(session.next_result, number + 1)
            if number > session.read:
                session.restored.append(result)

    def _restore_session(self, found: RecoveredSession) -> None:
        shard, opened = self.shard, found.opened
        session = Session(
            tenant=opened.tenant,
            session_id=opened.session_id,
            resume_token=opened.resume_token,
            peer=None,
            serial=opened.session,
            order=opened.order,
            paired_node=opened.paired_node,
            pairing_code=opened.pairing_code,
            next_result=opened.next_result,
            read=opened.read,
            touched_at_ns=shard.now_ns,
        )
        set_order(session, opened.order, shard.lines)
        shard.sessions[opened.tenant, opened.session_id] = session
        shard.crowd.opened(opened.tenant)
        shard.journal.adopt_session(session, found.segment)
        self._sessions_by_serial[opened.session] = session
        shard.file(session, shard.now_ns + int(shard.config.sessions.resume_s * SECOND_NS))

    def _written_with(self, key: Key, serial: int) -> Session | None:
        """The session that has this number in the journal, if a job of this key can be its."""
        session = self._sessions_by_serial.get(serial)
        is_its = session is not None and (session.tenant, session.session_id) == key[:2]
        return session if is_its else None

    def _session_of(self, key: Key, serial: int) -> Session:
        """The session of a job: as restored, or, when it has ended, one that delivers nothing."""
        session = self._written_with(key, serial) or self.shard.sessions.get(key[:2])
        if session is not None:
            return session
        return Session(tenant=key[0], session_id=key[1], resume_token="", peer=None, is_closed=True)

    def _restore_job(self, found: RecoveredJob, *, is_same_boot: bool) -> None:
        shard, accepted, dispatched = self.shard, found.accepted, found.dispatched
        submit = accepted.submit
        kind = shard.kinds.of(_decode_requirement(accepted.requirement))
        began_ns = accepted.accepted_at_ns if is_same_boot else shard.now_ns
        job = Job(
            job_id=accepted.job_id,
            key=accepted.key,
            session=self._session_of(accepted.key, accepted.session),
            submit=submit,
            payload=accepted.payload,
            body=accepted.body,
            kind=kind,
            arrival=accepted.job,
            accepted_at_ns=began_ns,
            durability=accepted.durability,
            timeout_ns=self.placing.timeout_of(submit),
        )
        if submit.labels_preferred:
            job.favoured = shard.kinds.favoured(kind, submit.labels_preferred)
        if submit.deadline_s is not None:
            job.ends_at_ns = began_ns + int(submit.deadline_s * SECOND_NS)
        job.line = job.session.line
        if accepted.is_serial and job.line is None:
            job.line = line_of(job.key[:2], shard.lines)
        shard.window.bind(job)
        shard.journal.adopt_job(job, found.segment)
        job.session.open_jobs[job.key[2]] = job
        shard.open_job_count += 1
        if job.session.utterances is not None:
            note_accepted(job.session.utterances, index_of(job))
        job.is_counted = shard.tenants.opened(job.key[0])
        self.recovered(job)
        if dispatched is None:
            if job.line is not None:  # before those that its session asks for from now on
                self.serial.expect(job.line, job)
            self.when_sure(job, partial(self._wait, job))
            return
        if job.line is not None and job.line.current is None:
            job.line.current = job  # the oldest of its session: the others have waited
        job.dispatched = dispatched
        job.attempt, job.failovers = dispatched.attempt, dispatched.failovers
        job.reasons, job.failed_nodes = dispatched.reasons, dispatched.failed_nodes
        job.blamed_on, job.crash_count = dispatched.blamed_on, dispatched.crash_count
        place = (dispatched.epoch, dispatched.dispatch)
        self._expected[place] = (job, dispatched.node_id)
        self._places_by_node.setdefault(dispatched.node_id, {})[place] = None
        self._bound_wait(job)

    def _wait(self, job: Job) -> None:
        """Queue a job for nodes that have yet to come back."""
        if job.line is not None:
            self.serial.sure(job)
        elif job.is_open and not job.is_followed:
            self.placing.wait(job)
            self._bound_wait(job)

    def _bound_wait(self, job: Job) -> None:
        """How long it waits at most: the longer of its waits, after the time that nodes have.

        It was accepted when nodes were there; after an outage they come back one by one, by their
        own back-off.  That none is back yet is no reason to say that there is none.
        """
        jobs, submit = self.shard.config.jobs, job.submit
        busy_s = jobs.wait_busy_s if submit.wait_busy_s is None else submit.wait_busy_s
        none_s = jobs.wait_none_s if submit.wait_none_s is None else submit.wait_none_s
        wait_ns = self._grace_ns + int(max(busy_s, none_s) * SECOND_NS)
        job.wait_until_ns = self.shard.now_ns + wait_ns
        self.placing.rearm(job)

    # -- what nodes say ----------------------------------------------------------------------

    def reported(self, lane: Lane, fence: JobFence, *, is_running: bool) -> bool:
        """A node accounts for a dispatch; True when it is an expected one, and kept."""
        place = (fence.epoch, fence.dispatch)
        job = self._forget(place)
        if job is None:
            return False
        hold = Hold(
            lane=lane,
            job=job,
            job_id=fence.job_id,
            epoch=fence.epoch,
            dispatch=fence.dispatch,
            has_slot=is_running,
            is_started=True,
            sent_at_ns=self.shard.now_ns,
            alive_at_ns=self.shard.now_ns,
        )
        lane.holds[place] = hold
        job.hold = hold
        if job.line is not None:
            bind(hold, job.line)
        job.state = moved(job.state, "adopt")
        job.session.last_node_id = lane.node_id
        self.placing.rearm(job)
        return True

    def all_reported(self, lane: Lane) -> None:
        """The node has said all it has: what else was sent to it is dispatched anew."""
        for place in tuple(self._places_by_node.get(lane.node_id, ())):
            job = self._forget(place)
            if job is not None:
                self._place_anew(job, f"{lane.node_id} did not have it after a restart")

    def settle(self) -> None:
        """Nodes have had their time: what nobody has accounted for goes elsewhere."""
        for place, (_, node_id) in tuple(self._expected.items()):
            job = self._forget(place)
            if job is not None:
                self._place_anew(job, f"{node_id} was not back in time after a restart")

    def _forget(self, place: Place) -> Job | None:
        """Expect this dispatch no more; return its job if that still waits for it."""
        job, node_id = self._expected.pop(place, (None, ""))
        if job is None:
            return None
        places = self._places_by_node[node_id]
        del places[place]
        if not places:
            del self._places_by_node[node_id]
        return job if job.is_open and not job.is_followed else None

    def _place_anew(self, job: Job, reason: str) -> None:
        self.when_sure(job, partial(self._place_now, job, reason))

    def _place_now(self, job: Job, reason: str) -> None:
        """Not the job's failure nor the node's: no failover is counted."""
        if not job.is_open or job.is_followed:
            return
        job.reasons += (f"attempt {job.attempt}: {reason}",)
        if job.line is not None:
            self.serial.again(job.line, job)
        elif not self.placing.place(job):
            self.placing.wait(job)
            self._bound_wait(job)

    # -- the window --------------------------------------------------------------------------

    def _awaken(self, result: RecoveredResult) -> Job:
        """Make the job that a restored result was."""
        kept = result.kept
        job = Job(
            job_id=kept.job_id,
            key=kept.key,
            session=self._session_of(kept.key, kept.session),
            submit=_FORGOTTEN,
            payload=b"",
            body=kept.body,
            kind=self.shard.kinds.of(Requirement(types=())),
            arrival=kept.job,
            accepted_at_ns=self.shard.now_ns,
            durability="journal",
            state=_STATES[kept.result.status],
            attempt=kept.result.attempt,
            failovers=kept.result.failovers,
            result=kept.result,
            output=kept.output,
            extra_bytes=extra_bytes(kept.result),
            is_result_gone=kept.is_result_gone,
            ended_at_ns=self.shard.now_ns,
        )
        self.shard.journal.replace(result, job)
        return job
