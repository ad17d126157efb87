"""Utterance sessions: results are told in the order of their utterance indices.

    index below the next    told at once: its turn has passed, or others of its index were told
    index above the next    held, until all before it were told, or it was held for the gap window
    window over             what is before it is skipped, and the client is told: missing_result

The order begins with the lowest index that was submitted before anything was told.  After a broken
connection, or its worker's death, a client repeats what has never arrived or was lost: that may
come first, so nothing is told before it, within the gap window.  Several jobs may share an index
(one for each language); it is done when all of them have ended.  What is held gets its number among
the session's results when it is told, so that an acknowledgement never covers what is still held;
and what is missing has such a number too, so it is told again after a broken connection like any
result.
"""

from msgspec.structs import replace

from pointsman_shm.memory.stats_names import Counter
from pointsman_wire.messages import NUMBER_MAX
from pointsman_wire.session_messages import MissingResult, Submit
from pointsman_workers.core.shard import SECOND_NS, Shard
from pointsman_workers.core.state import Job, Utterances
from pointsman_workers.ordering.delivering import DeliveryDesk, is_newest, unnumbered

RUNNING, NOT_SUBMITTED = "running", "not_submitted"
MISSING_KEPT_MAX = 1_000


class UtteranceDesk:
    """Holds results back, and lets them go in turn."""

    def __init__(self, shard: Shard, delivery: DeliveryDesk) -> None:
        self.shard = shard
        self._delivery = delivery
        self._bytes_max = shard.config.limits.results_queue_bytes_max
        self._window_ns = int(shard.config.sessions.gap_window_s * SECOND_NS)

    def numbered(self, line: Utterances, submit: Submit) -> Submit:
        """Give a submit without an index the next one."""
        if submit.utterance_index is not None:
            return submit
        return replace(submit, utterance_index=next_index(line))

    def accepted(self, line: Utterances, job: Job) -> None:
        """A job exists that will have a result."""
        note_accepted(line, index_of(job))
        if line.held and not line.is_begun:
            self.go_on(line)

    def ended(self, line: Utterances, job: Job) -> None:
        """A job has its result: tell it now, or hold it."""
        index = _index_of(job)
        left = line.open.pop(index, 1) - 1
        if left:
            line.open[index] = left
        if index > line.next_index or _is_early(line):
            self._hold(line, index, job)
            return
        self._tell(line, job)
        if index == line.next_index and not left:
            self.go_on(line)  # if others of its index are held
            line.next_index = max(line.next_index, index + 1)
            self.go_on(line)

    def restored(self, line: Utterances, job: Job) -> None:
        """A result that a predecessor had, and that the client has not read."""
        index = _index_of(job)
        line.last_index = max(line.last_index, index)
        _begin(line, index)
        self._hold(line, index, job)

    def repeated(self, line: Utterances, job: Job) -> None:
        """The client asks again for a result that it may have had: in turn, if that is to come."""
        if self._is_held(line, job):
            return
        job.result = unnumbered(job.result)
        _begin(line, _index_of(job))
        if _index_of(job) < line.next_index:
            self._tell(line, job)
            return
        self._hold(line, _index_of(job), job)
        self.go_on(line)

    def _hold(self, line: Utterances, index: int, job: Job) -> None:
        line.held.setdefault(index, []).append(job)
        line.held_since_ns.setdefault(index, self.shard.now_ns)
        line.held_count += 1
        line.held_bytes += len(job.output)
        self.shard.file(line, self.shard.now_ns + self._window_ns)
        if line.held_bytes > self._bytes_max:
            self.flush(line)

    @staticmethod
    def _is_held(line: Utterances, job: Job) -> bool:
        """Is its result still to come by itself?"""
        return any(held is job for held in line.held.get(_index_of(job), ()))

    def resumed(self, line: Utterances) -> None:
        """The client is there: tell what was restored, those first whose turn passed meanwhile."""
        if _is_early(line):
            return
        for index in sorted(index for index in line.held if index < line.next_index):
            self._release(line, index)
        self.go_on(line)

    def _release(self, line: Utterances, index: int) -> None:
        del line.held_since_ns[index]
        for job in line.held.pop(index):
            line.held_count -= 1
            line.held_bytes -= len(job.output)
            self._tell(line, job)

    def go_on(self, line: Utterances) -> None:
        """Tell what is next, as long as it is there."""
        while line.next_index in line.held and not _is_early(line):
            self._release(line, line.next_index)
            if line.next_index in line.open:
                return  # others of its index have yet to end
            line.next_index += 1

    def _tell(self, line: Utterances, job: Job) -> None:
        session, result = line.session, job.result
        assert result is not None, job.job_id
        line.is_begun = True
        if not is_newest(session, result):  # it was held: others were numbered since
            job.result = replace(result, number=session.next_result)
            session.next_result += 1
        self._delivery.hand_over(session, job)
        if job.attempt == 0 and result.error is not None and result.error.retryable:
            self.shard.window.unbind(job)  # it never ran: from now on its key is free again

    def timed(self, line: Utterances) -> None:
        """Skip what has kept others waiting for the whole window."""
        if line.session.utterances is not line or line.session.is_closed:
            return  # the session was begun anew, or is over: what was held is told by no timer
        now_ns = self.shard.now_ns
        window_ns = self._window_ns
        late = [index for index, at_ns in line.held_since_ns.items() if at_ns + window_ns <= now_ns]
        if late:
            self._skip_to(line, max(late))
        if line.held:
            self.shard.file(line, min(line.held_since_ns.values()) + window_ns)

    def flush(self, line: Utterances) -> None:
        """Nothing comes any more, or there is no room to wait for it: tell all that is held."""
        if line.held:
            self._skip_to(line, max(line.held))

    def _skip_to(self, line: Utterances, last: int) -> None:
        for index in sorted(index for index in line.held if index <= last):
            if index < line.next_index:
                continue  # told meanwhile
            self._miss(line, line.next_index, index)
            line.next_index = index
            line.is_begun = True
            self.go_on(line)
            if line.next_index == index:
                line.next_index += 1  # others of its index are late, now
                self.go_on(line)

    def _miss(self, line: Utterances, first: int, end: int) -> None:
        """Say of the indices from first to before end why they are skipped, in runs."""
        at = first
        for running in [*sorted(index for index in line.open if first <= index < end), end]:
            self._tell_missing(line, at, running - at, NOT_SUBMITTED)
            if running < end:
                self._tell_missing(line, running, 1, RUNNING)
            at = running + 1

    def _tell_missing(self, line: Utterances, index: int, count: int, reason: str) -> None:
        if count <= 0:
            return
        session = line.session
        missing = MissingResult(
            session_number=session.number,
            number=session.next_result,
            utterance_index=index,
            count=count,
            reason=reason,
        )
        session.next_result += 1
        self.shard.count(Counter.RESULTS_MISSING, count)
        line.missing[missing.number] = missing
        if len(line.missing) > MISSING_KEPT_MAX:
            oldest = next(iter(line.missing))
            del line.missing[oldest]
            self.shard.held.drop(session, oldest)
        self._delivery.tell_missing(session, missing)


def next_index(line: Utterances) -> int | None:
    """Return the index of what names none; None when the last one was used."""
    return line.last_index + 1 if line.last_index < NUMBER_MAX else None


def note_accepted(line: Utterances, index: int | None) -> None:
    """A job exists that will have a result; one that is older than the order lacks an index."""
    if index is None:
        return
    line.open[index] = line.open.get(index, 0) + 1
    line.last_index = max(line.last_index, index)
    _begin(line, index)


def _is_early(line: Utterances) -> bool:
    """Was nothing told yet, and may what comes first be still to be repeated by its client?"""
    session = line.session
    return not line.is_begun and (session.peer is None or bool(session.repeats))


def _begin(line: Utterances, index: int) -> None:
    if line.next_index < 0 or (not line.is_begun and index < line.next_index):
        line.next_index = index


def index_of(job: Job) -> int | None:
    """Which utterance a job is of; what it asked for is forgotten at its end."""
    return job.submit.utterance_index if job.result is None else job.result.utterance_index


def _index_of(job: Job) -> int:
    index = index_of(job)
    assert index is not None, job.job_id
    return index
