"""Admin queries about decisions: why a job went where it went, where one would go, who could.

A worker answers from what it keeps and sees; nothing of this changes anything.
"""

from typing import Annotated

import msgspec

from pointsman_wire.messages import (
    Breakdown,
    Message,
    Name,
    Names,
    NodeId,
    Number,
    PageLimit,
    RequestId,
    SessionId,
)
from pointsman_wire.session_messages import Labels

WhatIf = Annotated[str, msgspec.Meta(max_length=256)]
WhatIfs = Annotated[list[WhatIf], msgspec.Meta(max_length=16)]


class JobAsk(msgspec.Struct, omit_defaults=True, frozen=True, gc=False, kw_only=True):
    """What a job would ask for; the fields mean what they mean in session_init and submit."""

    session_id: SessionId = ""
    tenant: Name = ""
    src_lang: Name = ""
    tgt_lang: Name = ""
    auto_langs: Names = []
    services: Names = []
    features: Names = []
    labels_required: Labels = {}
    labels_preferred: Labels = {}
    accept_public: bool = True
    preferred_node: Name = ""
    exclude: Names = []


# ---- explain


class ExplainQuery(Message, tag="explain_query", frozen=True, kw_only=True):
    """Why did this request go where it went?  Every worker answers with what it knows."""

    request_id: RequestId
    session_id: SessionId = ""
    replay: bool = False


class CandidateView(msgspec.Struct, omit_defaults=True, frozen=True, gc=False, kw_only=True):
    """One node that was looked at, as it was then."""

    node_id: str
    row: int = 0
    generation: int = 0
    held: int = 0
    foreign: int = 0
    slots_max: int = 0
    slowness: float = 1.0
    score: float | None = None
    reason: str = ""
    outcome: str = ""
    instance: str = ""


class LegView(msgspec.Struct, omit_defaults=True, frozen=True, gc=False, kw_only=True):
    """One look at some nodes of a pool, and what came of it."""

    pool: str = ""
    how: str = ""
    candidates: int = 0
    looked_at: int = 0
    passed: int = 0
    left_out: int = 0
    digest: int = 0
    draw: int = 0
    drawn: list[int] = []
    reserved: bool = False
    nodes: list[CandidateView] = []


class ReplayView(msgspec.Struct, omit_defaults=True, frozen=True, gc=False, kw_only=True):
    """The same functions over the record: did they give the same?"""

    equal: bool = False
    differences: list[str] = []
    notes: list[str] = []


class DecisionView(msgspec.Struct, omit_defaults=True, frozen=True, gc=False, kw_only=True):
    """One decision: a placement, or a refusal with its breakdown."""

    request_id: str = ""
    session_id: str = ""
    tenant: str = ""
    job_id: str = ""
    attempt: int = 0
    age_ms: float = 0.0
    services: list[str] = []
    src_lang: str = ""
    tgt_lang: str = ""
    auto_langs: list[str] = []
    features: list[str] = []
    labels: dict[str, str] = {}
    accept_public: bool = True
    selector: str = ""
    node_id: str = ""
    pool: str = ""
    load: float = 0.0
    score: float = 0.0
    runner_up: str = ""
    preferred_node: str = ""
    session_decision: str = ""
    bound_before: str = ""
    eligible_pools: int = 0
    pool_order: list[str] = []
    pool_count: int = 0
    fallback_used: bool = False
    legs: list[LegView] = []
    legs_left_out: int = 0
    snapshot_version: int = 0
    beat_age_ms: float = 0.0
    taken_us: float = 0.0
    waited_ms: float = 0.0
    code: str = ""
    breakdown: Breakdown | None = None
    replay: ReplayView | None = None
    instance: str = ""


class JobView(msgspec.Struct, omit_defaults=True, frozen=True, gc=False, kw_only=True):
    """How a job stands that the worker still knows."""

    request_id: str = ""
    session_id: str = ""
    tenant: str = ""
    job_id: str = ""
    state: str = ""
    attempt: int = 0
    failovers: int = 0
    node_id: str = ""
    age_ms: float = 0.0
    waits: bool = False
    attempts: list[str] = []
    breakdown: Breakdown | None = None


class Explained(Message, tag="explained", frozen=True, kw_only=True):
    """What one worker knows of a request: decisions in the order in which they were made."""

    decisions: list[DecisionView] = []
    jobs: list[JobView] = []
    decisions_kept: Number = 0
    decisions_dropped: Number = 0
    bytes_kept: Number = 0


# ---- where


class WhereQuery(Message, tag="where_query", frozen=True, kw_only=True):
    """Where would such a job go now, and where if this were so?  A dry run: nothing is reserved.

    what_if holds assumptions such as node=pc-17:up, node=gpu-3:gone, pool=3:slots+4.
    """

    ask: JobAsk
    what_if: WhatIfs = []


class Where(Message, tag="where", frozen=True, kw_only=True):
    """The decision as it would be made now; with assumptions also as it would be made then."""

    decision: DecisionView
    session_known: bool = False
    then: DecisionView | None = None
    assumed: list[str] = []
    differences: list[str] = []


# ---- why not


class WhyNotQuery(Message, tag="why_not_query", frozen=True, kw_only=True):
    """Why does this node not get this job, or, without one, why does it get so few?"""

    node_id: NodeId
    ask: JobAsk | None = None
    request_id: RequestId = ""


class CheckView(msgspec.Struct, omit_defaults=True, frozen=True, gc=False, kw_only=True):
    """One check of a node for a job."""

    check: str
    passes: bool = True
    reason: str = ""
    detail: str = ""
    change: str = ""


class SkipView(msgspec.Struct, omit_defaults=True, frozen=True, gc=False, kw_only=True):
    """Jobs for which a node was passed over, for one reason, and what would change it."""

    reason: str
    jobs: int = 0
    example: str = ""
    change: str = ""


class WhyNot(Message, tag="why_not", frozen=True, kw_only=True):
    """A node beside a job (checks), or beside the jobs of late (skips)."""

    node_id: str
    known: bool = True
    state: str = ""
    pools: list[str] = []
    held: int = 0
    slots_max: int = 0
    job: str = ""
    checks: list[CheckView] = []
    able: bool = False
    verdict: str = ""
    jobs_seen: int = 0
    jobs_taken: int = 0
    jobs_outranked: int = 0
    jobs_not_drawn: int = 0
    skips: list[SkipView] = []
    instance: str = ""


# ---- coverage


class CoverageQuery(Message, tag="coverage_query", frozen=True, kw_only=True):
    """How many live nodes and free slots are there for each kind of work?

    Empty filters let everything through; nodes_max = 1 lists what hangs on a single node.
    """

    limit: PageLimit = 100
    offset: Number = 0
    service: Name = ""
    src_lang: Name = ""
    tgt_lang: Name = ""
    feature: Name = ""
    tenant: Name = ""
    nodes_max: Number | None = None


class CoverageLine(msgspec.Struct, omit_defaults=True, frozen=True, gc=False, kw_only=True):
    """One kind of work: a service, a language pair, a feature, for a tenant ("" = everybody)."""

    service: str = ""
    src_lang: str = ""
    tgt_lang: str = ""
    feature: str = ""
    tenant: str = ""
    nodes: int = 0
    slots: int = 0
    free: int = 0
    node_id: str = ""


class Coverage(Message, tag="coverage", frozen=True, kw_only=True):
    """A page of coverage, sorted; truncated tells that not everything was counted."""

    lines: list[CoverageLine] = []
    total: Number = 0
    more: bool = False
    truncated: bool = False
    single: Number = 0
    snapshot_version: Number = 0
