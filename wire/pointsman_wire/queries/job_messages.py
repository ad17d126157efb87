"""Admin queries about jobs that need an operator's look."""

import msgspec

from pointsman_wire.messages import Message, PageLimit


class PoisonQuery(Message, tag="poison_query", frozen=True, kw_only=True):
    """Which jobs were given up because they failed wherever they ran?  Every worker answers."""

    limit: PageLimit = 100


class PoisonLine(msgspec.Struct, omit_defaults=True, frozen=True, gc=False, kw_only=True):
    """One such job: whose it was, where it failed, and why."""

    job_id: str
    tenant: str = ""
    session_id: str = ""
    request_id: str = ""
    services: list[str] = []
    nodes: list[str] = []
    crashes: int = 0
    attempts: list[str] = []
    ended_ago_s: float = 0.0


class PoisonJobs(Message, tag="poison_jobs", frozen=True, kw_only=True):
    """The newest first; `total` counts all since the worker started, kept or not."""

    jobs: list[PoisonLine]
    total: int = 0
    more: bool = False
