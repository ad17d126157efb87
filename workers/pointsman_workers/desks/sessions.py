"""Sessions of the shard: opened, resumed, closed, and given their results.

A session belongs to (tenant, session id) and outlives its connection by the resume window.  Its
results are numbered; what the client has not acknowledged is kept and sent again on resume.
"""

from collections.abc import Callable, Iterable
from functools import partial

from msgspec.structs import replace

from pointsman_shm.memory.stats_names import Counter
from pointsman_shm.tls.exposure import needs_token
from pointsman_wire.errors import Code
from pointsman_wire.limits import PROTOCOL_VERSION
from pointsman_wire.link import Accepted, Connection
from pointsman_wire.messages import Error, ErrorInfo, error_info
from pointsman_wire.preamble import Role
from pointsman_wire.session_messages import (
    Moved,
    SessionClose,
    SessionClosed,
    SessionInit,
    SessionInitAck,
)
from pointsman_wire.shards import shard_of
from pointsman_workers.core.shard import Shard
from pointsman_workers.core.state import Job, Peer, Session
from pointsman_workers.desks.entrance.tokens import TokenDesk, is_same_secret
from pointsman_workers.desks.entrance.unfinished import answer_unfinished, is_unfinished
from pointsman_workers.desks.pairing import PairingDesk, is_paired_with
from pointsman_workers.ordering.delivering import DeliveryDesk, count_on, unnumbered
from pointsman_workers.ordering.orders import kept_order, set_order
from pointsman_workers.ordering.utterances import UtteranceDesk

SESSION_ID_TRIES = 10_000


class SessionDesk:
    """Everything that happens to sessions apart from their jobs."""

    def __init__(self, shard: Shard) -> None:
        self.shard = shard
        self.pairing = PairingDesk(shard, self._admit_paired)
        self.tokens = TokenDesk(shard, partial(self.init, is_late=True), self._cut_off)
        self.delivery = DeliveryDesk(shard, self.end_if_done)
        self.utterances = UtteranceDesk(shard, self.delivery)
        # With Redis: told of each session that is new here.
        self.opened: Callable[[Session], None] = lambda session: None
        self.refusal_for_load: Callable[[], ErrorInfo | None] = lambda: None

    def connected(self, event: Accepted) -> None:
        """A client dialled in; it has no session until it sends session_init."""
        is_trunk = event.preamble.role is Role.TRUNK
        is_tls = event.preamble.secured is not None
        self.shard.peers[event.connection] = Peer(
            connection=event.connection,
            is_trunk=is_trunk,
            address=event.peer,
            is_tls=is_tls,
            must_prove=needs_token(is_tls=is_tls, loopback=self.shard.config.auth.loopback),
        )

    def disconnected(self, connection: Connection) -> None:
        """The connection is gone; its sessions wait for their clients to come back."""
        peer = self.shard.peers.pop(connection)
        for session in peer.sessions.values():
            session.peer = None
            self.shard.crowd.left(peer.address)
            self.delivery.left(session)
            self._await_return(session)

    def _cut_off(self, session: Session, reason: str) -> None:
        """The session leaves its connection as if that had broken."""
        self._leave_peer(session, reason)
        self._await_return(session)

    def _await_return(self, session: Session) -> None:
        session.touched_at_ns = self.shard.now_ns
        self.shard.file(session, self._ends_at_ns(session))
        self.shard.talk.left(session)

    def init(self, peer: Peer, wish: SessionInit, *, is_late: bool = False) -> None:
        """Open a session or take it up again; `is_late` when it was put off once already."""
        shard = self.shard
        message = self.tokens.admit(peer, wish, is_late=is_late)
        if message is None:
            return
        refusal = self._refusal(peer, message)
        if refusal is not None:
            shard.outbox.send(peer.connection, refusal)
            return
        session_id = message.session_id or self._id_near(message.room)
        owner = shard_of(session_id, shard.worker_count)
        if owner != shard.worker_index:
            moved = Moved(
                ref=message.ref, session_id=session_id, shard=owner, worker_count=shard.worker_count
            )
            shard.outbox.send(peer.connection, moved)
            return
        session = shard.sessions.get((message.tenant, session_id))
        if shard.is_drained and not is_unfinished(session):
            shard.outbox.send(peer.connection, _going(message))
            return
        message = replace(message, session_id=session_id)
        paired_code = session.pairing_code if session is not None else ""
        if message.pairing_code and not is_paired_with(message.pairing_code, paired_code):
            self.pairing.ask(peer, message)
        else:
            self._admit(peer, message, "")

    def _admit_paired(self, peer: Peer, wish: SessionInit, node_id: str) -> None:
        """The manager knows the code: open the session, if nothing has come in between."""
        message = self.tokens.admit(peer, wish, is_late=True)
        if message is None:
            return
        refusal = self._refusal(peer, message)
        if refusal is not None:
            self.shard.outbox.send(peer.connection, refusal)
            return
        self._admit(peer, message, node_id)

    def _admit(self, peer: Peer, message: SessionInit, paired_node: str) -> None:
        """Open or resume a session of this shard, bound to a node by its pairing code or not."""
        shard = self.shard
        session_id = message.session_id
        session = shard.sessions.get((message.tenant, session_id))
        is_resumed = session is not None and is_same_secret(
            session.resume_token, message.resume_token
        )
        if session is None:
            session = self._open(message, session_id)
        elif session.peer is not None:
            self._leave_peer(session, "a newer connection took the session")
        if not is_resumed:
            # Who comes without the token starts anew: what was undelivered is not theirs to read,
            # but a repeated submit of the same key still finds its job.
            self._let_go_of_unread(session)
            session.resume_token = shard.setup.entropy(16).hex()
        if is_resumed and session.order != message.order and session.utterances is not None:
            self.utterances.flush(session.utterances)
        if session.order != message.order or not is_resumed:
            set_order(session, message.order, shard.lines)
        if paired_node:
            session.paired_node, session.pairing_code = paired_node, message.pairing_code
        elif not is_resumed and not message.pairing_code:
            session.paired_node = session.pairing_code = ""
        self._join(peer, session, message, is_resumed=is_resumed)

    def _refusal(self, peer: Peer, message: SessionInit) -> Error | None:
        session = self.shard.sessions.get((message.tenant, message.session_id))
        if session is not None and (error := kept_order(session, message.order)) is not None:
            return Error(error, ref=message.ref)
        if self.shard.is_stopping:
            return _going(message)
        if (error := self.refusal_for_load()) is not None:
            return Error(error, ref=message.ref)
        if peer.sessions and not peer.is_trunk:
            text = "this connection carries one session; open a trunk for many"
            return Error(error_info(Code.INVALID_MESSAGE, text), ref=message.ref)
        if (error := self._one_too_many(peer, session, message)) is not None:
            self.shard.count(Counter.SESSIONS_REFUSED)
            return Error(error, ref=message.ref)
        return None

    def _one_too_many(
        self, peer: Peer, session: Session | None, message: SessionInit
    ) -> ErrorInfo | None:
        """Why shard, tenant or address have as many sessions as they may; None if they have not."""
        shard, session_id = self.shard, message.session_id
        if session_id and shard_of(session_id, shard.worker_count) != shard.worker_index:
            return None  # it will be another worker's
        here = session.peer.address if session is not None and session.peer is not None else None
        if here != peer.address and (error := shard.crowd.full_address(peer.address)) is not None:
            return error
        if session is not None:
            return None
        rules = shard.tenants.rules(message.tenant)
        return shard.crowd.full(message.tenant, rules.sessions_max)

    def _id_near(self, room: str) -> str:
        """Make an id of this very shard, so that a new session never has to cross; or a room's."""
        shard = self.shard
        if room:
            return self.new_session_id(shard_of(room, shard.worker_count))
        # A drained worker has the next one take it.
        return self.new_session_id((shard.worker_index + shard.is_drained) % shard.worker_count)

    def new_session_id(self, owner: int) -> str:
        """Make an id of a shard."""
        shard = self.shard
        for _ in range(SESSION_ID_TRIES):
            session_id = "s-" + shard.setup.entropy(16).hex()
            if shard_of(session_id, shard.worker_count) == owner:
                return session_id
        raise AssertionError(f"no id of shard {owner} in {SESSION_ID_TRIES} tries")

    def _open(self, message: SessionInit, session_id: str) -> Session:
        shard = self.shard
        shard.last_session += 1
        session = Session(
            tenant=message.tenant,
            session_id=session_id,
            resume_token="",
            peer=None,
            serial=shard.last_session,
        )
        shard.sessions[message.tenant, session_id] = session
        shard.crowd.opened(message.tenant)
        shard.count(Counter.SESSIONS_OPENED)
        self.opened(session)
        return session

    def _join(
        self, peer: Peer, session: Session, message: SessionInit, *, is_resumed: bool
    ) -> None:
        """Put the session on the connection, answer, and send again what was not read."""
        shard = self.shard
        session.peer, session.number = peer, peer.next_number
        peer.sessions[peer.next_number] = session
        shard.crowd.came(peer.address)
        peer.next_number += 1
        self.tokens.entered(session, message)
        session.take_wishes(message)
        session.is_closing = session.is_closed = False
        self.touch(session)
        if session.may_read:
            self.delivery.read(session, message.last_result)
        self._restore_unread(session, message.last_result if session.may_read else session.read)
        if session.segment:
            shard.journal.session(session)
        sessions = shard.config.sessions
        ack = SessionInitAck(
            ref=message.ref,
            session_number=session.number,
            session_id=session.session_id,
            shard=shard.worker_index,
            worker_count=shard.worker_count,
            resume_token=session.resume_token,
            resumed=is_resumed,
            unfinished=answer_unfinished(shard, session, message.unfinished),
            protocol_version=PROTOCOL_VERSION,
            server_version=shard.setup.server_version,
            instance=shard.setup.instance,
            payload_bytes_max=shard.config.limits.payload_bytes_max,
            heartbeat_interval_s=sessions.idle_s / 4,
            idle_timeout_s=sessions.idle_s,
            resume_window_s=sessions.resume_s,
            paired_node=session.paired_node,
            order=message.order,
        )
        shard.outbox.send(peer.connection, ack)
        self.delivery.resumed(session)
        if session.utterances is not None:
            self.utterances.resumed(session.utterances)
        self._tell_passed(session, ack.unfinished, message.last_result)
        shard.talk.joined(session, message)

    def _tell_passed(self, session: Session, named: Iterable[str], last_number: int) -> None:
        """Tell what waited for the disk when its worker died, and was passed by later numbers."""
        for request_id in named:
            job = self.shard.window.find((session.tenant, session.session_id, request_id))
            result = job.result if job is not None and job.is_end_safe else None
            if job is None or result is None or job.is_beyond_telling:
                continue
            if result.number <= last_number:
                self.repeat(session, job)

    def _leave_peer(self, session: Session, reason: str) -> None:
        peer = session.peer
        assert peer is not None, session.session_id
        del peer.sessions[session.number]
        self.shard.crowd.left(peer.address)
        session.peer = None
        self.delivery.left(session)
        self.shard.outbox.send(
            peer.connection, SessionClosed(session_number=session.number, reason=reason)
        )

    def touch(self, session: Session) -> None:
        """There was traffic: the session is not idle."""
        session.touched_at_ns = self.shard.now_ns
        if not session.filed_ns:
            self.shard.file(session, self._ends_at_ns(session))

    def _ends_at_ns(self, session: Session) -> int:
        sessions = self.shard.config.sessions
        lasts_s = sessions.resume_s if session.peer is None else sessions.idle_s
        return session.touched_at_ns + int(lasts_s * 1e9)

    def timed(self, session: Session) -> None:
        """Its timer fired: end it if it was idle or away for long enough."""
        if session.is_closed:
            return
        ends_at_ns = self._ends_at_ns(session)
        if session.open_jobs:
            ends_at_ns = max(ends_at_ns, self.shard.now_ns + 1_000_000_000)
        if ends_at_ns > self.shard.now_ns:
            self.shard.file(session, ends_at_ns)
        else:
            self.end(session, "idle")

    def close(self, session: Session, message: SessionClose) -> None:
        """The client is done: at once, or when its open jobs have delivered."""
        session.is_closing, session.terms = True, None
        if message.flush:
            self.end_if_done(session)
        else:
            self.end(session, "closed by the client")

    def end_if_done(self, session: Session) -> None:
        """End a session that is to be closed, when nothing is open and everything was sent."""
        is_busy = session.open_jobs or session.binding_count
        if not session.is_closing or is_busy or session.is_closed:
            return
        if session.utterances is not None:
            self.utterances.flush(session.utterances)
        if session.held is None or session.peer is None:
            self.end(session, "closed by the client")

    def end(self, session: Session, reason: str) -> None:
        """Free the session; jobs that still run end into the window."""
        session.is_closed = True
        if session.peer is not None:
            self._leave_peer(session, reason)
        self._let_go_of_unread(session)
        self.shard.journal.session_ended(session)
        if self.shard.sessions.pop((session.tenant, session.session_id), None) is not None:
            self.shard.crowd.ended(session.tenant)
        self.shard.talk.ended(session)

    def deliver(self, session: Session, job: Job) -> None:
        """Number a job's result, send it, and keep it until it is acknowledged."""
        assert job.result is not None, job.job_id
        if (open_jobs := session.open_jobs).get(job.key[2]) is job:  # else its key is a newer job's
            del open_jobs[job.key[2]]
        if self.shard.talks and job.key in self.shard.talks:
            self.shard.talk.finished(job)
        if session.is_closed:
            return
        # A job that is older than the session's order may lack an index.
        if session.utterances is None or job.result.utterance_index is None:
            self.delivery.hand_over(session, job)
        else:
            self.utterances.ended(session.utterances, job)
        if session.is_closing:
            self.end_if_done(session)

    def adopt(self, job: Job, session: Session) -> Session:
        """The job is this session's from now on: another of the same id had it, and is over."""
        if job.session is not session:
            job.session, job.result, job.usual = session, unnumbered(job.result), None
        return session

    def repeat(self, session: Session, job: Job) -> None:
        """Answer a repeated submit of a job that has ended with its stored result.

        One that was read before gets a new number: a client skips numbers it has seen.
        """
        assert job.result is not None, job.job_id
        if self.delivery.send_again(session, job):
            return
        if session.utterances is not None and job.result.utterance_index is not None:
            self.utterances.repeated(session.utterances, job)
            return
        job.result = replace(job.result, number=session.next_result)
        session.next_result += 1
        self.delivery.hand_over(session, job)

    def _restore_unread(self, session: Session, last_number: int) -> None:
        """After a restart: what the client has not read yet is undelivered again."""
        restored, session.restored = session.restored, []
        count_on(session, last_number)
        unread: dict[int, Job] = {}
        for result in restored:
            number, is_gone = result.kept.result.number, result.kept.is_result_gone
            if number > last_number and not is_gone and self.shard.window.is_remembered(result):
                job = self.shard.window.awaken(result)
                index = result.kept.result.utterance_index
                if session.utterances is not None and index is not None:
                    self.utterances.restored(session.utterances, job)
                    continue
                unread[number] = job
        self.shard.held.hold_again(session, unread)

    def _let_go_of_unread(self, session: Session) -> None:
        self.delivery.let_go(session)
        if session.utterances is not None:
            for jobs in session.utterances.held.values():
                for job in jobs:
                    self.shard.let_go(job)
        session.restored = []


def _going(message: SessionInit) -> Error:
    text = "this worker is stopping, or an operator drains it"
    return Error(error_info(Code.SHUTTING_DOWN, text, retry_after_ms=500), ref=message.ref)
