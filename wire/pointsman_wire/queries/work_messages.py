"""Admin queries about the work at hand: jobs, queues, recent decisions, why jobs were refused.

Each worker answers for its own sessions; whoever asks puts the answers together.
"""

from typing import Annotated

import msgspec

from pointsman_wire.messages import Message, Name, Number, PageLimit, SessionId
from pointsman_wire.queries.explain_messages import DecisionView

DecisionsLimit = Annotated[int, msgspec.Meta(ge=1, le=100)]
# As many minutes as a worker remembers of its refusals.
Minutes = Annotated[int, msgspec.Meta(ge=1, le=60)]


class JobsQuery(Message, tag="jobs_query", frozen=True, kw_only=True):
    """Which jobs have not ended?  `after` is the arrival of the last one that was listed."""

    limit: PageLimit = 100
    after: Number = 0
    session_id: SessionId = ""
    tenant: Name = ""


class JobLine(msgspec.Struct, omit_defaults=True, frozen=True, gc=False, kw_only=True):
    """One job that was accepted and has not ended."""

    job_id: str
    request_id: str = ""
    session_id: str = ""
    tenant: str = ""
    state: str = ""
    services: list[str] = []
    src_lang: str = ""
    tgt_lang: str = ""
    priority: str = ""
    attempt: int = 0
    node_id: str = ""
    age_ms: float = 0.0
    waits: bool = False
    arrival: int = 0


class Jobs(Message, tag="jobs", frozen=True, kw_only=True):
    """A page of jobs, the oldest first; truncated: not all sessions were looked at."""

    jobs: list[JobLine] = []
    total: Number = 0
    more: bool = False
    truncated: bool = False


class QueuesQuery(Message, tag="queues_query", frozen=True, kw_only=True):
    """What waits for a free slot?"""

    limit: PageLimit = 100


class QueueLine(msgspec.Struct, omit_defaults=True, frozen=True, gc=False, kw_only=True):
    """Waiting jobs that ask for the same, in the same class of priority."""

    services: list[str] = []
    src_lang: str = ""
    tgt_lang: str = ""
    features: list[str] = []
    tenant: str = ""
    priority: str = ""
    waiting: int = 0
    oldest_ms: float = 0.0


class Queues(Message, tag="queues", frozen=True, kw_only=True):
    """The longest queues first; `waiting` counts the jobs of all, `total` the queues."""

    queues: list[QueueLine] = []
    total: Number = 0
    waiting: Number = 0
    waiting_bytes: Number = 0
    more: bool = False


class DecisionsQuery(Message, tag="decisions_query", frozen=True, kw_only=True):
    """What was decided of late?  refused: only refusals and what followed a failure."""

    limit: DecisionsLimit = 20
    refused: bool = False


class Decisions(Message, tag="decisions", frozen=True, kw_only=True):
    """The newest first."""

    decisions: list[DecisionView] = []


class ReasonsQuery(Message, tag="reasons_query", frozen=True, kw_only=True):
    """For what reasons were jobs refused, or made to wait, in the last minutes?"""

    minutes: Minutes = 5


class ReasonLine(msgspec.Struct, omit_defaults=True, frozen=True, gc=False, kw_only=True):
    """Jobs with one outcome (refused, or waited), for one reason, and what would mend it."""

    outcome: str
    code: str = ""
    reason: str = ""
    fix: str = ""
    jobs: int = 0
    example: str = ""


class Reasons(Message, tag="reasons", frozen=True, kw_only=True):
    """The most frequent first."""

    reasons: list[ReasonLine] = []
    minutes: int = 0
    refused: Number = 0
    waited: Number = 0


WorkQuery = JobsQuery | QueuesQuery | DecisionsQuery | ReasonsQuery
WorkAnswer = Jobs | Queues | Decisions | Reasons
