"""Messages on the unix socket between a worker and the manager: facts up, orders down.

Framed like everything else that crosses a socket; both ends live on one host and have one
version, so these messages are free to change between releases.
"""

import msgspec


class UplinkMessage(msgspec.Struct, tag_field="type", omit_defaults=True, frozen=True, gc=False):
    """Base of what workers and manager tell each other."""


class WorkerHello(UplinkMessage, tag="worker_hello", frozen=True):
    """First frame of an uplink: which worker, in which epoch of its shard."""

    worker_index: int
    pid: int
    epoch: int


class ModelUnavailable(UplinkMessage, tag="model_unavailable", frozen=True):
    """A node failed a job with MODEL_NOT_AVAILABLE: mark (node, service, version)."""

    row: int
    generation: int
    service: str
    version: str = ""


class NodeZombie(UplinkMessage, tag="node_zombie", frozen=True):
    """A node answers on its control connection but does not read its lane."""

    row: int
    generation: int
    epoch: int
    reason: str


class PairingAsked(UplinkMessage, tag="pairing_asked", frozen=True):
    """A session came with a pairing code: which node is it for?  `number` is in the answer."""

    number: int
    code: str
    tenant: str
    session_id: str
    address: str = ""


class WorkerPressed(UplinkMessage, tag="worker_pressed", frozen=True):
    """A worker's step of overload, on each change, and every second while it is not 0."""

    step: int


class ManagerWelcome(UplinkMessage, tag="manager_welcome", frozen=True):
    """The manager's answer to worker_hello."""

    worker_count: int
    instance_uid: str


class SnapshotPublished(UplinkMessage, tag="snapshot_published", frozen=True):
    """A hint that a new version stands; who misses it finds the version word anyway."""

    version: int


class PairingAnswered(UplinkMessage, tag="pairing_answered", frozen=True):
    """The answer to pairing_asked: a node, or a code of the errors and why there is none."""

    number: int
    node_id: str = ""
    code: str = ""
    words: str = ""
    retry_after_ms: int | None = None


class RateShares(UplinkMessage, tag="rate_shares", frozen=True):
    """What of tenants' rates is this instance's, in jobs a second, while others share them.

    Of the rate of tenants that are not in it every living instance has an equal part.
    """

    living: int
    shares: tuple[tuple[str, float], ...] = ()


class Alternatives(UplinkMessage, tag="alternatives", frozen=True):
    """Where the other living instances of the fleet let clients and nodes in, HOST:PORT each."""

    plain: tuple[str, ...] = ()
    tls: tuple[str, ...] = ()


class NameHeld(UplinkMessage, tag="name_held", frozen=True):
    """Is the instance's name ours in the fleet?  Not before Redis has said so, nor when it says no.

    Whoever has the name reads the inboxes: two of one name would have half of each.
    """

    is_ours: bool


FromWorker = WorkerHello | ModelUnavailable | NodeZombie | PairingAsked | WorkerPressed
FromManager = (
    ManagerWelcome | SnapshotPublished | PairingAnswered | RateShares | Alternatives | NameHeld
)
