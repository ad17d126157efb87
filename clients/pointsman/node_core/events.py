"""What the node's core is told beside its connections, and what it wishes beside sending.

Connections come and go as in pointsman_wire.link.  Commands of one step are executed in order;
StoreEpoch and StoreIdentity are on the disk before a later command of the same step is executed.
"""

from typing import Any

import msgspec

from pointsman.backoff import Entropy
from pointsman_wire.control_messages import Register, Service
from pointsman_wire.lane_messages import Assign
from pointsman_wire.messages import ErrorInfo

# ---- how a core is made


class AgentLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of one node; what happens at each is said where it is kept."""

    seen_count_max: int = 1_000_000
    seen_age_s: float = 24 * 3600.0
    held_count_max: int = 4_096
    held_bytes_max: int = 64 * 1024 * 1024
    held_age_s: float = 600.0


class AgentSetup(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a node's core starts from; `epochs` is what StoreEpoch kept, oldest first."""

    register: Register
    entropy: Entropy
    epochs: dict[tuple[str, int], int] = {}
    limits: AgentLimits = AgentLimits()


# ---- events


class JobEnded(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The handler of `run` came to its end: status completed, completed_no_text or failed."""

    run: int
    status: str = "completed"
    payload: bytes = b""
    content_type: str = ""
    meta: dict[str, Any] | None = None
    code: str = ""
    message: str = ""
    retryable: bool | None = None  # None: as its code says


class PartialMade(msgspec.Struct, frozen=True, gc=False):
    """The handler of `run` made a piece of a streaming result."""

    run: int
    payload: bytes
    content_type: str = ""
    meta: dict[str, Any] | None = None


class ProgressMade(msgspec.Struct, frozen=True, gc=False):
    """The handler of `run` says that it is alive and how far it got."""

    run: int
    percent: float = 0.0
    note: str = ""


class ResourcesMeasured(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The answer to MeasureResources; None = unknown.  foreign_jobs run here beside ours."""

    cpu_percent: float | None = None
    gpu_percent: float | None = None
    gpu_memory_percent: float | None = None
    memory_percent: float | None = None
    foreign_jobs: int = 0


class ServicesChanged(msgspec.Struct, frozen=True):
    """A service of the node started, stopped or failed; the whole list, as in register."""

    services: list[Service]


class PauseWished(msgspec.Struct, frozen=True):
    """The owner wants no new jobs for now, and why, or wants them again."""

    paused: bool
    reason: str = ""


class RenewWished(msgspec.Struct, frozen=True):
    """The node's certificate should be renewed: this is the signing request."""

    request: bytes


class DrainWished(msgspec.Struct, frozen=True):
    """Take no new jobs, finish the running ones until the deadline, leave."""

    deadline_s: float = 30.0
    reason: str = ""


# ---- commands


class StartJob(msgspec.Struct, frozen=True, gc=False):
    """Run the handler; answered by exactly one JobEnded with the same `run`."""

    run: int
    assign: Assign
    payload: bytes


class StopJob(msgspec.Struct, frozen=True, gc=False):
    """Ask a running handler to stop; its JobEnded still comes."""

    run: int
    reason: str = ""


class EndJob(msgspec.Struct, frozen=True, gc=False):
    """End a handler that did not stop when it was asked to; if that cannot be, the node itself.

    Wished of jobs that may only run while their worker confirms it: another node is about to
    start the next one.
    """

    run: int
    reason: str = ""


class StoreEpoch(msgspec.Struct, frozen=True, gc=False):
    """Keep the highest epoch of this shard over restarts."""

    instance_uid: str
    shard: int
    epoch: int


class StoreIdentity(msgspec.Struct, frozen=True, gc=False):
    """Keep the node's id and the key that proves it."""

    node_id: str
    key: str


class StoreCertificate(msgspec.Struct, frozen=True, gc=False):
    """Keep the node's newer certificate, and show it from the next connection on."""

    certificate: bytes


class MeasureResources(msgspec.Struct, frozen=True, gc=False):
    """Measure for the next heartbeat; answered by ResourcesMeasured."""


class StateChanged(msgspec.Struct, frozen=True, gc=False):
    """The node's state: connecting, registered, then what the server calls it."""

    state: str
    reason: str = ""


class Notice(msgspec.Struct, frozen=True, gc=False):
    """Something that the node's owner should find in the log."""

    text: str


class GiveUp(msgspec.Struct, frozen=True, gc=False):
    """The server refuses this node for good; nothing more is done."""

    error: ErrorInfo


class Stopped(msgspec.Struct, frozen=True, gc=False):
    """The node has drained and left; nothing more is done."""
