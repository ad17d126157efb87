"""Orders of operators about nodes, pools, workers and jobs, and the record of who gave them.

`by` says on whose behalf an order is given, where whoever asks is only the messenger; the process
that carries it out writes that down beside the user and process that asked.
"""

from typing import Annotated

import msgspec

from pointsman_wire.messages import Message, Name, NodeId, Number, RequestId, SessionId

By = Annotated[str, msgspec.Meta(max_length=200)]
Reason = Annotated[str, msgspec.Meta(max_length=500)]
PoolNumber = Annotated[int, msgspec.Meta(ge=0, le=65_535)]
DrainSeconds = Annotated[float, msgspec.Meta(ge=0, le=86_400)]
AuditLimit = Annotated[int, msgspec.Meta(ge=1, le=500)]


class DrainOrder(Message, tag="drain_order", frozen=True, kw_only=True):
    """Have a node, or all of a pool, take no new jobs, and be Offline when the time is up."""

    node_id: NodeId = ""
    pool: PoolNumber | None = None
    deadline_s: DrainSeconds | None = None
    reason: Reason = ""
    by: By = ""


class UndrainOrder(Message, tag="undrain_order", frozen=True, kw_only=True):
    """Take a drain back."""

    node_id: NodeId = ""
    pool: PoolNumber | None = None
    by: By = ""


class PauseOrder(Message, tag="pause_order", frozen=True, kw_only=True):
    """Give a pool no new jobs, or without one, take no new jobs at all; what runs goes on."""

    pool: PoolNumber | None = None
    by: By = ""


class ResumeOrder(Message, tag="resume_order", frozen=True, kw_only=True):
    """Take a pause back."""

    pool: PoolNumber | None = None
    by: By = ""


class QuarantineOrder(Message, tag="quarantine_order", frozen=True, kw_only=True):
    """End a node at once, and keep its id out for so long."""

    node_id: NodeId
    lasts_s: DrainSeconds = 3_600.0
    reason: Reason = ""
    by: By = ""


class ReleaseOrder(Message, tag="release_order", frozen=True, kw_only=True):
    """Let a quarantined node in again."""

    node_id: NodeId
    by: By = ""


class CancelOrder(Message, tag="cancel_order", frozen=True, kw_only=True):
    """End a job as its client could: a worker obeys, the one that owns the session."""

    session_id: SessionId
    request_id: RequestId
    tenant: Name = ""
    by: By = ""


class DrainWorkerOrder(Message, tag="drain_worker_order", frozen=True, kw_only=True):
    """Have this worker take no new sessions and jobs; what runs goes on."""

    by: By = ""


class UndrainWorkerOrder(Message, tag="undrain_worker_order", frozen=True, kw_only=True):
    """Have this worker take sessions and jobs again."""

    by: By = ""


class OrderDone(Message, tag="order_done", frozen=True, kw_only=True):
    """It was carried out; what is left to wait for, as far as that means anything.

    `nodes` that were concerned, the `jobs` that run there still, the sessions of a worker, and the
    seconds until what was given a time ends.
    """

    words: str
    nodes: Number = 0
    sessions: Number = 0
    jobs: Number = 0
    left_s: float = 0.0


class AuditQuery(Message, tag="audit_query", frozen=True, kw_only=True):
    """Who ordered what of this process lately?"""

    limit: AuditLimit = 100


class AuditLine(msgspec.Struct, omit_defaults=True, frozen=True, gc=False, kw_only=True):
    """One order: when (UTC), of whom, what, and what came of it."""

    at: str
    process: str = ""
    who: str = ""
    order: str = ""
    fields: dict[str, str] = {}
    outcome: str = ""


class Audit(Message, tag="audit", frozen=True, kw_only=True):
    """The newest first."""

    lines: list[AuditLine] = []


FleetOrder = DrainOrder | UndrainOrder | PauseOrder | ResumeOrder | QuarantineOrder | ReleaseOrder
WorkerOrder = CancelOrder | DrainWorkerOrder | UndrainWorkerOrder
