"""Results that have their number and are not sent yet: their client is slow, or away.

They are kept by number, so that a client gets them in order.  What is held is a reference to an
ended job: once the window forgets the job, so does the session, and counts it; the client then
repeats what it still waits for.  So what is held costs no more than the window does.
"""

from collections import OrderedDict
from collections.abc import Mapping

from pointsman_wire.lane_messages import NodeResult
from pointsman_wire.messages import meta_bytes
from pointsman_wire.session_messages import MissingResult, Result
from pointsman_workers.core.state import Job, Session

# What a result costs beside its output: failures without end have none.
OVERHEAD_BYTES = 256


def copy_bytes(item: Job | MissingResult) -> int:
    """What it costs to hear of another session's result; 0 for its own, which the window bounds."""
    if not isinstance(item, Job) or item.result is None or not item.result.speaker:
        return 0
    return OVERHEAD_BYTES + len(item.output) + item.extra_bytes


def extra_bytes(result: Result | NodeResult) -> int:
    """What a result takes beside its output, of that which may be long: what applications say."""
    return len(result.content_type) + meta_bytes(result.meta)


class HeldResults:
    """All of a shard; `count_max` of them, above which a session drops its own oldest."""

    def __init__(self, count_max: int) -> None:
        self.count = 0
        self._count_max = count_max

    def hold(self, session: Session, number: int, item: Job | MissingResult) -> None:
        """Keep one for later; its number is the session's highest so far."""
        if session.held is None:
            session.held = OrderedDict()
        session.held[number] = item
        session.copies_bytes += copy_bytes(item)
        self.count += 1
        if self.count > self._count_max:
            self._take(session, forgotten=True)

    def hold_again(self, session: Session, items: Mapping[int, Job | MissingResult]) -> None:
        """Keep what is older than what is held."""
        if not items:
            return
        held: Mapping[int, Job | MissingResult] = session.held or {}
        merged = {**items, **held}
        self.count += len(merged) - len(held)
        session.copies_bytes = sum(map(copy_bytes, merged.values()))
        session.held = OrderedDict(sorted(merged.items(), key=lambda pair: pair[0]))
        while self.count > self._count_max and session.held:
            self._take(session, forgotten=True)

    def take_first(self, session: Session) -> None:
        """Let go of the lowest number: it is being sent."""
        self._take(session, forgotten=False)

    def read(self, session: Session, last_number: int) -> list[Job]:
        """Let go of numbers up to this one, which the client has; return the jobs."""
        jobs: list[Job] = []
        while session.held and next(iter(session.held)) <= last_number:
            item = self._take(session, forgotten=False)
            if isinstance(item, Job):
                jobs.append(item)
        return jobs

    def drop(self, session: Session, number: int) -> None:
        """Let go of one number."""
        item = session.held.pop(number, None) if session.held else None
        if item is not None:
            self.count -= 1
            session.copies_bytes -= copy_bytes(item)

    def left_window(self, session: Session | None, job: Job) -> None:
        """Nobody can ask for this job any more: if its session holds it, it does no longer."""
        if session is None or not session.held or job.result is None:
            return
        if session.held.get(job.result.number) is job:
            del session.held[job.result.number]
            self.count -= 1
            session.forgotten += 1

    def clear(self, session: Session) -> list[Job]:
        """Let go of everything; return the jobs."""
        held: Mapping[int, Job | MissingResult] = session.held or {}
        session.held, session.copies_bytes = None, 0
        self.count -= len(held)
        session.forgotten = 0
        return [item for item in held.values() if isinstance(item, Job)]

    def _take(self, session: Session, *, forgotten: bool) -> Job | MissingResult:
        assert session.held is not None, session.session_id
        _, item = session.held.popitem(last=False)
        self.count -= 1
        session.copies_bytes -= copy_bytes(item)
        session.forgotten += forgotten and isinstance(item, Job)
        return item
