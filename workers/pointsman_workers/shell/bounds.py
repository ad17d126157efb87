"""The configured bounds, in the words of the socket shells; and those of this process."""

import resource

from pointsman_shm.config import LimitsConfig
from pointsman_wire.sockets.bounds import ConnectionLimits, Strangers
from pointsman_workers.shell.doorway import DoorwayLimits

# Its own: segments, logs, unix sockets, the listening socket.
DESCRIPTORS_RESERVED = 32


def connection_limits(limits: LimitsConfig) -> ConnectionLimits:
    """What one connection of a client or a node may cost."""
    return ConnectionLimits(
        frame_bytes_max=limits.frame_bytes_max,
        first_frame_bytes_max=limits.handshake_bytes_max,
        first_frame_s=limits.handshake_s,
        frame_arrival_s=limits.frame_arrival_s,
        queue_bytes_max=limits.node_queue_bytes_max,
        queue_frames_max=limits.node_queue_frames_max,
        stall_s=limits.node_stall_s,
    )


def strangers(limits: LimitsConfig) -> Strangers:
    """How many peers may be unknown at a time."""
    return Strangers(
        total_max=limits.unauthenticated_max,
        per_address_max=limits.unauthenticated_per_address_max,
    )


def doorway_limits(limits: LimitsConfig) -> DoorwayLimits:
    """What the public port may cost; takes all the descriptors that this process may have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    share = hard * limits.descriptors_percent // 100
    return DoorwayLimits(
        guest_s=limits.handshake_s, connections_max=max(1, share - DESCRIPTORS_RESERVED)
    )
