"""Attaching: followers at other instances wait here for the results of our jobs.

An answer goes out at once when the job has ended, and else when it does.  A job that nobody here
knows is one whose acceptance was lost on the way, or that has left the window; its key is freed
if it is ours, so that the follower may bind it.
"""

from functools import partial
from typing import TYPE_CHECKING

from msgspec.structs import replace

from pointsman_wire.coordination.instance_messages import Attach, AttachAnswer
from pointsman_wire.coordination.keys import bucket_of
from pointsman_wire.coordination.requests import Bound, Lookup, RequestKey
from pointsman_workers.core.events import InstanceSaid, SendInstance
from pointsman_workers.core.shard import Shard
from pointsman_workers.core.state import Job, Key
from pointsman_workers.desks.refusing import result_gone

if TYPE_CHECKING:
    from pointsman_workers.sharing.sharing import Sharing

Place = tuple[str, int]  # instance, shard
ATTACHED_MAX = 100_000
ATTACHED_A_JOB_MAX = 64


class AttachingDesk:
    """Answers followers."""

    def __init__(self, shard: Shard, sharing: "Sharing") -> None:
        self.shard = shard
        self.sharing = sharing
        self._attached: dict[Key, dict[Place, None]] = {}

    def asked(self, event: InstanceSaid) -> None:
        """A follower asks for a result."""
        message = event.message
        assert isinstance(message, Attach), message
        key = (message.tenant, message.session_id, message.request_id)
        place = (event.instance, event.shard)
        job = self.shard.window.find(key)
        if job is None:
            if self.sharing.binding.is_pending(key):
                self._note(key, place)
            else:
                self._answer(place, message, "unknown")
                self._disown(key)
        elif job.job_id != message.job_id or (job.bond is not None and job.bond.is_following):
            self._answer(place, message, "unknown")
        elif job.is_open or not job.is_end_safe:
            self._note(key, place)
            if message.cancel and job.is_open:
                self.sharing.attempts.cancel(job)
        else:
            self._give(place, job)

    def _note(self, key: Key, place: Place) -> None:
        places = self._attached.get(key)
        if places is None:
            if len(self._attached) >= ATTACHED_MAX:
                return  # it asks again
            places = self._attached[key] = {}
        if len(places) < ATTACHED_A_JOB_MAX:
            places[place] = None

    def ended(self, job: Job) -> None:
        """A job has its result, which counts: tell all who wait."""
        for place in self._attached.pop(job.key, ()):
            self._give(place, job)

    def forget(self, key: Key) -> None:
        """The job became another instance's: who waits asks there."""
        self._attached.pop(key, None)

    def farewell(self, job: Job) -> None:
        """The job is anybody's now: who waits binds its key."""
        tenant, session_id, request_id = job.key
        attach = Attach(
            tenant=tenant, session_id=session_id, request_id=request_id, job_id=job.job_id
        )
        for place in self._attached.pop(job.key, ()):
            self._answer(place, attach, "unknown")

    def _give(self, place: Place, job: Job) -> None:
        tenant, session_id, request_id = job.key
        result = job.result
        if job.is_beyond_telling and result is not None:
            result = replace(result, status="failed", error=result_gone(job))
        answer = AttachAnswer(
            tenant=tenant,
            session_id=session_id,
            request_id=request_id,
            job_id=job.job_id,
            state="ended",
            result=result,
        )
        self.shard.outbox.commands.append(SendInstance(*place, answer, job.output))

    def _answer(self, place: Place, attach: Attach, state: str) -> None:
        answer = AttachAnswer(
            tenant=attach.tenant,
            session_id=attach.session_id,
            request_id=attach.request_id,
            job_id=attach.job_id,
            state="unknown" if state == "unknown" else "running",
        )
        self.shard.outbox.commands.append(SendInstance(*place, answer))

    def _disown(self, key: Key) -> None:
        """Free a key that is bound to a job which this worker does not have."""
        book, bucket = self.sharing.book, bucket_of(RequestKey(*key))
        request = Lookup(
            book.next_number(), key=RequestKey(*key), owner=book.owner, seen=book.seen(bucket)
        )
        book.ask(request, partial(self._looked_up, key), bucket)

    def _looked_up(self, key: Key, answer: Bound) -> None:
        if answer.outcome == "mine" and not self.sharing.is_ours(key):
            self.sharing.ending.release(key, answer.fence)
