"""Who a node is that comes over TLS: what its certificate says, never what a message says.

The registry is the list of certificates that count: name -> the digest of one key.  Enrolment
writes it, revocation replaces the digest by one that no key has; so a certificate that our
authority signed is worth nothing once its key is not the one that stands there.  Where several
instances have one authority, the first certificate that is shown for a new name is taken as if it
had been enrolled here.
"""

from typing import Protocol

import msgspec

from pointsman_sched.core.joining.identities import Identities, Refusal
from pointsman_wire.control_messages import Register
from pointsman_wire.errors import Code
from pointsman_wire.preamble import Secured
from pointsman_wire.secure.grants import Grant

# Keys of this form stand for certificates; a node that only says one has none.
KEY_PREFIX = "certificate:"
POOL_LABEL = "pool"
OVERDUE_PERCENT = 90


class Authority(Protocol):
    """Signs certificates of nodes; the key is the shell's."""

    pin: str  # of the server, for those who enrol
    address: str  # of the TLS port,
    advertised: str  # for clients and nodes of other instances; "": they are not sent here
    lasts_s: int  # a node's certificate
    is_shared: bool  # several instances have it

    def sign(self, request: bytes, grant: Grant, now_s: int) -> bytes | None:
        """Return a certificate (PEM), None for a request (DER) that is not sound."""

    def key_digest(self, request: bytes) -> bytes | None:
        """Return the digest of the key of a request, None for one that is not sound."""


def key_of(digest: bytes) -> str:
    """Return the key that stands for a certificate in the registry."""
    return KEY_PREFIX + digest.hex()


def life_fault(secured: Secured, now_s: int) -> str:
    """Return why a certificate is not in force, or ""; a resumed connection may show an old one."""
    if secured.ends_at_s <= now_s:
        return f"the certificate of {secured.name!r} is over: enrol again (pointsman enrol)"
    if secured.begins_at_s > now_s:
        return f"the certificate of {secured.name!r} is not in force yet: look at the clocks"
    return ""


def overdue_at_s(secured: Secured) -> int:
    """Return when somebody should be told that a certificate has not been renewed."""
    life_s = secured.ends_at_s - secured.begins_at_s
    return secured.begins_at_s + life_s * OVERDUE_PERCENT // 100


def certified(
    message: Register,
    secured: Secured | None,
    identities: Identities,
    now_s: int,
    *,
    is_shared: bool = False,
) -> Register | Refusal:
    """Return the registration as its sender may mean it, or why he may not.

    Where the authority is the fleet's, a name that is new here was enrolled elsewhere.
    """
    if secured is None:
        if message.key.startswith(KEY_PREFIX):
            words = f"node id {message.node_id!r} is proven by a certificate, over TLS"
            return Refusal(Code.NODE_ID_CONFLICT, words)
        return message
    if not secured.name:
        words = "over TLS a node shows its certificate: enrol it first (pointsman enrol)"
        return Refusal(Code.UNAUTHORIZED, words)
    if fault := life_fault(secured, now_s):
        return Refusal(Code.UNAUTHORIZED, fault)
    if message.node_id not in ("", secured.name):
        words = f"the certificate is that of {secured.name!r}, not of {message.node_id!r}"
        return Refusal(Code.NODE_ID_CONFLICT, words)
    if any(hint != secured.pool for hint in message.pool_hints):
        words = f"the certificate of {secured.name!r} is for pool {secured.pool!r}"
        return Refusal(Code.UNAUTHORIZED, words)
    key = key_of(secured.key_digest)
    is_new = is_shared and not identities.is_known(secured.name)
    if not is_new and not identities.has_key(secured.name, key):
        words = f"the certificate of {secured.name!r} was revoked, or another one has taken over"
        return Refusal(Code.UNAUTHORIZED, words)
    meant = _within(message, secured)
    return msgspec.structs.replace(meant, node_id=secured.name, key=key)


def _within(message: Register, secured: Secured) -> Register:
    """Return what a node declares, within what its certificate lets it declare."""
    labels = dict(secured.labels) or dict(message.labels)
    labels.pop(POOL_LABEL, None)
    if secured.pool:  # who was introduced to no pool is in none, whatever it declares
        labels[POOL_LABEL] = secured.pool
    meant = msgspec.structs.replace(message, labels=labels)
    if not secured.tenant:
        return meant
    return msgspec.structs.replace(meant, tenant=secured.tenant, accept_public_jobs=False)
