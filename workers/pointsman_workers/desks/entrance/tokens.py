"""Tokens: whose a session is, what its holder may do, and what becomes of those who guess.

    session_init ──► its address was wrong too often? ── yes ─► looked at a second later
                     │ no
                     ▼
                     known, not expired, of this tenant ── no ─► counted, UNAUTHORIZED, hung up on
                     │ yes
                     ▼
                     the tenant is the token's, whatever the message says

On an open loopback who sends no token is let in under the tenant it names; one that is sent is
always checked.  An address that was wrong too often is not refused: behind it may be others.  But
nothing it sends is judged before the delay is over, and only so many wait, so it cannot try faster.

When tokens change, sessions whose token counts no more lose their connection; what they have not
read stays for who comes with a good token of the tenant, as after any lost connection.
"""

from collections import deque
from collections.abc import Callable, Iterator
from hmac import compare_digest

from msgspec.structs import replace

from pointsman_shm.logs.events import Event
from pointsman_shm.memory.named_counts import NamedCount
from pointsman_shm.memory.stats_names import Counter
from pointsman_shm.tokens.judging import KnownToken, Scope, Tokens, scope_words
from pointsman_wire.errors import Code
from pointsman_wire.framing import Unreadable
from pointsman_wire.link import Frame, Received
from pointsman_wire.messages import Error, error_info
from pointsman_wire.session_messages import Cancel, ResultAck, SessionInit, Submit
from pointsman_wire.sockets.bounds import whence
from pointsman_wire.talk.talk_messages import AudioChunk, RoomJoin, UiEvent, Utterance
from pointsman_workers.core.events import Say, TokensChanged
from pointsman_workers.core.shard import SECOND_NS, Shard
from pointsman_workers.core.state import Peer, Postponed, Session
from pointsman_workers.core.turns.names import NamedCounts

MINUTE_NS = 60 * SECOND_NS
# Wrong tokens of a minute that are kept in mind, whoever sent them.
FAILURES_MAX = 100_000
WRONG = "wrong"
POSTPONED_MAX = 256
NEEDED: dict[type, Scope] = {
    Submit: Scope.SUBMIT,
    Utterance: Scope.SUBMIT,
    AudioChunk: Scope.SUBMIT,
    UiEvent: Scope.SUBMIT,
    RoomJoin: Scope.READ,
    Cancel: Scope.CANCEL,
}
MISSING = "this service wants a token: session_init came without one"
NOT_FIRST = "this service wants a token: the first message is a session_init with one"
UNKNOWN = "the token is not known here: it is wrong, or was revoked"


class Failures:
    """Who was wrong within the last minute, over all workers: those of the longest ago go first."""

    def __init__(self, count_max: int, names: NamedCounts) -> None:
        self._count_max = count_max
        self._names = names
        self._counts: dict[str, int] = {}  # at this worker, by address
        self._lately: deque[tuple[int, str]] = deque(maxlen=FAILURES_MAX)

    def note(self, address: str, now_ns: int) -> int:
        """It was wrong once more; return how often it was here within the last minute."""
        place = whence(address)
        self.tidy(now_ns)
        if len(self._lately) == FAILURES_MAX:
            self._forget_one()
        self._lately.append((now_ns, place))
        count = self._counts[place] = self._counts.get(place, 0) + 1
        self._names.add(NamedCount.HELD, WRONG, place, 1)
        return count

    def is_too_many(self, address: str, now_ns: int) -> bool:
        """Was it wrong so often within the last minute that it has to wait?"""
        self.tidy(now_ns)
        place = whence(address)
        elsewhere = self._names.elsewhere(NamedCount.HELD, WRONG, place)
        return self._counts.get(place, 0) + elsewhere >= self._count_max

    def tidy(self, now_ns: int) -> None:
        """What was longer ago counts no more, for the other workers neither."""
        while self._lately and now_ns - self._lately[0][0] >= MINUTE_NS:
            self._forget_one()

    def _forget_one(self) -> None:
        _, place = self._lately.popleft()
        self._counts[place] -= 1
        if not self._counts[place]:
            del self._counts[place]
        self._names.add(NamedCount.HELD, WRONG, place, -1)


class TokenDesk:
    """Judges tokens.

    `again` is called with what was put off, `leave` takes a session off its connection.
    """

    def __init__(
        self,
        shard: Shard,
        again: Callable[[Peer, SessionInit], None],
        leave: Callable[[Session, str], None],
    ) -> None:
        self.shard = shard
        self._again = again
        self._leave = leave
        auth = shard.config.auth
        self._failures = Failures(auth.failures_per_minute_max, shard.names)
        self._delay_ns = int(auth.failure_delay_s * SECOND_NS)
        self._postponed_count = 0
        self._hold(shard.setup.tokens)

    # -- opening ------------------------------------------------------------------------------

    def admit(
        self, peer: Peer, message: SessionInit, *, is_late: bool = False
    ) -> SessionInit | None:
        """Return the message under the tenant of its token; None: refused, or looked at later."""
        peer.has_asked = True
        if not message.token and not peer.must_prove:
            return message
        # Who has proved itself on this connection does not wait for what its neighbours do.
        must_wait = not is_late and not peer.sessions
        if must_wait and self._failures.is_too_many(peer.address, self.shard.now_ns):
            self._postpone(peer, message)
            return None
        token = self._tokens.find(message.token)
        if token is None:
            self._fail(peer, message, UNKNOWN if message.token else MISSING)
        elif token.is_expired:
            self._fail(peer, message, f"token {token.token_id} has expired: ask for a new one")
        elif message.tenant not in ("", token.tenant):
            self._fail(peer, message, f"token {token.token_id} is not one of the named tenant")
        else:
            return replace(message, tenant=token.tenant)
        return None

    def begins_well(self, peer: Peer, event: Received) -> bool:
        """Hang up on who must show a token and says something else first; was it not so?

        Any message makes it a stranger no more, whose time and number are bounded; it could stay
        for as long as it likes, and never be asked for a token.
        """
        said = (message for message, _ in event.frames if not isinstance(message, Unreadable))
        if isinstance(next(said, None), SessionInit | None):
            return True
        self.shard.count(Counter.TOKENS_REFUSED)
        self.shard.outbox.error(peer.connection, error_info(Code.UNAUTHORIZED, NOT_FIRST))
        self.shard.outbox.close(peer.connection, "no session_init")
        return False

    def entered(self, session: Session, message: SessionInit) -> None:
        """The session stands: note by which token."""
        token = self._tokens.find(message.token) if message.token else None
        session.token_id = token.token_id if token is not None else ""
        session.scopes = token.scopes if token is not None else Scope.ALL
        session.may_read = Scope.READ in session.scopes

    def tidy(self) -> None:
        """Now and then: forget who was wrong long ago."""
        self._failures.tidy(self.shard.now_ns)

    def timed(self, entry: Postponed) -> None:
        """It has waited: judge it now, if who sent it is still there."""
        self._postponed_count -= 1
        if self.shard.peers.get(entry.peer.connection) is entry.peer:
            self._again(entry.peer, entry.message)

    def _postpone(self, peer: Peer, message: SessionInit) -> None:
        if self._postponed_count >= POSTPONED_MAX:
            text = "too many tokens wait to be looked at"
            info = error_info(Code.RATE_LIMITED, text, retry_after_ms=self._delay_ns // 1_000_000)
            self.shard.outbox.send(peer.connection, Error(info, ref=message.ref))
            self.shard.outbox.close(peer.connection, text)
            return
        self._postponed_count += 1
        entry = Postponed(peer=peer, message=message)
        self.shard.file(entry, self.shard.now_ns + self._delay_ns)

    def _fail(self, peer: Peer, message: SessionInit, words: str) -> None:
        """Refuse, and hang up on who has no session here: the next try costs a connection."""
        shard = self.shard
        shard.count(Counter.TOKENS_REFUSED)
        was_slowed = self._failures.is_too_many(peer.address, shard.now_ns)
        count = self._failures.note(peer.address, shard.now_ns)
        is_slowed = self._failures.is_too_many(peer.address, shard.now_ns)
        if count == 1 or is_slowed > was_slowed:
            slower = "; what it sends is looked at later from now on" if is_slowed else ""
            who = f"address {peer.address or '(unknown)'}"
            shard.outbox.commands.append(Say(f"refuses {who}: {words}{slower}", Event.AUTH_FAILED))
        info = error_info(Code.UNAUTHORIZED, words)
        shard.outbox.send(peer.connection, Error(info, ref=message.ref))
        if not peer.sessions:
            shard.outbox.close(peer.connection, "no good token")

    # -- scopes -------------------------------------------------------------------------------

    def allowed(self, peer: Peer, frames: list[Frame]) -> Iterator[Frame]:
        """Pass on what the sessions of a connection may do, and answer what they may not.

        One by one, as they are asked for: the first may open the session of the second.
        """
        for message, payload in frames:
            if isinstance(message, ResultAck):
                # Who may not read results must not throw them away either.
                yield replace(message, results=self._readable(peer, message)), payload
                continue
            needed = NEEDED.get(type(message), Scope.NONE)
            session = peer.sessions.get(getattr(message, "session_number", 0))
            if session is None or needed in session.scopes:
                yield message, payload
            else:
                self._forbid(peer, session, message, needed)

    @staticmethod
    def _readable(peer: Peer, message: ResultAck) -> list[tuple[int, int]]:
        found = []
        for number, last in message.results:
            session = peer.sessions.get(number)
            if session is None or session.may_read:
                found.append((number, last))
        return found

    def _forbid(self, peer: Peer, session: Session, message: object, needed: Scope) -> None:
        self.shard.count(Counter.TOKENS_REFUSED)
        has = ", ".join(scope_words(session.scopes)) or "nothing"
        text = f"token {session.token_id} may {has}; this needs {', '.join(scope_words(needed))}"
        info = error_info(Code.UNAUTHORIZED, text)
        request_id = getattr(message, "request_id", "") or getattr(message, "utterance_id", "")
        self.shard.outbox.error(peer.connection, info, session.number, request_id)

    # -- changes ------------------------------------------------------------------------------

    def changed(self, event: TokensChanged) -> None:
        """Other tokens count: who has none of them any more is let go, as if its line were cut."""
        self._hold(event.tokens)
        outbox = self.shard.outbox
        for session in [*self.shard.sessions.values()]:
            peer = session.peer
            if peer is None or not session.token_id or self._tokens.is_good(session.token_id):
                continue
            error = error_info(Code.UNAUTHORIZED, f"token {session.token_id} counts no more")
            outbox.error(peer.connection, error, session.number)
            self._leave(session, error.message)
            if not peer.sessions:
                outbox.close(peer.connection, error.message)

    def _hold(self, known: tuple[KnownToken, ...]) -> None:
        self._tokens = Tokens(known)
        # May a session be anything less than all?  Else no frame needs to be looked at.
        self.has_limited = any(token.scopes != Scope.ALL for token in known)
        self.shard.tenants.hold_tokens(self._tokens.tenants)
        self.shard.kinds.read_anew()  # tenants with tokens have other rules


def is_same_secret(secret: str, other: str) -> bool:
    """Compare without telling by the time taken how much of it is right."""
    return compare_digest(secret.encode(), other.encode("utf-8", "surrogatepass"))
