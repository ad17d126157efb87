"""What the admin API answers: the bodies, of which its OpenAPI document is made.

Lists are pages: `next_cursor` is what to ask for next, empty on the last page.  `no_answer` names
processes that could not be asked, with the reason: what they know is missing.
"""

import msgspec

from pointsman_wire.admin_messages import NodeLine, SessionLine, Status
from pointsman_wire.queries.explain_messages import CoverageLine, DecisionView, JobView
from pointsman_wire.queries.fleet_messages import InstanceLine, PoolLine
from pointsman_wire.queries.job_messages import PoisonLine
from pointsman_wire.queries.operating_messages import AuditLine
from pointsman_wire.queries.work_messages import JobLine, QueueLine, ReasonLine


class View(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all bodies."""


class ProcessesView(View, frozen=True):
    """Every process of the service, by name."""

    processes: dict[str, Status]
    no_answer: dict[str, str] = {}


class NodesPage(View, frozen=True):
    """Nodes by id; answered_by names the process: a worker's snapshot, when the manager is gone."""

    nodes: list[NodeLine]
    total: int
    answered_by: str
    snapshot_version: int
    next_cursor: str = ""


class PoolsView(View, frozen=True):
    """All pools; paused: the service takes no jobs at all."""

    pools: list[PoolLine]
    mode: str
    paused: bool = False


class SessionOfWorker(View, frozen=True):
    """A session, and the worker that owns it."""

    worker: str
    session: SessionLine


class SessionsPage(View, frozen=True):
    """Sessions by worker and id."""

    sessions: list[SessionOfWorker]
    total: int
    next_cursor: str = ""
    no_answer: dict[str, str] = {}


class JobOfWorker(View, frozen=True):
    """A job that has not ended, and the worker that owns it."""

    worker: str
    job: JobLine


class JobsPage(View, frozen=True):
    """Open jobs by worker and age; truncated: there are too many to look at all."""

    jobs: list[JobOfWorker]
    total: int
    truncated: bool = False
    next_cursor: str = ""
    no_answer: dict[str, str] = {}


class QueueOfWorker(View, frozen=True):
    """Jobs that wait at one worker, and ask for the same."""

    worker: str
    queue: QueueLine


class QueuesView(View, frozen=True):
    """What waits, the longest queue first; `waiting` counts all, listed or not."""

    queues: list[QueueOfWorker]
    waiting: int
    waiting_bytes: int
    more: bool = False
    no_answer: dict[str, str] = {}


class PoisonOfWorker(View, frozen=True):
    """A job that was given up, and the worker that owned it."""

    worker: str
    job: PoisonLine


class PoisonView(View, frozen=True):
    """Jobs that failed wherever they ran, the newest first."""

    jobs: list[PoisonOfWorker]
    total: int
    no_answer: dict[str, str] = {}


class DecisionsView(View, frozen=True):
    """The latest decisions of all workers, the newest first."""

    decisions: list[DecisionView]
    no_answer: dict[str, str] = {}


class ExplainedView(View, frozen=True):
    """What is known of a request: its decisions in order, and how its job stands."""

    decisions: list[DecisionView]
    jobs: list[JobView]
    no_answer: dict[str, str] = {}


class CoveragePage(View, frozen=True):
    """Who can do what; `single` counts kinds of work that hang on one node."""

    lines: list[CoverageLine]
    total: int
    single: int
    truncated: bool = False
    next_cursor: str = ""


class ReasonsView(View, frozen=True):
    """Why jobs were refused or waited, the most frequent first.

    `best_change` is the one thing to do that most refusals name, `best_change_jobs` how many did.
    """

    reasons: list[ReasonLine]
    minutes: int
    refused: int
    waited: int
    best_change: str = ""
    best_change_jobs: int = 0
    no_answer: dict[str, str] = {}


class AuditView(View, frozen=True):
    """What was ordered, of all processes, the newest first."""

    lines: list[AuditLine]
    no_answer: dict[str, str] = {}


class InstancesView(View, frozen=True):
    """The instances that share the fleet, the own one first."""

    instances: list[InstanceLine]
    shared: bool = False
    trouble: str = ""
