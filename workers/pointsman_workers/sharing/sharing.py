"""Sharing: one worker among those of all instances; its desks, and their one door.

Without Redis there is none of it, and a submit takes the way that it always took.
"""

from collections.abc import Callable
from typing import Any

from pointsman_shm.logs.events import Event
from pointsman_shm.memory.stats_names import Counter, Gauge
from pointsman_wire.coordination.instance_messages import Attach, AttachAnswer
from pointsman_wire.coordination.requests import Owner
from pointsman_workers.core.events import (
    AcknowledgeInbox,
    Coordinated,
    HearingChanged,
    InboxRead,
    InstanceMissed,
    InstanceSaid,
    Say,
    WayChanged,
)
from pointsman_workers.core.shard import Shard
from pointsman_workers.core.state import Job, Key
from pointsman_workers.desks.attempts import AttemptDesk
from pointsman_workers.desks.jobs import JobDesk
from pointsman_workers.desks.lanes import LaneDesk
from pointsman_workers.desks.outcomes import OutcomeDesk
from pointsman_workers.desks.sessions import SessionDesk
from pointsman_workers.desks.take_over import TakeOverDesk
from pointsman_workers.sharing.keys.adoption import AdoptionDesk
from pointsman_workers.sharing.keys.attaching import AttachingDesk
from pointsman_workers.sharing.keys.binding import BindingDesk
from pointsman_workers.sharing.keys.bond import Standing
from pointsman_workers.sharing.keys.book import CoordinationBook
from pointsman_workers.sharing.keys.buckets import BucketDesk
from pointsman_workers.sharing.keys.ending import EndingDesk
from pointsman_workers.sharing.keys.following import FollowingDesk
from pointsman_workers.sharing.keys.leases import SECOND_TICKS, LeaseDesk
from pointsman_workers.sharing.keys.recovering import RecoveringDesk
from pointsman_workers.sharing.keys.session_notes import SessionNotesDesk
from pointsman_workers.sharing.keys.unknown import UnknownOutcomes
from pointsman_workers.sharing.nodes.desk import NodesDesk

DUPLICATES_SAID_MAX = 10  # a second
_HELD = (Standing.BOUND, Standing.UNSURE, Standing.LOCAL)


class Sharing:
    """Everything that a worker does because it is not alone."""

    def __init__(
        self, shard: Shard, jobs: JobDesk, attempts: AttemptDesk, outcomes: OutcomeDesk
    ) -> None:
        setup = shard.setup
        self.shard = shard
        self.jobs = jobs
        self.attempts = attempts
        self.outcomes = outcomes
        owner = Owner(setup.instance, setup.instance_uid, setup.worker_index)
        self.book = CoordinationBook(owner)
        self.buckets = BucketDesk(shard, self.book)
        self.binding = BindingDesk(shard, self)
        self.leases = LeaseDesk(shard, self)
        self.ending = EndingDesk(shard, self)
        self.following = FollowingDesk(shard, self)
        self.attaching = AttachingDesk(shard, self)
        self.unknown = UnknownOutcomes(shard, self)
        self.sessions = SessionNotesDesk(shard, self)
        self.adoption = AdoptionDesk(shard, self)
        self.recovering = RecoveringDesk(shard, self)
        self.buckets.lost = self.leases.lost
        self.ending.deliver = outcomes.end_safe
        outcomes.bound_ended = self.ending.end
        outcomes.bound_void = self.ending.release_job
        attempts.cancel_followed = self.following.cancel
        attempts.followed_timed = self.following.timed
        jobs.fleet_wide = self.binding
        shard.session_placed = self.sessions.placed
        self._ticks = 0
        self._said_count = 0
        self._from_instances: dict[type, Callable[[InstanceSaid], None]] = {
            Attach: self.attaching.asked,
            AttachAnswer: self._answered,
        }

    def take_place(self, sessions: SessionDesk, take_over: TakeOverDesk, lanes: LaneDesk) -> None:
        """Hear of sessions that are opened, and of jobs that came back; reach others' nodes."""
        self.nodes = NodesDesk(self.shard, lanes)
        self._from_instances |= self.nodes.handlers()
        sessions.opened = self.sessions.opened
        take_over.recovered = self.leases.recovered
        take_over.when_sure = self.leases.when_sure
        take_over.begun = self.recovering.begin

    def handlers(self) -> dict[type, Callable[..., None]]:
        """What is done about which event."""
        return {
            Coordinated: self.book.answered,
            InstanceSaid: self._said,
            InboxRead: self._read,
            WayChanged: self.nodes.way_changed,
            InstanceMissed: self.nodes.missed,
            HearingChanged: self.nodes.hearing_changed,
        }

    def _said(self, event: InstanceSaid) -> None:
        handle = self._from_instances.get(type(event.message))
        if handle is not None:
            handle(event)

    def _read(self, event: InboxRead) -> None:
        self.shard.outbox.commands.append(AcknowledgeInbox(event.ids))

    def _answered(self, event: InstanceSaid) -> None:
        assert isinstance(event.message, AttachAnswer), event.message
        self.following.told(event.message, event.payload)

    # -- the end ---------------------------------------------------------------------------------

    def leave(self, shelved: list[Job]) -> None:
        """This life ends in order: others may run what waits, and give out what is not read."""
        self.leases.say_farewell(shelved)
        self.ending.leave_results()

    @property
    def is_telling(self) -> bool:
        """Is there anything that must be heard of before we end?  Not while nobody listens."""
        return self.book.is_up and (self.book.waiting_count > 0 or self.ending.owes_results)

    # -- each step -------------------------------------------------------------------------------

    def tick(self) -> None:
        """What is to be done without anybody asking; ten times a second."""
        self._ticks += 1
        self.nodes.tick()
        self.buckets.tick()
        self.leases.tick()
        self.recovering.tick()
        self.adoption.tick()
        if self._ticks % SECOND_TICKS == 0:
            self._said_count = 0
            self.ending.tick()
            self.unknown.tick()
            stats = self.shard.setup.memory.stats
            stats.gauge(Gauge.BINDINGS_PENDING, self.binding.pending_count)
            stats.gauge(Gauge.ENDS_UNTOLD, self.ending.untold_count)

    def follow(self) -> None:
        """Before the events of a step: a newer snapshot may be pinned."""
        self.nodes.follow()

    def flush(self) -> list[Any]:
        """Return every command of the step, and what it asks of Redis."""
        self.sessions.flush()
        return [*self.nodes.leave(), *self.book.flush()]

    # -- for the desks ---------------------------------------------------------------------------

    def job_of(self, key: Key) -> Job | None:
        """The job that a key has here."""
        return self.shard.window.find(key)

    def is_ours(self, key: Key) -> bool:
        """Does this worker have, or is it about to have, a job of its own with this key?"""
        if self.binding.is_pending(key) or self.ending.is_ending(key):
            return True
        job = self.shard.window.find(key)
        return job is not None and job.bond is not None and job.bond.standing in _HELD

    def report_duplicate(self, job: Job, what: str) -> None:
        """A request has run under two job ids, or twice, because an instance was on its own."""
        self.shard.count(Counter.JOBS_DUPLICATE)
        self._said_count += 1
        if self._said_count <= DUPLICATES_SAID_MAX:
            tenant, session_id, request_id = job.key
            text = (
                f"duplicate: request {request_id!r} of session {session_id!r} (tenant {tenant!r}) "
                f"ran here as job {job.job_id} while Redis did not answer; {what}"
            )
            self.shard.outbox.commands.append(Say(text, Event.JOB_DUPLICATE))
