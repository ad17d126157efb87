"""Enrolment: an introduction becomes a certificate, a certificate a newer one, or nothing.

operator                 node                                   manager
enrol NAME -> secret --> key made, request signed by it
                         enrol(secret, name, request) -- TLS --> used up? name, pool right?
                         certificate, kept with the key <------ signed for NAME, in the registry
                         ... at 67 % of its life: renew ------> same key, not revoked: signed
revoke NAME ---------------------------------------------------> no key is NAME's; it is ended
"""

from pointsman_sched.core.events import Answer, EnrolOrdered, RegistryEntry, RevokeOrdered
from pointsman_sched.core.fleet.health import Verb
from pointsman_sched.core.fleet.intervals import NANOSECONDS
from pointsman_sched.core.joining.certified import key_of, life_fault, overdue_at_s
from pointsman_sched.core.joining.identities import Refusal, hash_key
from pointsman_sched.core.joining.introductions import Claim
from pointsman_sched.core.joining.open_secrets import OPEN_MAX
from pointsman_sched.core.joining.revocations import revoke
from pointsman_sched.core.lifecycle import change
from pointsman_sched.core.state import ManagementState, Peer
from pointsman_shm.memory.stats_names import Counter
from pointsman_wire.control_messages import Enrol, Enrolled, Renew
from pointsman_wire.errors import Code
from pointsman_wire.link import Connection
from pointsman_wire.messages import error_answer
from pointsman_wire.order_messages import Introduction, Revoked
from pointsman_wire.secure.grants import BOUNDS_BYTES_MAX, Grant

NO_TLS = "this service has no TLS port: set tls.enabled and restart it"


def enrol(state: ManagementState, connection: Connection, message: Enrol) -> Refusal | None:
    """Give a node its certificate, or say why not; the connection has done its work then."""
    authority = state.setup.authority
    peer = state.peers[connection]
    if authority is None or peer.secured is None:
        return Refusal(Code.UNAUTHORIZED, f"nodes enrol over TLS; {NO_TLS}")
    claim = Claim(secret=message.secret, name=message.name, pool=message.pool, address=peer.address)
    wish = state.introductions.redeem(claim, state.now_ns)
    if isinstance(wish, Refusal):
        return wish
    digest = authority.key_digest(message.request)
    signed = authority.sign(message.request, wish.grant, state.wall_s)
    if digest is None or signed is None:
        return Refusal(Code.INVALID_MESSAGE, "request: a sound signing request for a P-256 key")
    node = state.nodes.by_id.get(wish.name)
    if node is not None and node.is_live and not node.instance:
        change(state, node, Verb.END, "enrolled anew: another key is its own now")
    epoch = state.identities.epoch_of(wish.name)
    entry = RegistryEntry(wish.name, hash_key(key_of(digest)), epoch, True)
    state.remember(entry)
    state.outbox.answer_recorded(entry, connection, Enrolled(name=wish.name, certificate=signed))
    state.stats.add(Counter.ENROLMENTS)
    return None


def renew(state: ManagementState, connection: Connection, message: Renew) -> Refusal | None:
    """Give a node that is here a newer certificate for its key, or say why not."""
    authority, peer = state.setup.authority, state.peers[connection]
    secured = peer.secured
    if authority is None or secured is None or not secured.name:
        return Refusal(Code.INVALID_MESSAGE, "there is no certificate to renew on this connection")
    digest = authority.key_digest(message.request)
    if digest != secured.key_digest:
        words = "a certificate is renewed for the same key; another key needs a new introduction"
        return Refusal(Code.INVALID_MESSAGE, words)
    grant = Grant(
        name=secured.name, pool=secured.pool, tenant=secured.tenant, labels=secured.labels
    )
    signed = authority.sign(message.request, grant, state.wall_s)
    assert signed is not None, "its key was read"
    peer.certificate_lasts(state.wall_s, state.wall_s + authority.lasts_s)
    judge_life(state, peer)
    state.outbox.send(connection, Enrolled(name=secured.name, certificate=signed))
    state.stats.add(Counter.CERTIFICATES_RENEWED)
    return None


def judge_life(state: ManagementState, peer: Peer) -> str:
    """Note when to look at a peer's certificate next; return why it is not in force, or ""."""
    secured = peer.secured
    if secured is None or not secured.name:
        return ""
    now_s = state.wall_s
    if fault := life_fault(secured, now_s):
        return fault
    overdue_s = overdue_at_s(secured)
    if now_s >= overdue_s and not peer.is_overdue:
        peer.is_overdue = True
        state.stats.add(Counter.CERTIFICATES_OVERDUE)
        left_s = secured.ends_at_s - now_s
        state.outbox.alarm(
            f"node {secured.name}: its certificate ends in {left_s} s and was not renewed; look at "
            "the node's log, or enrol it again"
        )
    next_s = secured.ends_at_s if now_s >= overdue_s else overdue_s
    peer.look_at_ns = state.now_ns + (next_s - now_s) * NANOSECONDS
    return ""


def enrol_ordered(state: ManagementState, event: EnrolOrdered) -> None:
    """Introduce a node."""
    authority = state.setup.authority
    if authority is None:
        _refuse(state, event.ticket, Code.UNSUPPORTED_FEATURE, NO_TLS)
        return
    if len(event.wish.grant.bounds) > BOUNDS_BYTES_MAX:
        words = f"tenant and labels: spelt out they take more than {BOUNDS_BYTES_MAX} bytes"
        _refuse(state, event.ticket, Code.INVALID_MESSAGE, words)
        return
    secret = state.introductions.issue(event.wish, state.now_ns)
    if secret is None:
        words = f"{OPEN_MAX} introductions are open, as many as there may be; wait until some lapse"
        _refuse(state, event.ticket, Code.RATE_LIMITED, words)
        return
    answer = Introduction(
        secret=secret,
        name=event.wish.name,
        pool=event.wish.pool,
        expires_in_s=event.wish.span_ns / NANOSECONDS,
        pin=authority.pin,
        address=authority.address,
    )
    state.outbox.wish(Answer(event.ticket, answer))


def revoke_ordered(state: ManagementState, event: RevokeOrdered) -> None:
    """From now on no key proves this name; the node is ended where it is connected."""
    node_id = event.node_id
    if not state.identities.is_known(node_id):
        words = f"no node {node_id!r} has ever enrolled or joined"
        _refuse(state, event.ticket, Code.NOT_FOUND, words)
        return
    is_here = revoke(state, node_id)
    state.outbox.wish(Answer(event.ticket, Revoked(node_id=node_id, was_here=is_here)))


def _refuse(state: ManagementState, ticket: int, code: Code, words: str) -> None:
    state.outbox.wish(Answer(ticket, error_answer(code, words)))
