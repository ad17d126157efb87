"""Lane tickets: a worker can check who a node is without asking the manager.

A ticket is a keyed BLAKE2b over what the registration answer said; the key is shared by the
manager and the workers of one instance and never leaves the host.
"""

from hashlib import blake2b
from hmac import compare_digest

TICKET_BYTES = 16
TICKET_KEY_BYTES = 32


def lane_ticket(key: bytes, node_id: str, row: int, generation: int, epoch: int) -> bytes:
    """Return the 16-byte ticket of one registration."""
    told = f"{node_id}\0{row}\0{generation}\0{epoch}".encode()
    return blake2b(told, key=key, digest_size=TICKET_BYTES).digest()


def is_lane_ticket(ticket: bytes, expected: bytes) -> bool:
    """Compare in constant time."""
    return compare_digest(ticket, expected)
