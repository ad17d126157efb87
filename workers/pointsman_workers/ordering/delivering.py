"""Delivery: a session's results on their way to its client, and the pull mode of a slow one.

    at once     numbered and sent; kept as unread until the client acknowledges the number
    held        numbered and not sent: the client is away, may not read, its connection is
                congested, or as many bytes are unread as may be.  What comes later is held as well,
                so that numbers keep their order: an acknowledgement covers everything up to its
                number

What is held follows in order of its numbers when the client acknowledges, has read what its
connection held, or resumes.  It leaves in shares, one a step for each connection, so that a
session that comes back with much does not keep the others waiting.
"""

from collections.abc import Callable
from itertools import takewhile

from msgspec.structs import replace

from pointsman_wire.link import Congested, Relieved, Send
from pointsman_wire.session_messages import MissingResult, Result, ResultAck, ResultsWaiting
from pointsman_workers.core.held import OVERHEAD_BYTES
from pointsman_workers.core.shard import Shard
from pointsman_workers.core.state import Job, Peer, Session

SHARE_BYTES = 1024 * 1024
UNNUMBERED = 0
BELIEVED_MAX = 2**62  # no session had so many results; above 2**63 none can be told


def unnumbered(result: Result | None) -> Result | None:
    """A result that is to be told under a new number, whatever the next one is.

    Its own was seen by the client, or is one of another session of the same id: told again under
    it, it would be skipped, or stand for a number that something else has.
    """
    return None if result is None else replace(result, number=UNNUMBERED)


def count_on(session: Session, last_number: int) -> None:
    """Give no number again that the client has read, as it says: as far as that can be true."""
    session.next_result = max(session.next_result, min(last_number, BELIEVED_MAX) + 1)


def is_newest(session: Session, result: Result) -> bool:
    """Has it a number, the last one that its session gave?"""
    return UNNUMBERED != result.number == session.next_result - 1


def _kept_bytes(item: Job | MissingResult) -> int:
    if not isinstance(item, Job):
        return OVERHEAD_BYTES
    return OVERHEAD_BYTES + len(item.output) + item.extra_bytes


class DeliveryDesk:
    """Sends results, holds them back, and lets go of what was read.

    `emptied` is told of a session whose held results have all been sent.
    """

    def __init__(self, shard: Shard, emptied: Callable[[Session], None]) -> None:
        self.shard = shard
        self._emptied = emptied
        self._unread_bytes_max = shard.config.limits.results_queue_bytes_max
        self.due: dict[Session, None] = {}  # sessions that hold something and may go on

    # -- results ------------------------------------------------------------------------------

    def hand_over(self, session: Session, job: Job) -> None:
        """Send a numbered result, or hold it; it is kept until it is acknowledged."""
        result, peer = job.result, session.peer
        assert result is not None, job.job_id
        if self.shard.talks and job.key in self.shard.talks:
            self.shard.talk.told(job)
        if session.held is not None or peer is None or peer.is_congested or not session.may_read:
            self._hold(session, result.number, job)
            return
        unread_bytes = session.unread_bytes + OVERHEAD_BYTES + len(job.output) + job.extra_bytes
        if unread_bytes > self._unread_bytes_max and session.unread:  # what is alone may go
            self._hold(session, result.number, job)
            return
        session.unread[result.number] = job
        session.unread_bytes = unread_bytes
        if result.session_number != session.number:
            result = job.result = replace(result, session_number=session.number)
        self.shard.outbox.commands.append(Send(peer.connection, result, job.output))

    def tell_missing(self, session: Session, missing: MissingResult) -> None:
        """Send it in its place among the results, or hold it there."""
        if session.held is None and self._has_room(session, missing):
            self._send(session, missing)
        else:
            self._hold(session, missing.number, missing)

    def send_again(self, session: Session, job: Job) -> bool:
        """Answer a repeated submit of a result that is not read; False when it is not one."""
        result = job.result
        assert result is not None, job.job_id
        if session.unread.get(result.number) is job:
            self._send(session, job)
            return True
        # What is held comes by itself, in its turn.
        return session.held is not None and session.held.get(result.number) is job

    def _has_room(self, session: Session, item: Job | MissingResult) -> bool:
        """May it be sent now?  What is alone may, whatever its size."""
        if session.peer is None or session.peer.is_congested or not session.may_read:
            return False
        unread_bytes = session.unread_bytes
        return not unread_bytes or unread_bytes + _kept_bytes(item) <= self._unread_bytes_max

    def _hold(self, session: Session, number: int, item: Job | MissingResult) -> None:
        if self._is_one_too_many(session, item):
            session.forgotten += 1
            return
        self.shard.held.hold(session, number, item)
        if session.peer is not None and not session.is_told_waiting:
            self.due[session] = None

    def _is_one_too_many(self, session: Session, item: Job | MissingResult) -> bool:
        """Is it the failure of a job that never ran, and much is held?

        The window does not remember such jobs, and so does not bound them: their keys are free.
        """
        if session.held is None or not isinstance(item, Job) or item.attempt or item.result is None:
            return False
        error = item.result.error
        is_void = error is not None and error.retryable
        return is_void and len(session.held) >= self._unread_bytes_max // OVERHEAD_BYTES

    def _send_result(self, session: Session, job: Job) -> None:
        assert job.result is not None, job.job_id
        session.unread[job.result.number] = job
        session.unread_bytes += _kept_bytes(job)
        self._send(session, job)

    def _send(self, session: Session, item: Job | MissingResult) -> None:
        peer = session.peer
        if peer is None:
            return
        if not isinstance(item, Job):
            told = replace(item, session_number=session.number)
            self.shard.outbox.send(peer.connection, told)
            return
        assert item.result is not None, item.job_id
        if item.result.session_number != session.number:
            item.result = replace(item.result, session_number=session.number)
        self.shard.outbox.send(peer.connection, item.result, item.output)

    # -- what the client has ------------------------------------------------------------------

    def acknowledged(self, peer: Peer, message: ResultAck, _: bytes) -> None:
        """The client has read results up to these numbers: there is room for more."""
        # Of one that is named often only the last counts: a frame holds hundreds of thousands.
        for session_number, number in dict(message.results).items():
            session = peer.sessions.get(session_number)
            if session is None:
                continue
            self.read(session, number)
            if session.held is not None:
                self.due[session] = None

    def read(self, session: Session, last_number: int) -> None:
        """Forget results up to a number, in one walk: a dict is slow to find its first, often."""
        shard, unread = self.shard, session.unread
        numbers = [*takewhile(last_number.__ge__, unread)]
        has_withheld, unread_bytes = len(shard.withheld) > 0, session.unread_bytes
        for number in numbers:
            job = unread.pop(number)
            unread_bytes -= OVERHEAD_BYTES + len(job.output) + job.extra_bytes
            if has_withheld:
                shard.let_go(job)
        session.unread_bytes = unread_bytes
        for job in shard.held.read(session, last_number) if session.held else ():
            shard.let_go(job)
        missing = session.utterances.missing if session.utterances is not None else None
        while missing and (first := next(iter(missing))) <= last_number:
            del missing[first]
        if last_number > session.read:
            session.read = last_number
            shard.journal.read(session, last_number)

    def let_go(self, session: Session) -> None:
        """The client will never ask for what it has not read."""
        for job in [*session.unread.values(), *self.shard.held.clear(session)]:
            self.shard.let_go(job)
        session.unread.clear()
        session.unread_bytes = 0
        self.due.pop(session, None)

    # -- connections --------------------------------------------------------------------------

    def handlers(self) -> dict[type, Callable[..., None]]:
        """What is done about which event."""
        return {Congested: self._congested, Relieved: self._relieved}

    def left(self, session: Session) -> None:
        """The session has no connection any more: what is not read is to be sent again."""
        missing = session.utterances.missing if session.utterances is not None else {}
        self.shard.held.hold_again(session, {**session.unread, **missing})
        session.unread.clear()
        session.unread_bytes = 0
        session.is_told_waiting = False
        self.due.pop(session, None)

    def resumed(self, session: Session) -> None:
        """The session has a connection again, whose client has said what it lacks."""
        session.forgotten = 0
        if session.held is not None:
            self.due[session] = None

    def _congested(self, event: Congested) -> None:
        """Too much waits on a connection for its client to read: nothing more is sent."""
        peer = self.shard.peers.get(event.connection)
        if peer is not None:
            peer.is_congested = True

    def _relieved(self, event: Relieved) -> None:
        """The client has read it: what is held may follow."""
        peer = self.shard.peers.get(event.connection)
        if peer is None:
            return
        peer.is_congested = False
        for session in peer.sessions.values():
            if session.held is not None:
                self.due[session] = None

    # -- once a step --------------------------------------------------------------------------

    def pull(self) -> None:
        """Send what is held, as far as there is room, and tell of what is left."""
        due, self.due = self.due, {}
        shares: dict[Peer, int] = {}
        for session in due:
            peer = session.peer
            if peer is None or session.held is None:
                continue
            shares[peer] = self._pull(session, shares.get(peer, SHARE_BYTES))
            if not session.held:
                self._through(session)
                continue
            if self._has_room(session, next(iter(session.held.values()))):
                self.due[session] = None  # with the share of the next step
            elif not session.is_told_waiting:
                self._tell_waiting(session, len(session.held))

    def _pull(self, session: Session, share: int) -> int:
        """Send what is held out of a share of bytes; return what is left of it."""
        held = session.held
        while held and share > 0:
            item = next(iter(held.values()))
            if not self._has_room(session, item):
                break
            self.shard.held.take_first(session)
            share -= _kept_bytes(item)
            if isinstance(item, Job):
                self._send_result(session, item)
            else:
                self._send(session, item)
        return share

    def _through(self, session: Session) -> None:
        session.held = None
        if session.forgotten:
            self._tell_waiting(session, 0)
            session.forgotten = 0
        session.is_told_waiting = False
        self._emptied(session)

    def _tell_waiting(self, session: Session, count: int) -> None:
        assert session.peer is not None, session.session_id
        session.is_told_waiting = True
        waiting = ResultsWaiting(
            session_number=session.number, count=count, forgotten=session.forgotten
        )
        self.shard.outbox.send(session.peer.connection, waiting)
