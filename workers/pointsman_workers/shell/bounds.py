"""The configured bounds, in the words of the socket shells."""

import msgspec

from pointsman_shm.config import LimitsConfig, WebConfig
from pointsman_shm.descriptors import take_descriptors
from pointsman_wire.session_messages import ToWorker
from pointsman_wire.sockets.bounds import ConnectionLimits, Strangers
from pointsman_wire.sockets.reading import MessageReader
from pointsman_wire.sockets.web.origins import WebSettings
from pointsman_workers.shell.doorway import DoorwayLimits

# A client that leaves a fourth of what would end its connection unread is sent no more results.
CONGESTED_SHARE = 4


def connection_limits(limits: LimitsConfig) -> ConnectionLimits:
    """What one connection of a client or a node may cost."""
    return ConnectionLimits(
        frame_bytes_max=limits.frame_bytes_max,
        first_frame_bytes_max=limits.handshake_bytes_max,
        first_frame_s=limits.handshake_s,
        frame_arrival_s=limits.frame_arrival_s,
        queue_bytes_max=limits.node_queue_bytes_max,
        queue_frames_max=limits.node_queue_frames_max,
        congested_bytes=limits.node_queue_bytes_max // CONGESTED_SHARE,
        congested_frames=limits.node_queue_frames_max // CONGESTED_SHARE,
        stall_s=limits.node_stall_s,
    )


def strangers(limits: LimitsConfig) -> Strangers:
    """How many peers may be unknown at a time."""
    return Strangers(
        total_max=limits.unauthenticated_max,
        per_address_max=limits.unauthenticated_per_address_max,
    )


def doorway_limits(limits: LimitsConfig) -> DoorwayLimits:
    """What the public port may cost."""
    return DoorwayLimits(
        guest_s=limits.handshake_s,
        connections_max=take_descriptors(limits.descriptors_percent),
    )


def web_settings(config: WebConfig, host: str) -> WebSettings:
    """Return how this worker meets browsers; `host` is where it listens."""
    return WebSettings(
        reader=MessageReader(ToWorker, msgspec.json),
        allowed_origins=config.allowed_origins,
        ping_s=config.ping_s,
        allowed_hosts=(*config.allowed_hosts, host),
    )
