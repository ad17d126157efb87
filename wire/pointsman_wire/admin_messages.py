"""Typed queries and answers on the admin sockets; every process answers what it knows.

One frame asks, one frame answers; a query that a process cannot answer gets an `error`.
Lists are paginated: `limit` rows after the key `after`; `more` tells that there are others.
"""

import msgspec

from pointsman_wire.messages import Error, Message, PageLimit
from pointsman_wire.queries.explain_messages import (
    Coverage,
    CoverageQuery,
    Explained,
    ExplainQuery,
    Where,
    WhereQuery,
    WhyNot,
    WhyNotQuery,
)
from pointsman_wire.queries.fleet_messages import (
    Instances,
    InstancesQuery,
    Pools,
    PoolsQuery,
)
from pointsman_wire.queries.job_messages import PoisonJobs, PoisonQuery
from pointsman_wire.queries.operating_messages import Audit, AuditQuery
from pointsman_wire.queries.work_messages import WorkAnswer, WorkQuery


class StatusQuery(Message, tag="status_query", frozen=True):
    """Who are you, since when, and how are you?  Every process answers."""


class Status(Message, tag="status", frozen=True, kw_only=True):
    """The answer; counters, gauges and timings (microseconds) as in docs/protocol.md."""

    process: str
    pid: int
    uptime_s: float
    instance: str = ""
    version: str = ""
    address: str = ""
    worker_count: int = 0
    snapshot_version: int = 0
    snapshot_age_ms: float = 0.0
    counters: dict[str, int] = {}
    gauges: dict[str, float] = {}
    timings_us: dict[str, dict[str, float]] = {}
    children: list[dict[str, str]] = []


class NodesQuery(Message, tag="nodes_query", frozen=True, kw_only=True):
    """List nodes; the manager answers, a worker too (from its snapshot, manager dead or not).

    With node_id only that one.
    """

    limit: PageLimit = 100
    after: str = ""
    node_id: str = ""


class NodeLine(msgspec.Struct, omit_defaults=True, frozen=True, gc=False, kw_only=True):
    """One node, as an operator wants to see it."""

    node_id: str
    state: str = ""
    services: list[str] = []
    languages: str = ""
    pools: list[str] = []
    held: int = 0
    slots_max: int = 0
    cpu_percent: float | None = None
    memory_percent: float | None = None
    gpu_percent: float | None = None
    heartbeat_age_ms: float = 0.0
    row: int = 0
    generation: int = 0
    epoch: int = 0
    class_number: int = 0
    reason: str = ""
    paused: bool = False
    # The instance to which it is connected; empty: the one that answers.
    instance: str = ""


class Nodes(Message, tag="nodes", frozen=True, kw_only=True):
    """A page of nodes."""

    nodes: list[NodeLine]
    total: int = 0
    more: bool = False
    snapshot_version: int = 0
    snapshot_age_ms: float = 0.0


class SnapshotQuery(Message, tag="snapshot_query", frozen=True):
    """What does this process see in shared memory?"""


class SnapshotView(Message, tag="snapshot_view", frozen=True, kw_only=True):
    """Version, age, rows and ledger as this process sees them."""

    version: int
    age_ms: float
    beat_age_ms: float = 0.0
    nodes: int = 0
    nodes_by_state: dict[str, int] = {}
    classes: int = 0
    pools: dict[str, int] = {}
    pool_mode: str = ""
    slots_total: int = 0
    slots_held: list[int] = []  # one number a worker
    manager_alive: bool = True


class SessionsQuery(Message, tag="sessions_query", frozen=True, kw_only=True):
    """List the sessions of a worker, by id and tenant, those after a session.

    Without `after_tenant` those of the same id in other tenants are left out, too.
    """

    limit: PageLimit = 100
    after: str = ""
    after_tenant: str | None = None


class SessionLine(msgspec.Struct, omit_defaults=True, frozen=True, gc=False, kw_only=True):
    """One session."""

    session_id: str
    tenant: str = ""
    pair: str = ""
    pool: str = ""
    connected: bool = True
    jobs: int = 0
    last_node: str = ""


class Sessions(Message, tag="sessions", frozen=True, kw_only=True):
    """A page of sessions."""

    sessions: list[SessionLine]
    total: int = 0
    more: bool = False


AdminQuery = (
    StatusQuery
    | NodesQuery
    | SnapshotQuery
    | SessionsQuery
    | ExplainQuery
    | WhereQuery
    | WhyNotQuery
    | CoverageQuery
    | PoisonQuery
    | InstancesQuery
    | PoolsQuery
    | AuditQuery
    | WorkQuery
)
AdminAnswer = (
    Status
    | Nodes
    | SnapshotView
    | Sessions
    | Explained
    | Where
    | WhyNot
    | Coverage
    | PoisonJobs
    | Instances
    | Pools
    | Audit
    | WorkAnswer
    | Error
)
