"""Error codes: one dictionary for API, log and metric.

Each code says whether trying again can help, whose fault it is, and what to do.
"""

from enum import StrEnum
from typing import NamedTuple


class Fault(StrEnum):
    """Who can mend it."""

    CLIENT = "client"
    TENANT = "tenant"
    OPERATOR = "operator"
    NODE = "node"


class Code(StrEnum):
    """Every code that crosses the wire, to clients or to nodes."""

    INVALID_MESSAGE = "INVALID_MESSAGE"
    INTERNAL_ERROR = "INTERNAL_ERROR"
    INVALID_SESSION = "INVALID_SESSION"
    SESSION_CLOSED = "SESSION_CLOSED"
    NODE_UNAVAILABLE = "NODE_UNAVAILABLE"
    NODE_OVERLOADED = "NODE_OVERLOADED"
    MODEL_NOT_AVAILABLE = "MODEL_NOT_AVAILABLE"
    MODEL_LOAD_FAILED = "MODEL_LOAD_FAILED"
    UNSUPPORTED_FEATURE = "UNSUPPORTED_FEATURE"
    INVALID_PAIRING_CODE = "INVALID_PAIRING_CODE"
    NO_AVAILABLE_NODE = "NO_AVAILABLE_NODE"
    JOB_TIMEOUT = "JOB_TIMEOUT"
    QUEUE_FULL = "QUEUE_FULL"
    QUEUE_TIMEOUT = "QUEUE_TIMEOUT"
    RATE_LIMITED = "RATE_LIMITED"
    POISON = "POISON"
    FLEET_FULL = "FLEET_FULL"
    CAPABILITY_CLASSES_FULL = "CAPABILITY_CLASSES_FULL"
    STALE = "STALE"
    CONFLICT = "CONFLICT"
    CANCELLED = "CANCELLED"
    NODE_ID_CONFLICT = "NODE_ID_CONFLICT"
    INVALID_CAPABILITY_SCHEMA = "INVALID_CAPABILITY_SCHEMA"
    NO_GPU_AVAILABLE = "NO_GPU_AVAILABLE"
    SCHEDULER_DEPENDENCY_DOWN = "SCHEDULER_DEPENDENCY_DOWN"
    SHUTTING_DOWN = "SHUTTING_DOWN"
    PAUSED = "PAUSED"
    UNAUTHORIZED = "UNAUTHORIZED"
    NOT_FOUND = "NOT_FOUND"


class Meaning(NamedTuple):
    """What a code tells its receiver."""

    retryable: bool
    fault: Fault
    hint: str


MEANINGS: dict[Code, Meaning] = {
    Code.INVALID_MESSAGE: Meaning(False, Fault.CLIENT, "Send what docs/protocol.md describes."),
    Code.INTERNAL_ERROR: Meaning(True, Fault.OPERATOR, "Try again; if it stays, read the log."),
    Code.INVALID_SESSION: Meaning(False, Fault.CLIENT, "Open a session first (session_init)."),
    Code.SESSION_CLOSED: Meaning(False, Fault.CLIENT, "Open a new session."),
    Code.NODE_UNAVAILABLE: Meaning(True, Fault.NODE, "The node went away; try again."),
    Code.NODE_OVERLOADED: Meaning(True, Fault.NODE, "The node has no room; try again shortly."),
    Code.MODEL_NOT_AVAILABLE: Meaning(True, Fault.NODE, "Start the model on the node."),
    Code.MODEL_LOAD_FAILED: Meaning(True, Fault.NODE, "See the node's log for the load error."),
    Code.UNSUPPORTED_FEATURE: Meaning(
        False, Fault.CLIENT, "Ask for services and features that exist."
    ),
    Code.INVALID_PAIRING_CODE: Meaning(False, Fault.CLIENT, "Ask the node's owner for a new code."),
    Code.NO_AVAILABLE_NODE: Meaning(
        True, Fault.OPERATOR, "Start or enable a node that can do this; the breakdown names it."
    ),
    Code.JOB_TIMEOUT: Meaning(True, Fault.NODE, "Give the job more time, or use a faster node."),
    Code.QUEUE_FULL: Meaning(True, Fault.OPERATOR, "Wait for retry_after_ms; add capacity."),
    Code.QUEUE_TIMEOUT: Meaning(True, Fault.OPERATOR, "All capable nodes are busy; add capacity."),
    Code.RATE_LIMITED: Meaning(True, Fault.TENANT, "Slow down; wait for retry_after_ms."),
    Code.POISON: Meaning(False, Fault.CLIENT, "The job failed on several nodes; check its input."),
    Code.FLEET_FULL: Meaning(False, Fault.OPERATOR, "Raise nodes.max_nodes and restart."),
    Code.CAPABILITY_CLASSES_FULL: Meaning(
        False, Fault.NODE, "Let nodes of one kind declare equal capabilities."
    ),
    Code.STALE: Meaning(True, Fault.OPERATOR, "The manager is gone; see its log."),
    Code.CONFLICT: Meaning(False, Fault.CLIENT, "Use a new request_id for a new body."),
    Code.CANCELLED: Meaning(False, Fault.CLIENT, "The job was cancelled on request."),
    Code.NODE_ID_CONFLICT: Meaning(
        False, Fault.NODE, "Choose another node_id, or restore the key from its state_dir."
    ),
    Code.INVALID_CAPABILITY_SCHEMA: Meaning(
        False,
        Fault.NODE,
        "Mend the named field; if it is right, take a node of the server's version.",
    ),
    Code.NO_GPU_AVAILABLE: Meaning(False, Fault.NODE, "This fleet takes GPU nodes only."),
    Code.SCHEDULER_DEPENDENCY_DOWN: Meaning(
        True, Fault.OPERATOR, "Bring Redis, or the instance that is named, back."
    ),
    Code.SHUTTING_DOWN: Meaning(True, Fault.OPERATOR, "Connect again in a moment."),
    Code.PAUSED: Meaning(
        True, Fault.OPERATOR, "An operator has paused the service; try again later."
    ),
    Code.UNAUTHORIZED: Meaning(
        False, Fault.CLIENT, "Send a valid token; nodes are enrolled (`pointsman enrol`)."
    ),
    Code.NOT_FOUND: Meaning(False, Fault.CLIENT, "Check the id; it may have expired."),
}

_AS_NODES_SAY_IT = {**Code.__members__, "INTERNAL": Code.INTERNAL_ERROR}


def code_of(word: str) -> Code | None:
    """Return what a node's code is called here; None for one of its own."""
    return _AS_NODES_SAY_IT.get(word)
