"""Orders on admin sockets: what an operator wants done, and what came of it.

An order changes something, a query does not.  One that cannot be carried out gets an `error`, and
has changed nothing.  These are the manager's and the supervisor's; what is asked of workers in
this way is in queries/inbox_messages.
"""

from typing import Annotated, Literal

import msgspec

from pointsman_wire.control_messages import NODE_ID_PATTERN, PoolName, ValidNodeId
from pointsman_wire.limits import NODE_ID_LENGTH_MAX
from pointsman_wire.messages import Error, Message, Name
from pointsman_wire.queries.inbox_messages import (
    DeadLettersQuery,
    InboxAnswer,
    InboxOrder,
    LetterQuery,
)
from pointsman_wire.queries.operating_messages import By, FleetOrder, OrderDone, WorkerOrder

FilePath = Annotated[str, msgspec.Meta(max_length=4096)]
# As its admin socket is called: manager, worker-<k>, console.
ProcessName = Annotated[str, msgspec.Meta(max_length=32)]
LabelName = Annotated[str, msgspec.Meta(min_length=1, max_length=128, pattern="^[^=]+$")]


class PairOrder(Message, tag="pair_order", frozen=True):
    """Issue a code by which a session can be bound to this node."""

    node_id: ValidNodeId
    by: By = ""


class PairingCode(Message, tag="pairing_code", frozen=True, kw_only=True):
    """The code, told this once; it works for one session."""

    code: str
    node_id: str
    expires_in_s: float = 0.0


class ReloadOrder(Message, tag="reload_order", frozen=True):
    """Read the service's configuration file again, and apply what can change while it runs."""

    by: By = ""


class ConfigDiffQuery(Message, tag="config_diff_query", frozen=True):
    """What would change if this file, on the host of the service, were its configuration?"""

    path: FilePath


class ConfigDiff(Message, tag="config_diff", frozen=True, kw_only=True):
    """The differences, as in "pools.mode: two_level -> single_level"; applied all or none.

    What needs_restart names cannot change while the service runs: then nothing is applied.
    """

    source: str
    changes: list[str] = []
    needs_restart: list[str] = []
    applied: bool = False
    config_version: int = 0
    snapshot_version: int = 0


class RestartOrder(Message, tag="restart_order", frozen=True):
    """Ask the supervisor to end one process gently and to start its successor at once."""

    process: ProcessName


class RestartBegun(Message, tag="restart_begun", frozen=True, kw_only=True):
    """The process was told to end; a status with another pid comes from its successor."""

    process: str
    pid: int


class LogLevelOrder(Message, tag="log_level_order", frozen=True):
    """Write from now on what is at least as grave, until this process ends; every process obeys."""

    level: Literal["debug", "info", "warning", "error"]
    by: By = ""


class LogLevel(Message, tag="log_level", frozen=True, kw_only=True):
    """The level of one process's log, and what it was before."""

    process: str
    level: str
    before: str


class EnrolOrder(Message, tag="enrol_order", frozen=True, kw_only=True):
    """Introduce a node of this name: issue a secret with which it gets its certificate."""

    name: Annotated[
        str, msgspec.Meta(min_length=1, max_length=NODE_ID_LENGTH_MAX, pattern=NODE_ID_PATTERN)
    ]
    pool: PoolName = ""
    # A short code that can be read out, instead of a token.
    is_code: bool = False
    # Of a token; 0: 5 minutes.
    lasts_s: Annotated[float, msgspec.Meta(ge=0, le=1800)] = 0.0
    # The only tenant that it may serve, and the only labels that it may have.
    tenant: Name = ""
    labels: Annotated[dict[LabelName, Name], msgspec.Meta(max_length=16)] = {}
    by: By = ""


class Introduction(Message, tag="introduction", frozen=True, kw_only=True):
    """The secret, told this once, and how the node knows the server."""

    secret: str
    name: str
    pool: str = ""
    expires_in_s: float = 0.0
    pin: str = ""
    address: str = ""


class RevokeOrder(Message, tag="revoke_order", frozen=True):
    """No key proves this node's name any more; the node is ended at once."""

    node_id: ValidNodeId
    by: By = ""


class Revoked(Message, tag="revoked", frozen=True, kw_only=True):
    """It is done; `was_here`: the node was connected."""

    node_id: str
    was_here: bool = False


ManagerOrder = PairOrder | ReloadOrder | ConfigDiffQuery | EnrolOrder | RevokeOrder | FleetOrder
SupervisorOrder = RestartOrder
Order = ManagerOrder | SupervisorOrder | WorkerOrder | LogLevelOrder | InboxOrder
OrderAnswer = (
    PairingCode
    | ConfigDiff
    | Introduction
    | Revoked
    | RestartBegun
    | LogLevel
    | OrderDone
    | InboxAnswer
    | Error
)
# What they ask changes nothing, so nobody keeps a record of it.
ONLY_ASKED = (ConfigDiffQuery, DeadLettersQuery, LetterQuery)
