"""Messages between a node and the manager on the node's control connection."""

from typing import Annotated, Literal

import msgspec

from pointsman_wire.limits import MAX_CONCURRENCY_MAX, NODE_ID_LENGTH_MAX
from pointsman_wire.messages import Error, Message, Name, Names, Number, WorkerCount

CAPABILITY_SCHEMA_VERSION = 1

# Not "$": that would let a last line feed pass.
NODE_ID_PATTERN = r"^[A-Za-z0-9._:-]*\Z"
ValidNodeId = Annotated[str, msgspec.Meta(max_length=NODE_ID_LENGTH_MAX, pattern=NODE_ID_PATTERN)]
# What a certificate can hold, in a field of 64 characters.
PoolName = Annotated[str, msgspec.Meta(max_length=64, pattern=NODE_ID_PATTERN)]
Language = Annotated[str, msgspec.Meta(max_length=16)]
Languages = Annotated[list[Language], msgspec.Meta(max_length=256)]
LanguagePair = tuple[Language, Language]
# Wide, so that a percentage out of range can be judged in words; but a number, and finite.
Percentage = Annotated[float, msgspec.Meta(ge=-1e9, le=1e9)]
Interval = Annotated[float, msgspec.Meta(ge=0, le=86_400)]  # seconds; 0: as it was
LanguagePairs = Annotated[list[LanguagePair], msgspec.Meta(max_length=512)]


class Service(msgspec.Struct, omit_defaults=True, frozen=True, gc=False, kw_only=True):
    """One service that is installed on a node."""

    id: Name
    # A service type of the server's catalogue: asr, nmt, tts, tone, semantic, or configured ones.
    kind: Name
    device: Literal["cpu", "gpu"] = "cpu"
    status: Literal["running", "stopped", "error"] = "running"
    # Why it is not running, for people.
    reason: Name = ""
    version: Name = ""
    model: Name = ""
    engine: Name = ""


class Translation(msgspec.Struct, omit_defaults=True, frozen=True, gc=False, kw_only=True):
    """Which pairs a node translates; blocked pairs are always excluded."""

    rule: Literal["any_to_any", "any_to_en", "en_to_any", "specific_pairs"] = "specific_pairs"
    languages: Languages = []
    pairs: LanguagePairs = []
    blocked: LanguagePairs = []


class Hardware(msgspec.Struct, omit_defaults=True, frozen=True, gc=False, kw_only=True):
    """What a node is made of; for people and for policies."""

    cpu_cores: Number = 0
    memory_mib: Number = 0
    gpus: Names = []
    gpu_memory_mib: Number = 0


class Register(Message, tag="register", frozen=True, kw_only=True):
    """Join the fleet.  Without node_id the server makes one; `key` proves a known id."""

    schema_version: int = CAPABILITY_SCHEMA_VERSION
    node_id: ValidNodeId = ""
    key: str = ""
    token: str = ""
    version: Name = ""
    platform: Name = ""
    hardware: Hardware = Hardware()
    services: Annotated[list[Service], msgspec.Meta(max_length=64)] = []
    features: Names = []
    # Recognition (asr), synthesis (tts), semantic repair: languages; translation: pairs.
    asr: Languages = []
    tts: Languages = []
    semantic: Languages = []
    nmt: Translation = Translation()
    max_concurrency: Annotated[int, msgspec.Meta(ge=1, le=MAX_CONCURRENCY_MAX)] = 4
    accept_public_jobs: bool = True
    tenant: Name = ""
    pool_hints: Names = []
    labels: Annotated[dict[Name, Name], msgspec.Meta(max_length=64)] = {}
    owner_policy: Names = []


class Enrol(Message, tag="enrol", frozen=True, kw_only=True):
    """Become a node, over TLS: with an introduction, and a signing request for a key of its own."""

    secret: Annotated[str, msgspec.Meta(max_length=128)]
    name: Annotated[
        str, msgspec.Meta(min_length=1, max_length=NODE_ID_LENGTH_MAX, pattern=NODE_ID_PATTERN)
    ]
    pool: PoolName = ""
    request: Annotated[bytes, msgspec.Meta(max_length=4096)] = b""


class Renew(Message, tag="renew", frozen=True, kw_only=True):
    """Ask for a newer certificate for the same key, on a connection that has shown one."""

    request: Annotated[bytes, msgspec.Meta(max_length=4096)] = b""


class Enrolled(Message, tag="enrolled", frozen=True, kw_only=True):
    """The answer to enrol and renew: show this certificate from the next connection on."""

    name: str
    certificate: bytes


class Registered(Message, tag="registered", frozen=True, kw_only=True):
    """The node is known: row, generation and epoch name it; now open a lane to each worker.

    `key` comes once, when the id is new: keep it, it proves the id from then on.
    """

    node_id: str = ""
    key: str = ""
    row: Number = 0
    generation: Number = 0
    epoch: Number = 0
    worker_count: WorkerCount = 1
    lane_ticket: bytes = b""
    instance: str = ""
    instance_uid: str = ""
    server_version: str = ""
    protocol_version: int = 1
    heartbeat_interval_s: Interval = 1.0
    # After so many intervals without a heartbeat the node is declared dead.
    offline_intervals: Number = 5
    # Lanes that stand may stay where row and generation are what they were: lane_open on each.
    lanes_stay: bool = False


class LanesReady(Message, tag="lanes_ready", frozen=True, kw_only=True):
    """Every lane stands: jobs may come."""


class Heartbeat(Message, tag="heartbeat", frozen=True, kw_only=True):
    """Alive, and this busy.  Percentages 0..100, None = unknown; absent lists stay as they were."""

    number: Number = 0
    cpu_percent: Percentage | None = None
    gpu_percent: Percentage | None = None
    gpu_memory_percent: Percentage | None = None
    memory_percent: Percentage | None = None
    # Jobs running on the node, ours and foreign.
    running: Number = 0
    services: Annotated[list[Service], msgspec.Meta(max_length=64)] | None = None
    # The owner's policy asks for no new jobs (a game runs, quiet hours).
    pause: bool = False
    pause_reason: Name = ""


class HeartbeatAck(Message, tag="heartbeat_ack", frozen=True, kw_only=True):
    """The answer: the same number, the state the server sees, and what it wants."""

    number: Number = 0
    state: str = ""
    desired: Literal["run", "drain", "pause"] = "run"
    config_version: Number = 0
    heartbeat_interval_s: Interval = 0.0
    server_time_ms: int = 0


class NodeStateChanged(Message, tag="node_state", frozen=True, kw_only=True):
    """The server sees the node in another health state, and why."""

    state: str
    reason: str = ""


class Drain(Message, tag="drain", frozen=True, kw_only=True):
    """No new jobs: asked by the node, or told to it; running jobs finish until the deadline."""

    deadline_s: Annotated[float, msgspec.Meta(ge=0, le=86_400)] = 30.0
    reason: Name = ""


class Leave(Message, tag="leave", frozen=True, kw_only=True):
    """The node goes for good; what it still runs fails over at once."""

    reason: Name = ""


ToManager = Register | LanesReady | Heartbeat | Drain | Leave | Enrol | Renew
ToNode = Registered | HeartbeatAck | NodeStateChanged | Drain | Enrolled | Error
