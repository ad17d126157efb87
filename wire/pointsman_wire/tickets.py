"""Lane tickets: a worker can check who a node is without asking the manager.

A ticket is a keyed BLAKE2b over what the registration answer said; the key is shared by the
manager and the workers of one instance and never leaves the host.  What a node proved itself with
is part of it, so that the ticket is of no use to who cannot prove the same.
"""

from hashlib import blake2b
from hmac import compare_digest

TICKET_BYTES = 16


def lane_ticket(key: bytes, place: tuple[str, int, int, int], proof: bytes = b"") -> bytes:
    """Return the 16-byte ticket of one registration.

    `place` is node id, row, generation and epoch; `proof` the digest of the key of the certificate
    that the node showed, b"" for a node that came without one.
    """
    node_id, row, generation, epoch = place
    told = f"{node_id}\0{row}\0{generation}\0{epoch}".encode()
    return blake2b(
        told + (b"\0" + proof if proof else b""), key=key, digest_size=TICKET_BYTES
    ).digest()


def is_lane_ticket(ticket: bytes, expected: bytes) -> bool:
    """Compare in constant time."""
    return compare_digest(ticket, expected)
