"""The configuration: one frozen tree of sections, every default and every bound in one place.

Only a process's main reads it (`config_load.load_config`); everything else gets plain values.
Durations end in `_s`, sizes in `_bytes_max`, counts in `_max`. A value out of its bounds, an
unknown key and a contradiction between two keys are refused when the tree is built.
"""

from collections import Counter
from typing import Annotated, Literal

import msgspec

from pointsman_shm.auditing.config_admin import AdminConfig
from pointsman_shm.config_redis import RedisConfig
from pointsman_shm.logs.config_logs import LogsConfig
from pointsman_shm.logs.config_otel import OtelConfig
from pointsman_shm.rules.catalogue import Catalogue
from pointsman_shm.tls.config import Place, TlsConfig
from pointsman_shm.tokens.settings import AuthConfig

KIB = 1024
MIB = 1024 * KIB

Seconds = Annotated[float, msgspec.Meta(gt=0, le=86_400)]
SecondsOrNone = Annotated[float, msgspec.Meta(ge=0, le=86_400)]  # 0 switches the wait off
Percent = Annotated[int, msgspec.Meta(ge=1, le=100)]
PercentOrNone = Annotated[int, msgspec.Meta(ge=0, le=100)]
SmallCount = Annotated[int, msgspec.Meta(ge=1, le=1_000)]
Slots = Annotated[int, msgspec.Meta(ge=1, le=4_096)]
NodeCount = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
JobCount = Annotated[int, msgspec.Meta(ge=1, le=10_000_000)]
Bytes = Annotated[int, msgspec.Meta(ge=1 * KIB, le=4_096 * MIB)]
# What the protocol allows (docs/protocol.md): a service may take less, never more.
FRAME_BYTES_MAX = 2 * MIB
PAYLOAD_BYTES_MAX = 1 * MIB
HANDSHAKE_BYTES_MAX = 64 * KIB
# The frame's length, header length and header travel beside the payload of a result.
FRAME_BYTES_MIN = PAYLOAD_BYTES_MAX + 64 * KIB
FrameBytes = Annotated[int, msgspec.Meta(ge=FRAME_BYTES_MIN, le=FRAME_BYTES_MAX)]
ResultBytes = Annotated[int, msgspec.Meta(ge=KIB, le=FRAME_BYTES_MAX)]
PayloadBytes = Annotated[int, msgspec.Meta(ge=4 * KIB, le=PAYLOAD_BYTES_MAX)]
HandshakeBytes = Annotated[int, msgspec.Meta(ge=16 * KIB, le=HANDSHAKE_BYTES_MAX)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
InstanceName = Annotated[str, msgspec.Meta(pattern="^[a-z0-9][a-z0-9-]{0,31}$")]
Weight = Annotated[float, msgspec.Meta(ge=0.01, le=1_000)]
PoolId = Annotated[int, msgspec.Meta(ge=0, le=65_535)]
TenantName = Annotated[str, msgspec.Meta(max_length=128)]  # "": that of sessions that name none
Override = tuple[TenantName, PoolId]


def _refuse_repeats(where: str, values: list[int] | list[str]) -> None:
    for value, count in Counter[int | str](values).items():
        if count > 1:
            raise ValueError(f"{where}: {value!r} is there twice")


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table of the file: frozen, and without keys of its own invention."""


class ServerConfig(Section, frozen=True):
    """The one public port and the processes behind it."""

    instance: InstanceName = "default"
    host: Annotated[str, msgspec.Meta(min_length=1, max_length=255)] = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 7400  # 0: any free port
    # HOST or HOST:PORT under which clients and nodes of the fleet's other instances reach this
    # port.  None: as it listens, and nobody is sent to a loopback address.
    advertise: Place | None = None
    workers: Annotated[int, msgspec.Meta(ge=1, le=64)] = 2


class DirectoriesConfig(Section, frozen=True):
    """Where files live; None means the place that paths.py names for this user."""

    state_dir: str | None = None
    runtime_dir: str | None = None


class NodesConfig(Section, frozen=True):
    """Registration, heartbeat and health of nodes."""

    max_nodes: NodeCount = 10_000
    max_concurrency_max: Slots = 4_096  # a node that claims more is refused
    require_gpu: bool = False
    heartbeat_interval_s: Seconds = 1.0
    heartbeats_per_second_max: JobCount = 5_000  # a larger fleet gets a longer interval
    warm_up_s: Seconds = 60.0
    bad_in_a_row: SmallCount = 3  # this many bad heartbeats make a node Degraded,
    bad_of_window: SmallCount = 3  # or this many
    bad_window: SmallCount = 5  # of the last this many
    suspect_intervals: SmallCount = 3
    offline_intervals: SmallCount = 5
    remember_offline_s: Seconds = 600.0
    drain_s: Seconds = 30.0  # a drain that names no deadline
    mass_loss_percent: Percent = 50  # more of the fleet than this lost in one window,
    mass_loss_nodes_min: SmallCount = 3  # and at least this many: nobody is declared dead
    mass_loss_hold_s: Seconds = 300.0  # for at most this long
    flap_free_max: SmallCount = 3  # returns of a node without calm between; then it must wait
    flap_backoff_max_s: Seconds = 60.0  # 1, 2, 4 ... s, at most this long,
    flap_calm_s: Seconds = 60.0  # until it has stayed for this long after that
    takeovers_max: SmallCount = 3  # of one id within a minute: two machines have it,
    quarantine_s: Seconds = 60.0  # and both are kept out for so long
    # Busier nodes get no new jobs; 0 switches the check off, for nodes that share one machine.
    resource_threshold_percent: PercentOrNone = 85
    model_mark_s: Seconds = 60.0
    model_marks_max: SmallCount = 30  # per node in each window of
    model_marks_window_s: Seconds = 10.0
    classes_max: Annotated[int, msgspec.Meta(ge=1, le=4_096)] = 4_096
    classes_per_owner_max: Annotated[int, msgspec.Meta(ge=1, le=4_096)] = 64

    def __post_init__(self) -> None:
        if self.offline_intervals <= self.suspect_intervals:
            raise ValueError("offline_intervals must be larger than suspect_intervals")
        if self.bad_of_window > self.bad_window:
            raise ValueError("bad_of_window must not be larger than bad_window")


class PoolConfig(Section, frozen=True):
    """One configured capability pool; id 0 is kept for the wildcard pool `other`."""

    id: Annotated[int, msgspec.Meta(ge=1, le=65_535)]
    name: Name
    required_services: tuple[Name, ...] = ()


class PoolsConfig(Section, frozen=True):
    """How nodes are grouped and how a request finds its pool."""

    enabled: bool = True
    mode: Literal["two_level", "single_level"] = "two_level"
    pool_count: Annotated[int, msgspec.Meta(ge=1, le=4_096)] = 16
    hash_seed: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] = 0
    fallback_scan_all_pools: bool = True
    pools: Annotated[tuple[PoolConfig, ...], msgspec.Meta(max_length=1_000)] = ()
    multi_pool: bool = False
    tenant_overrides: Annotated[tuple[Override, ...], msgspec.Meta(max_length=4_096)] = ()
    match_scope: Literal["core_only", "all_required"] = "core_only"
    match_mode: Literal["contains", "exact"] = "contains"
    strict_eligibility: bool = False
    auto_language_pools: bool = True
    auto_min_nodes: SmallCount = 1
    auto_max_pools: SmallCount = 50
    auto_require_semantic: bool = False
    sample_size: Annotated[int, msgspec.Meta(ge=1, le=256)] = 8
    session_affinity: bool = False
    pool_choice: Literal["first", "weighted"] = "first"  # weighted: by free capacity
    node_choice: Literal["best", "weighted"] = "best"  # weighted: among the best, by their room
    slow_start_s: SecondsOrNone = 10.0  # a node that joins a running fleet gets its share slowly
    spread: bool = False  # avoid the session's last node
    spread_window_s: Seconds = 30.0
    sticky: bool = False  # prefer the session's last node while it has room

    def __post_init__(self) -> None:
        _refuse_repeats("pools.id", [pool.id for pool in self.pools])
        _refuse_repeats("pools.name", [pool.name for pool in self.pools])
        for name in (pool.name for pool in self.pools):
            if name == "other" or name.isdecimal():  # an order might mean another pool by it
                raise ValueError(
                    f"pools.name: {name!r} is the wildcard's or a number: take another"
                )
        _refuse_repeats("tenant_overrides", [tenant for tenant, _ in self.tenant_overrides])
        if self.spread and self.sticky:
            raise ValueError("spread and sticky contradict each other; switch one of them off")


def _check_overrides(pools: PoolsConfig) -> None:
    """Refuse an override to a pool that cannot exist; automatic pools get their ids at run time."""
    if pools.auto_language_pools and not pools.pools:
        return
    ids = {0, *(pool.id for pool in pools.pools)} if pools.pools else {*range(pools.pool_count)}
    for tenant, pool_id in pools.tenant_overrides:
        if pool_id not in ids:
            raise ValueError(
                f"pools.tenant_overrides: {tenant!r} names pool {pool_id}, which does not exist"
            )


class JobsConfig(Section, frozen=True):
    """Time limits, failover and the idempotency window of jobs."""

    timeout_s: Seconds = 30.0
    ack_s: Seconds = 2.0
    duration_base_s: SecondsOrNone = 10.0  # with an expected duration the timeout is base
    duration_factor: Annotated[float, msgspec.Meta(ge=1, le=100)] = 1.5  # + factor times it,
    duration_timeout_min_s: Seconds = 15.0  # clamped to these
    duration_timeout_max_s: Seconds = 60.0
    failovers_max: Annotated[int, msgspec.Meta(ge=0, le=100)] = 3
    wait_busy_s: SecondsOrNone = 10.0
    wait_none_s: SecondsOrNone = 2.0
    window_s: Seconds = 300.0  # ended jobs are remembered this long,
    window_jobs_max: JobCount = 200_000  # at most this many per worker,
    window_bytes_max: Bytes = 128 * MIB  # in at most this much memory
    lane_grace_s: Seconds = 5.0
    # A job that failed by itself on so many nodes, or with which nodes went down so often: poison.
    poison_failures: SmallCount = 3
    poison_crashes: SmallCount = 2
    # An idempotent job that takes longer than so many of a hundred is sent to a second node; 0:
    # never.
    hedge_after_percentile: Annotated[float, msgspec.Meta(ge=0, lt=100)] = 0.0
    hedge_after_min_s: Seconds = 0.1  # but not before this,
    hedge_budget_percent: Annotated[float, msgspec.Meta(gt=0, le=100)] = 5.0  # nor more often

    def __post_init__(self) -> None:
        if self.duration_timeout_min_s > self.duration_timeout_max_s:
            raise ValueError("duration_timeout_min_s must not exceed duration_timeout_max_s")


class JournalConfig(Section, frozen=True):
    """What a worker writes down before anybody hears of it, and how much of it is kept."""

    # Of a job that does not say: memory survives the death of nodes, journal also that of every
    # process, fsync also a loss of power.
    durability: Literal["memory", "journal", "fsync"] = "journal"
    result_bytes_max: ResultBytes = 64 * KIB  # larger results stay at their node until read
    bytes_max: Bytes = 512 * MIB  # per worker; above it what lives is written anew, the rest goes
    segment_bytes: Annotated[int, msgspec.Meta(ge=1 * MIB, le=256 * MIB)] = 16 * MIB
    flush_s: Seconds = 1.0  # so much of level journal can a loss of power take
    sync_gather_ms: Annotated[int, msgspec.Meta(ge=0, le=1_000)] = 5  # level fsync: put together

    def __post_init__(self) -> None:
        if self.bytes_max < 2 * self.segment_bytes:
            raise ValueError("bytes_max must have room for twice segment_bytes")


class SessionsConfig(Section, frozen=True):
    """How long a silent or lost session is kept."""

    idle_s: Seconds = 60.0
    resume_s: Seconds = 30.0
    gap_window_s: Seconds = 10.0  # a result waits so long for those of utterances before it
    pending_results_max: JobCount = 200  # of a session with an order: open, in line or held back
    serial_silence_s: Seconds = 3.0  # a node runs a serial job so long after it asked for leave
    sessions_max: JobCount = 50_000  # per worker, those that may yet be resumed included


class TalkConfig(Section, frozen=True):
    """What people who speak may make the service hold."""

    silence_s: Seconds = 3.0  # an utterance ends when no sound came for so long,
    sound_s: Annotated[float, msgspec.Meta(gt=0, le=120)] = 20.0  # or when it lasts so long,
    # or has so many bytes; with the header of a file it must fit in one payload.
    sound_bytes_max: Annotated[int, msgspec.Meta(ge=4 * KIB, le=PAYLOAD_BYTES_MAX - KIB)] = (
        768 * KIB
    )
    session_bytes_max: Bytes = 2 * MIB  # of sound that is being heard
    worker_bytes_max: Bytes = 64 * MIB
    utterances_open_max: SmallCount = 16  # of a session, that are heard or have jobs
    pieces_per_second_max: SmallCount = 200  # of sound, from a session
    room_members_max: Annotated[int, msgspec.Meta(ge=2, le=16)] = 2
    rooms_max: JobCount = 10_000  # per worker


class WebConfig(Section, frozen=True):
    """Sessions over WebSocket."""

    # Pages of other origins that may open sessions, like "https://example.org"; "*": all pages.
    allowed_origins: Annotated[
        tuple[Annotated[str, msgspec.Meta(pattern=r"^(\*|https?://[^/\s]+)$")], ...],
        msgspec.Meta(max_length=64),
    ] = ()
    # Names of this service, besides its numbers and localhost, under which pages may reach it
    # without TLS; "*": all names, which lets any page reach it whose name is made to lead here.
    allowed_hosts: Annotated[
        tuple[Annotated[str, msgspec.Meta(pattern=r"^(\*|[^/:\s]+)$")], ...],
        msgspec.Meta(max_length=64),
    ] = ()
    ping_s: Annotated[float, msgspec.Meta(ge=1, le=3_600)] = 20.0  # unanswered for so long: gone


class ConsoleConfig(Section, frozen=True):
    """The process that shows pages on the public port."""

    enabled: bool = True
    connections_max: JobCount = 512
    request_s: Seconds = 10.0  # a request must be there within this
    metrics: Literal["loopback", "all", "none"] = "loopback"  # who may read /metrics
    fleet: Literal["loopback", "all", "none"] = "loopback"  # who may watch the dashboard
    viewers_max: SmallCount = 32  # pages of it at a time
    # The admin API on loopback TCP, for who has a token; None: not at all, 0: any free port.
    api_port: Annotated[int, msgspec.Meta(ge=0, le=65_535)] | None = None
    api_tokens_file: str | None = None  # lines of NAME read|change TOKEN


class LimitsConfig(Section, frozen=True):
    """Bounds on what others may make the service hold."""

    frame_bytes_max: FrameBytes = FRAME_BYTES_MAX
    payload_bytes_max: PayloadBytes = PAYLOAD_BYTES_MAX  # of a submit
    handshake_s: Seconds = 5.0
    handshake_bytes_max: HandshakeBytes = 16 * KIB
    frame_arrival_s: Seconds = 10.0
    unauthenticated_max: SmallCount = 256
    unauthenticated_per_address_max: SmallCount = 8
    sessions_per_address_max: JobCount = 1_000  # at all workers; from loopback any number
    node_queue_bytes_max: Bytes = 8 * MIB
    node_queue_frames_max: JobCount = 8_192
    node_stall_s: Seconds = 5.0
    results_queue_bytes_max: Bytes = 4 * MIB
    queued_per_tenant_max: JobCount = 10_000
    queued_per_shard_max: JobCount = 50_000
    queued_per_host_max: JobCount = 100_000  # over all workers
    queued_bytes_max: Bytes = 256 * MIB  # payloads of waiting jobs, per worker
    # What a worker may use before it sheds; None: its share of what this host may use.
    worker_memory_bytes_max: Annotated[int, msgspec.Meta(ge=64 * MIB)] | None = None
    descriptors_percent: Percent = 80  # of the process's limit, for connections
    snapshot_stale_s: Seconds = 5.0  # decisions on an older snapshot are marked stale
    snapshot_refuse_s: Seconds = 60.0  # on an older one only nodes that answer now get jobs

    def __post_init__(self) -> None:
        if self.snapshot_refuse_s < self.snapshot_stale_s:
            raise ValueError("snapshot_refuse_s must not be smaller than snapshot_stale_s")


class TenantConfig(Section, frozen=True):
    """What one tenant may do, and its share when there is too little for all."""

    weight: Weight = 1.0
    # A job that asks for more than this gets this.
    priority_max: Literal["system", "interactive", "default", "bulk"] = "interactive"
    jobs_per_s: Annotated[float, msgspec.Meta(gt=0, le=1e6)] | None = None  # None: any rate
    burst: JobCount | None = None  # jobs at once; None: what two seconds of the rate make
    jobs_max: JobCount | None = None  # accepted and not ended
    queued_bytes_max: Bytes | None = None  # payloads that wait
    sessions_max: JobCount | None = None  # those that may be resumed included

    def __post_init__(self) -> None:
        if self.burst is not None and self.jobs_per_s is None:
            raise ValueError("burst means nothing without jobs_per_s")


# Each has a place in the waiting words; more could not be counted over all workers.
LISTED_MAX = 256


class ListedTenant(TenantConfig, frozen=True, kw_only=True):
    """A tenant with limits of its own, by its name in session_init ("" is that of no name)."""

    name: TenantName


class TenantsConfig(Section, frozen=True):
    """Tenants that are listed, and what holds for each of the others."""

    others: TenantConfig = TenantConfig()
    # Those that have a token and are not listed.
    with_tokens: TenantConfig = TenantConfig(jobs_per_s=100.0, burst=200, sessions_max=10_000)
    listed: Annotated[tuple[ListedTenant, ...], msgspec.Meta(max_length=LISTED_MAX)] = ()

    def __post_init__(self) -> None:
        _refuse_repeats("tenants.listed.name", [tenant.name for tenant in self.listed])


class ExplainConfig(Section, frozen=True):
    """How much each worker remembers of its decisions, so that they can be explained."""

    bytes_max: Bytes = 64 * MIB


class SupervisionConfig(Section, frozen=True):
    """When a process that runs but does nothing is replaced."""

    # No turn of its loop for this long, as supervised; before it is ready, no sign of life for 12x.
    hung_s: Annotated[float, msgspec.Meta(ge=1, le=3_600)] = 10.0


class Config(Section, frozen=True):
    """The whole configuration; the default is a complete service on loopback."""

    server: ServerConfig = ServerConfig()
    directories: DirectoriesConfig = DirectoriesConfig()
    nodes: NodesConfig = NodesConfig()
    pools: PoolsConfig = PoolsConfig()
    jobs: JobsConfig = JobsConfig()
    journal: JournalConfig = JournalConfig()
    sessions: SessionsConfig = SessionsConfig()
    talk: TalkConfig = TalkConfig()
    web: WebConfig = WebConfig()
    console: ConsoleConfig = ConsoleConfig()
    admin: AdminConfig = AdminConfig()
    auth: AuthConfig = AuthConfig()
    limits: LimitsConfig = LimitsConfig()
    tenants: TenantsConfig = TenantsConfig()
    explain: ExplainConfig = ExplainConfig()
    supervision: SupervisionConfig = SupervisionConfig()
    redis: RedisConfig = RedisConfig()
    tls: TlsConfig = TlsConfig()
    logs: LogsConfig = LogsConfig()
    otel: OtelConfig = OtelConfig()
    catalogue: Catalogue = Catalogue()

    def __post_init__(self) -> None:
        known = self.catalogue.service_types()
        for pool in self.pools.pools:
            for service in sorted({*pool.required_services} - known):
                where = f"pools.pools: pool {pool.name!r} requires {service!r}"
                raise ValueError(f"{where}, which catalogue.services does not list")
        _check_overrides(self.pools)
