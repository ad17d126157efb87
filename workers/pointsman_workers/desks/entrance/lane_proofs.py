"""Who may open a lane: the ticket of a registration, shown by whoever it was given to.

    registered with          the lane must come
    -----------------------  ---------------------------------------------------------
    a certificate, over TLS  over TLS, with a certificate for the same key
    nothing, in plaintext    in plaintext, while that needs no certificate (auth.loopback)

A ticket is bound to the key of the certificate that its node registered with, so a ticket alone,
read out of a node's memory or seen on its way, opens nothing.  That the certificate is in force,
and was not revoked, is the manager's to see: it ends the node, and with it its lanes.
"""

from pointsman_shm.tls.exposure import needs_certificate
from pointsman_wire.lane_messages import LaneOpen
from pointsman_wire.preamble import Secured
from pointsman_wire.tickets import is_lane_ticket, lane_ticket
from pointsman_workers.core.shard import Shard

NO_CERTIFICATE = (
    "a lane shows the certificate that its node registered with: enrol the node (pointsman enrol), "
    "and have it come over TLS"
)


def lane_fault(shard: Shard, secured: Secured | None, message: LaneOpen) -> str:
    """Return why a lane that came this way may not be opened, or ""."""
    loopback = shard.config.auth.loopback
    proof = b"" if secured is None else secured.key_digest
    if needs_certificate(is_tls=secured is not None, loopback=loopback) and not proof:
        return NO_CERTIFICATE
    if not 0 <= message.row < shard.config.nodes.max_nodes:
        return f"row {message.row} does not exist"
    place = (message.node_id, message.row, message.generation, message.epoch)
    if not is_lane_ticket(message.ticket, lane_ticket(shard.setup.ticket_key, place, proof)):
        return "the lane ticket is not of this registration: register again"
    return ""
