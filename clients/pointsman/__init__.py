"""Pointsman: the public API for nodes and clients.

    from pointsman import Node, connect      # asyncio
    from pointsman import blocking           # for programs without an event loop

Everything users need is named here; other modules may change between releases.
"""

from pointsman import blocking
from pointsman.errors import (
    HandlerUnstoppable,
    JobCancelled,
    JobExpired,
    JobFailed,
    JobRefused,
    NodeRefused,
    PointsmanError,
    SessionError,
    Unreachable,
)
from pointsman.jobs import Job, JobError, Reply
from pointsman.node import Node, package_version
from pointsman.node_store import NodeStateError
from pointsman.owner.foreign_cpu import ForeignCpu
from pointsman.owner.probes import PauseFile
from pointsman.owner.quiet_hours import QuietHours
from pointsman.results import JobPartial, JobResult
from pointsman.session import JobStream, Session, Trunk, connect
from pointsman.talking.hearing import ConnectionChange, Heard
from pointsman.talking.saying import Saying
from pointsman_wire.control_messages import Hardware, Service, Translation
from pointsman_wire.errors import Code
from pointsman_wire.session_messages import MissingResult, Progress
from pointsman_wire.sockets.tcp import AddressError
from pointsman_wire.talk.talk_messages import RoomState, UiEvent

__version__ = package_version()

__all__ = [
    "AddressError",
    "Code",
    "ConnectionChange",
    "ForeignCpu",
    "HandlerUnstoppable",
    "Hardware",
    "Heard",
    "Job",
    "JobCancelled",
    "JobError",
    "JobExpired",
    "JobFailed",
    "JobPartial",
    "JobRefused",
    "JobResult",
    "JobStream",
    "MissingResult",
    "Node",
    "NodeRefused",
    "NodeStateError",
    "PauseFile",
    "PointsmanError",
    "Progress",
    "QuietHours",
    "Reply",
    "RoomState",
    "Saying",
    "Service",
    "Session",
    "SessionError",
    "Translation",
    "Trunk",
    "UiEvent",
    "Unreachable",
    "__version__",
    "blocking",
    "connect",
]
