"""The operations by which somebody may come in, or no more; and how much processes log."""

from typing import Annotated, Literal

import msgspec

from pointsman_sched.client_tokens import TokenLine, TokenWish
from pointsman_sched.console.admin.asking import MANAGER
from pointsman_sched.console.admin.operations import (
    Api,
    Call,
    NoBody,
    Nothing,
    Operation,
    Parameters,
)
from pointsman_sched.console.admin.problems import not_found
from pointsman_wire.control_messages import NODE_ID_PATTERN, PoolName
from pointsman_wire.limits import NODE_ID_LENGTH_MAX
from pointsman_wire.messages import Name
from pointsman_wire.order_messages import (
    EnrolOrder,
    Introduction,
    LabelName,
    LogLevel,
    LogLevelOrder,
    Revoked,
    RevokeOrder,
)

NodeName = Annotated[
    str, msgspec.Meta(min_length=1, max_length=NODE_ID_LENGTH_MAX, pattern=NODE_ID_PATTERN)
]


class EnrolBody(Parameters, frozen=True):
    """Which node shall come, as what; a code can be read out and lasts 10 minutes.

    With tenant and labels it may serve that tenant alone, and have these labels alone.
    """

    name: NodeName
    pool: PoolName = ""
    is_code: bool = False
    tenant: Name = ""
    labels: Annotated[dict[LabelName, Name], msgspec.Meta(max_length=16)] = {}
    lasts_s: Annotated[float, msgspec.Meta(gt=0, le=1_800)] = 300.0


class LogLevelBody(Parameters, frozen=True):
    """What is at least as grave is written; by one process (`GET /v1/status`), or by all."""

    level: Literal["debug", "info", "warning", "error"]
    process: Annotated[str, msgspec.Meta(max_length=32)] = ""


class LogLevels(msgspec.Struct, frozen=True, kw_only=True):
    """What each process writes from now on; `no_answer` says why of those that did not obey."""

    levels: list[LogLevel] = []
    no_answer: dict[str, str] = {}


class TokensView(msgspec.Struct, frozen=True):
    """All tokens of clients, without what would let anybody in."""

    tokens: list[TokenLine]


class IssuedToken(msgspec.Struct, frozen=True, kw_only=True):
    """A token that was made, told this once."""

    token: str
    about: TokenLine


class TokenGone(msgspec.Struct, frozen=True):
    """The token counts no more; its sessions end within a few seconds."""

    revoked: str


async def _enrol(api: Api, call: Call) -> Introduction:
    body = call.body
    order = EnrolOrder(
        name=body.name,
        pool=body.pool,
        is_code=body.is_code,
        lasts_s=body.lasts_s,
        tenant=body.tenant,
        labels=body.labels,
        by=call.caller.who,
    )
    return await api.reading.processes.order(MANAGER, order, Introduction)


async def _revoke_node(api: Api, call: Call) -> Revoked:
    order = RevokeOrder(call.path["node_id"], by=call.caller.who)
    return await api.reading.processes.order(MANAGER, order, Revoked)


async def _set_level(api: Api, call: Call) -> LogLevels:
    processes, body = api.reading.processes, call.body
    asked = processes.present()
    if body.process and body.process not in asked:
        raise not_found(f"there is no process {body.process!r}", f"name one of {', '.join(asked)}")
    asked = [body.process] if body.process else asked
    order = LogLevelOrder(body.level, by=call.caller.who)
    answers, faults = await processes.order_each(asked, order, LogLevel)
    silent = {name: fault.detail for name, fault in faults.items()}
    return LogLevels(levels=[*answers.values()], no_answer=silent)


async def _tokens(api: Api, call: Call) -> TokensView:
    return TokensView(await api.tokens.all())


async def _issue_token(api: Api, call: Call) -> IssuedToken:
    made, text = await api.tokens.issue(call.caller.who, call.body)
    return IssuedToken(token=text, about=made)


async def _revoke_token(api: Api, call: Call) -> TokenGone:
    token_id = call.path["token_id"]
    await api.tokens.revoke(call.caller.who, token_id)
    return TokenGone(token_id)


ENTERING_OPERATIONS: tuple[Operation, ...] = (
    Operation(
        path="/v1/tokens",
        name="list_tokens",
        summary="The tokens of clients: whose, what they may, when they end",
        query=Nothing,
        answer=TokensView,
        run=_tokens,
    ),
    Operation(
        method="POST",
        path="/v1/tokens",
        name="issue_token",
        summary="Make a token of a client; it is told this once",
        access="change",
        body=TokenWish,
        answer=IssuedToken,
        run=_issue_token,
    ),
    Operation(
        method="POST",
        path="/v1/tokens/{token_id}/revoke",
        name="revoke_token",
        summary="A token counts no more",
        access="change",
        body=NoBody,
        answer=TokenGone,
        run=_revoke_token,
    ),
    Operation(
        method="POST",
        path="/v1/enrol",
        name="enrol_node",
        summary="Introduce a node: a secret, good once, with which it gets its certificate",
        access="change",
        body=EnrolBody,
        answer=Introduction,
        run=_enrol,
    ),
    Operation(
        method="POST",
        path="/v1/nodes/{node_id}/revoke",
        name="revoke_node",
        summary="Take a node's certificate away, and end it",
        access="change",
        body=NoBody,
        answer=Revoked,
        run=_revoke_node,
    ),
    Operation(
        method="POST",
        path="/v1/log-level",
        name="set_log_level",
        summary="How much processes log, until they end",
        access="change",
        body=LogLevelBody,
        answer=LogLevels,
        run=_set_level,
    ),
)
